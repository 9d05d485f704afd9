"""What is done to single rows of a recurrent layer: parts of a state dropped, sequences that end before others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.contract import Array, Site

if TYPE_CHECKING:
    from service.engine.layers.recurrence import Cell, Tape


class Dropped:
    """One mask a row for the whole sequence on the state that is read. Gal and Ghahramani 2016."""

    def __init__(self, site: Site, h: Array, rate: float) -> None:
        self.h, self._h = site.loose("h_dropped", (len(h) - 1, *h.shape[1:])), h
        self.mask = site.loose("mask", h.shape[1:])
        self._bits = site.random("recurrent", np.uint16, h.shape[2:])
        drop = min(round(rate * 65_536), 65_535)
        self._threshold, self._scale = np.array(drop, np.uint16), np.array(65_536 / (65_536 - drop), site.dtype)

    def drop(self, t: int) -> None:
        if t == 0:
            np.multiply(np.greater_equal(self._bits, self._threshold), self._scale, self.mask)
        np.multiply(self._h[t], self.mask, self.h[t])


class Stopped:
    """Rows whose sequence has ended keep their state, and send back nothing but what comes to it."""

    def __init__(self, site: Site, tape: Tape, cell: Cell) -> None:
        assert site.lengths is not None
        time = len(tape.p)
        self._lengths, self._over = site.lengths, site.loose("over", (time, site.rows, 1), np.bool_)
        self._clock, self._tape, self._cell = np.arange(time)[:, None, None], tape, cell
        self._states = [site.loose(f"state{k}_before", each.shape) for k, each in enumerate(cell.memory)]
        self._saved = [site.loose(f"saved{k}", each.shape) for k, each in enumerate(cell.d_memory)]

    def remember(self, t: int) -> None:
        if t == 0:
            np.greater_equal(self._clock, self._lengths[:, None], self._over)
        for saved, each in zip(self._states, self._cell.memory, strict=True):
            np.copyto(saved, each)

    def hold(self, t: int) -> None:
        h, over = self._tape.h, self._over[t]
        np.copyto(h[t + 1], h[t], where=over)
        for saved, each in zip(self._states, self._cell.memory, strict=True):
            np.copyto(each, saved, where=over)

    def save(self, t: int) -> None:
        for saved, each in zip(self._saved, self._cell.d_memory, strict=True):
            np.copyto(saved, each)

    def silence(self, t: int) -> None:
        np.copyto(self._tape.d[t], 0, where=self._over[t])

    def restore(self, t: int) -> None:
        dh, over = self._tape.dh, self._over[t]
        np.copyto(dh[t], dh[t + 1], where=over)
        for saved, each in zip(self._saved, self._cell.d_memory, strict=True):
            np.copyto(each, saved, where=over)
