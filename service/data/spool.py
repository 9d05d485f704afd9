"""Pieces of columns on their way into one file: held in memory while small, on disk when they grow."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from service import tensors
from service.tensors import Array

MEMORY_BYTES = 32 << 20
_WRITE_BYTES, _PIECE_BYTES = 1 << 20, 1 << 16
_AHEAD = 12  # batches that wait to be hashed

Batch = list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Piece:
    """A few rows of a column: in memory, or at an offset of the spool's file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    held: Array | None
    offset: int

    def reshaped(self, shape: tuple[int, ...]) -> Piece:
        """The same numbers in another shape, its first axis -1."""
        held = None if self.held is None else self.held.reshape(shape)
        first = math.prod(self.shape) // math.prod(shape[1:])
        return Piece(self.dtype, (first, *shape[1:]), held, self.offset)


class Spool:
    """Takes pieces and gives them back, using at most `memory_bytes` of memory for all of them."""

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self.folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._owned: list[IO[bytes]] = []
        self._memory_bytes = self._room = memory_bytes
        self._end = 0

    def add(self, array: Array) -> Piece:
        """Keeps `array`; a piece held in memory is the array itself, so it must not be written again."""
        if array.nbytes <= self._room:
            self._room -= array.nbytes
            return Piece(array.dtype, array.shape, array, 0)
        offset, flat = self._end, np.ascontiguousarray(array)
        self._file.write(flat.reshape(-1).view(np.uint8).data)
        self._end += array.nbytes
        return Piece(array.dtype, array.shape, None, offset)

    def get(self, piece: Piece) -> Array:
        """The piece's rows; read-only when they come from disk."""
        if piece.held is not None:
            return piece.held
        self._file.flush()
        size = math.prod(piece.shape) * piece.dtype.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), size, piece.offset), piece.dtype).reshape(piece.shape)

    def clear(self) -> None:
        """Forgets all pieces."""
        self._file.seek(0)
        self._file.truncate()
        self._room, self._end = self._memory_bytes, 0

    def own(self, file: IO[bytes]) -> IO[bytes]:
        """Closes `file` when the spool is closed."""
        self._owned.append(file)
        return file

    def close(self) -> None:
        """Gives memory and disk back."""
        for file in (self._file, *self._owned):
            file.close()


@dataclass(frozen=True, slots=True)
class Stream:
    """An array to be written: its type and shape are known before its rows are read."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Array]]


def stream_of(array: Array) -> Stream:
    """A stream of one array at hand."""
    return Stream(array.dtype, array.shape, lambda: iter([array]))


def spooled(spool: Spool, pieces: list[Piece], shape: tuple[int, ...], dtype: DTypeLike) -> Stream:
    """A stream of pieces, cast to `dtype` one by one. shape: (rows, ...)."""
    target = np.dtype(dtype)
    return Stream(target, shape, lambda: _joined(spool, pieces, target))


def offsets(spool: Spool, lengths: list[Piece], rows: int) -> Stream:
    """Where each row begins, and where the last one ends, of pieces of whole numbers: how long each is."""

    def ends() -> Iterator[Array]:
        end = np.zeros(1, np.int64)
        yield end
        for piece in lengths:
            found = np.cumsum(spool.get(piece)) + end[-1]
            end = found if len(found) else end
            yield found

    return Stream(np.dtype(np.int64), (rows + 1,), ends)


def _joined(spool: Spool, pieces: list[Piece], dtype: np.dtype[Any]) -> Iterator[Array]:
    """The pieces as `dtype`, small ones together."""
    held, size = list[Array](), 0
    for piece in pieces:
        held.append(spool.get(piece))
        size += held[-1].size * dtype.itemsize
        if size >= _PIECE_BYTES:
            yield held[0].astype(dtype, copy=False) if len(held) == 1 else _together(held, dtype)
            held, size = [], 0
    if held:
        yield _together(held, dtype)


def _together(held: list[Array], dtype: np.dtype[Any]) -> Array:
    return np.concatenate(held, dtype=dtype, casting="unsafe")


def write(path: Path, streams: Mapping[str, Stream], metadata: Mapping[str, str]) -> tuple[str, int]:
    """Writes and fsyncs one safetensors file without holding it; returns its sha256 and size.

    Arrays of wide types go first, so that each one begins at a multiple of its own width.
    """
    ordered = dict(sorted(streams.items(), key=lambda item: -item[1].dtype.itemsize))
    shapes = {name: np.broadcast_to(np.zeros((), s.dtype), s.shape) for name, s in ordered.items()}
    header = next(tensors.pieces(shapes, metadata))  # of stand-ins that occupy no memory
    size = 0
    with open(path, "wb") as file, _Digest() as digest:
        for batch in _batches(_bytes(header, ordered)):
            digest.update(batch)
            size += sum(map(len, batch))
            file.writelines(batch)
        file.flush()
        os.fsync(file.fileno())
        return digest.finish(), size


class _Digest:
    """sha256 of batches, taken in by a thread while the next are made and written."""

    def __init__(self) -> None:
        self._sha256, self._waiting = hashlib.sha256(), deque[Future[None]]()
        self._thread = ThreadPoolExecutor(1, "sha256")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def update(self, batch: Batch) -> None:
        self._settle(_AHEAD)
        self._waiting.append(self._thread.submit(self._take, batch))

    def finish(self) -> str:
        self._settle(0)
        return self._sha256.hexdigest()

    def _take(self, batch: Batch) -> None:
        for part in batch:
            self._sha256.update(part)

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft().result()


def _batches(parts: Iterator[bytes | memoryview]) -> Iterator[Batch]:
    """The parts by about _WRITE_BYTES, for a hand-over to a thread costs as much as a few kilobytes of hashing."""
    held, size = list[bytes | memoryview](), 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _WRITE_BYTES:
            yield held
            held, size = [], 0
    yield held


def _bytes(header: bytes | memoryview, streams: Mapping[str, Stream]) -> Iterator[bytes | memoryview]:
    yield header
    for name, stream in streams.items():
        written = 0
        for chunk in stream.chunks():
            flat = np.ascontiguousarray(chunk.astype(stream.dtype.newbyteorder("<"), copy=False))
            written += flat.nbytes
            yield flat.reshape(-1).view(np.uint8).data
        if written != math.prod(stream.shape) * stream.dtype.itemsize:
            raise AssertionError(f"array {name} gave {written} bytes for shape {stream.shape}")
