"""Memory of a program: arrays by name, allocated once, and random bits that a key decides."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.randomness import Stream

Array: TypeAlias = NDArray[Any]


LINE = 64  # bytes of a cache line
HUGE = 2 * 2**20  # bytes of a huge page
LARGE = 256 * 1024  # bytes from which an array lies in huge pages: one entry of the processor's table for 512


class Arena:
    """Arrays by (name, rows): whoever asks again gets the same memory."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, int], Array] = {}
        self._room = Room()
        self.carries: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any, rows: int = 0) -> Array:
        """Zeros of this shape, or what was given under this name before.

        Raises ValueError when the name was given with another shape or dtype.
        """
        known = self._arrays.get((name, rows))
        if known is None:
            known = self._arrays[name, rows] = self._room.array(shape, np.dtype(dtype))
        if known.shape != shape or known.dtype != np.dtype(dtype):
            raise ValueError(f"{name} was {known.shape} {known.dtype}, not {shape} {dtype}")
        return known

    def known(self, name: str, rows: int) -> Array | None:
        """What was given under this name, if anything."""
        return self._arrays.get((name, rows))

    def carried(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array kept from step to step and saved with the training state."""
        name = f"{name}[{shape[0]}]"
        if name not in self.carries:
            self.carries[name] = aligned(shape, np.dtype(dtype))
        return self.carries[name]

    def reset(self) -> None:
        """What is carried from step to step begins anew."""
        for carry in self.carries.values():
            carry.fill(0)

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (*self._arrays.values(), *self.carries.values()))


class Room:
    """Large arrays side by side in huge pages, where the system has them; recurrent networks gain 5 % by it."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []  # what is left of each piece

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Zeros of this shape on a cache line of their own."""
        size = -(-_bytes(shape, dtype) // LINE) * LINE
        if size < LARGE:
            return aligned(shape, dtype)
        place = next((i for i, each in enumerate(self._free) if len(each) >= size), None)
        raw = _huge(size) if place is None else self._free.pop(place)
        self._free.append(raw[size:])
        whole: Array = np.ndarray(shape, dtype, raw.data)
        return whole


def _huge(size: int) -> NDArray[np.uint8]:
    """Zeros from the beginning of a huge page to the end of one; what is never touched costs nothing."""
    size = -(-size // HUGE) * HUGE
    memory = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % HUGE
    return raw[start : start + size]


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros whose first byte lies on a cache line."""
    raw = np.zeros(_bytes(shape, dtype) + LINE, np.uint8)
    whole: Array = np.ndarray(shape, dtype, raw.data, -raw.ctypes.data % LINE)
    return whole


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def common(count: int, dtype: Any = np.float64) -> Array:
    """Zeros that this process and its forks have in common, not copies of."""
    kind = np.dtype(dtype)
    return np.frombuffer(mmap.mmap(-1, max(1, count * kind.itemsize)), kind, count)


def as_common(array: Array) -> Array:
    """A copy in common memory."""
    copy = common(array.size, array.dtype)
    copy[:] = array
    return copy


class Bits:
    """Random bits of one shard: every array registered at binding is refilled, a block of steps at a time."""

    def __init__(self, seed: int, window: int) -> None:
        self._stream, self._seed, self._window = Stream(), seed, window
        self._blocks: dict[str, Array] = {}
        self.slot = 0

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """The view that holds this slot's numbers after `refill`."""
        if name not in self._blocks:
            self._blocks[name] = aligned((self._window, *shape), np.dtype(dtype))
        view: Array = self._blocks[name][self.slot]
        return view

    def refill(self, epoch: int, step: int, shard: int) -> None:
        """New numbers for the block of steps that begins at `step`; the same key gives the same bits."""
        for index, block in enumerate(self._blocks.values()):
            self._stream.fill(block, self._seed, epoch, step, shard, index)
