"""The only way a run writes: what is told is kept in order and stored by a thread of its own.

The training thread never waits for a disk: it hands over, and learns at its next look whether it is to stop. The order
is the one that survives any crash: metrics first, then the checkpoint that would go on after them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from service.clock import now
from service.errors import CapacityError
from service.storage import Attempt, Checkpoint, Report, Store
from service.tensors import Array

FLUSH_S = 0.1  # between two reports; the first ones come sooner, for whoever is watching
FIRST_FLUSH_S = 0.01
BEAT_S = 1.0  # a sign of life at least so often, whatever the run is doing
REST_S = 0.5  # before trying again a store that refused: disk full, locked
MOST_POINTS = 1_000_000  # kept while the store refuses; then training waits

Ask = Literal["cancel", "pause", "leave"]
Points = tuple[Array, Array]
Happened = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint that is still to be written. Its arrays are nobody else's."""

    kind: Literal["state", "model"]
    step: int
    weights_sha256: str
    arrays: Mapping[str, Array]
    metadata: Mapping[str, str]


@dataclass
class _Told:
    """What was told since the last report."""

    series: dict[str, list[tuple[Array, Array, Array]]] = field(default_factory=lambda: defaultdict(list))  # with times
    events: list[Happened] = field(default_factory=list)
    news: dict[str, Any] = field(default_factory=dict)  # step, phase, progress, eta_s: the last word counts
    points: int = 0

    def __bool__(self) -> bool:
        return bool(self.series or self.events or self.news)

    def report(self, checkpoints: tuple[Checkpoint, ...] = ()) -> Report:
        joined = {
            name: tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
            for name, parts in self.series.items()
        }
        return Report(joined, tuple(self.events), checkpoints=checkpoints, **self.news)

    def and_then(self, later: _Told) -> _Told:
        for name, parts in later.series.items():
            self.series[name].extend(parts)
        self.events.extend(later.events)
        self.news |= later.news
        self.points += later.points
        return self


class Reporter:
    """Tells the store about one attempt. Use as a context manager; its verbs belong to one thread."""

    def __init__(self, store: Store, attempt: Attempt, leaving: Callable[[], bool], *, keep: int = 3) -> None:
        self.store, self.attempt, self._leaving, self._keep = store, attempt, leaving, keep
        self._lock = threading.Lock()
        self._told = _Told()
        self._snapshots: list[Snapshot] = []
        self._stop: Literal["cancel", "pause"] | None = None
        self._failure: BaseException | None = None
        self._forgotten: tuple[str, ...] = ()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def tell(self, *, series: Mapping[str, Points] | None = None, events: Sequence[Happened] = (), **news: Any) -> None:
        """Metrics, events, and any of step, phase, progress, eta_s. Raises Fenced when the run is not ours any more."""
        at_ms = int(now().timestamp() * 1000)
        with self._lock:
            for name, (steps, values) in (series or {}).items():
                self._told.series[name].append((steps, values, np.full(len(steps), at_ms)))
                self._told.points += len(steps)
            self._told.events.extend(events)
            self._told.news |= news
            if self._told:
                self._wake.set()
        while self._told.points > MOST_POINTS and self._failure is None:
            self._closing.wait(FLUSH_S)
        self._check()

    def publish(self, snapshot: Snapshot) -> None:
        """A checkpoint, stored after everything told before it."""
        with self._lock:
            self._snapshots.append(snapshot)
        self._wake.set()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written: another one can wait."""
        return bool(self._snapshots)

    def asked(self) -> Ask | None:
        """What the run is asked to do; as cheap as two attributes. Raises Fenced."""
        self._check()
        return "leave" if self._leaving() else self._stop

    def close(self) -> None:
        """Ends the thread; what it had not stored yet is left to `rest`."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def rest(self, *, models: bool = True) -> Report:
        """Stores the checkpoints that are left and returns the report that is: the last transaction's to store.

        `models` False: models are not, for the run ends with a better one.
        """
        self.close()
        self._check()
        if not models:
            self._snapshots = [each for each in self._snapshots if each.kind != "model"]
        while self._snapshots:
            self.patiently(self._send)
        told, self._told = self._told, _Told()
        return told.report()

    def patiently(self, act: Callable[[], object]) -> None:
        """Does it, again and again while the store has no room or no time; not once the process is to leave."""
        while True:
            try:
                act()
                return
            except CapacityError:
                if self._leaving():
                    raise
                self._live_on()
                threading.Event().wait(REST_S)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        pause_s = FIRST_FLUSH_S
        self._wake.wait(BEAT_S)
        self._closing.wait(pause_s)  # the first steps have the processor to themselves
        while not self._closing.is_set():
            self._wake.wait(BEAT_S)
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                if self._sent():
                    self._closing.wait(pause_s)
                    pause_s = min(2 * pause_s, FLUSH_S)
                else:
                    self._wake.set()
                    self._closing.wait(REST_S)
            except BaseException as error:  # handed to the training thread, which is where it counts
                self._failure = error
                return

    def _sent(self) -> bool:
        """Whether there was room for it."""
        try:
            self._send()
        except CapacityError:
            self._live_on()
            return False
        return True

    def _live_on(self) -> None:
        """A sign of life while there is no room for more: it changes what is there, and hardly ever needs any."""
        with suppress(CapacityError):
            self._stop = self.store.runs.renew(self.attempt).stop

    def _send(self) -> None:
        """One report of all that was told, then the oldest checkpoint; or a mere sign of life."""
        with self._lock:
            told, self._told = self._told, _Told()
            snapshot = self._snapshots[0] if self._snapshots else None
        try:
            if told:
                self._stop = self.store.runs.report(self.attempt, told.report()).stop
        except CapacityError:
            with self._lock:
                self._told = told.and_then(self._told)
            raise
        if snapshot is not None:
            self._stop = self.store.runs.report(self.attempt, Report(checkpoints=(self._stored(snapshot),))).stop
            self._snapshots.pop(0)
            self._tidy()
        elif not told:
            self._stop = self.store.runs.renew(self.attempt).stop

    def _tidy(self) -> None:
        """Lets go of older checkpoints; a file younger than the blob store's grace stays until a later time."""
        forgotten = (*self._forgotten, *self.store.runs.retain(self.attempt.run_id, states=self._keep))
        self.store.blobs.delete(forgotten)
        self._forgotten = tuple(each for each in forgotten if self.store.blobs.path(each).exists())

    def _stored(self, snapshot: Snapshot) -> Checkpoint:
        blob = self.store.blobs.put(snapshot.arrays, snapshot.metadata)
        at: datetime = now()
        return Checkpoint(
            self.attempt.run_id, snapshot.step, snapshot.kind, blob.sha256, blob.bytes, snapshot.weights_sha256,
            self.attempt.token, at,
        )  # fmt: skip
