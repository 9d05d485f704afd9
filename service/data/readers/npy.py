"""Reads NumPy's NPY and NPZ without ever unpickling: a header is checked against the bytes that follow it."""

from __future__ import annotations

import ast
import math
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any, Literal

import numpy as np

from service.data.columns import Arrays, Numbers, Words
from service.data.place import shown
from service.data.readers import Read
from service.data.readers.inflated import kept, plain
from service.data.readers.numeric import numeric_column, same_rows
from service.data.readers.others import OTHERS
from service.data.source import BLOCK_BYTES, Source, check_names, oversized, unusable
from service.data.spool import Spool
from service.tensors import Array

_HEADER_CHARACTERS = 10_000
_HEADER_BYTES = 12 + _HEADER_CHARACTERS
_MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}  # by version: how many bytes tell the header's length
_TYPES = re.compile(r"[<>|](b1|[iu][1248]|f[248]|[US][1-9]\d{0,5})")  # never objects, which are pickles
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError,
    LookupError,
)  # fmt: skip
_MOST_AXES, _MOST_ROWS = 16, 1 << 60
_PICKLE = "save numbers or words: an array of Python objects is a pickle, which could run code"


@dataclass(frozen=True)
class _Stored:
    """An array in a file on disk, its header checked."""

    name: str
    file: IO[bytes]
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def pieces(self) -> Iterator[Array]:
        """The rows in pieces of about a block, in this machine's byte order. Each: (some rows, ...)."""
        array = np.memmap(self.file, self.dtype, "r", self.offset, self.shape, self.order)
        step = max(1, BLOCK_BYTES // (math.prod(self.shape[1:]) * self.dtype.itemsize))
        for start in range(0, self.shape[0], step):
            yield np.array(array[start : start + step], self.dtype.newbyteorder("="), order="C")


def read_npy(sources: Sequence[Source], spool: Spool) -> Read:
    """Each file is a column, called as the file. Raises InvalidData, TooLarge."""
    return _columns([_checked(source.stem, plain(source, spool), source.name) for source in sources], spool)


def read_npz(sources: Sequence[Source], spool: Spool) -> Read:
    """Each array of the files is a column. Raises InvalidData, TooLarge."""
    return _columns([array for source in sources for array in _members(source, spool)], spool)


def _columns(stored: list[_Stored], spool: Spool) -> Read:
    names = [array.name for array in stored]
    if len(set(names)) < len(names):
        raise unusable("same_name", "two arrays have the same name")
    rows = same_rows({array.name: array.shape[0] for array in stored})
    return rows, [_column(array, spool).finish(array.name) for array in stored], []


def _column(array: _Stored, spool: Spool) -> Numbers | Arrays | Words:
    if array.dtype.kind not in "US":
        return numeric_column(spool, array.shape[1:], array.pieces())
    if array.shape[1:] not in {(), (1,)}:
        raise unusable("unsupported_shape", f"array {array.name!r} of words has more than one axis")
    words = Words(spool, frozenset({""}))
    try:
        for piece in array.pieces():
            words.add([value.decode() if isinstance(value, bytes) else value for value in piece.reshape(-1).tolist()])
    except ValueError as error:  # UnicodeDecodeError is one
        raise unusable("not_utf8", f"array {array.name!r} holds words that are not Unicode") from error
    return words


def _members(source: Source, spool: Spool) -> Iterator[_Stored]:
    try:
        with zipfile.ZipFile(plain(source, spool)) as archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
            _check_members(source, infos)
            check_names((PurePath(info.filename).stem for info in infos), source.name)
            for info in infos:
                yield _member(source, archive, info, spool)
    except _ZIP_ERRORS as error:
        raise unusable("damaged", f"{source.name}: the zip file cannot be read ({str(error)[:100]})") from error


def _check_members(source: Source, infos: list[zipfile.ZipInfo]) -> None:
    """By the directory at the zip's end: nothing is inflated yet."""
    if len(infos) > source.limits.members:
        raise oversized(f"{source.name} holds more than {source.limits.members:,} arrays")
    promised, most = sum(info.file_size for info in infos), source.limits.inflated(source.packed_bytes)
    if promised > most:
        raise oversized(f"{source.name}: {source.packed_bytes:,} bytes inflate to {promised:,}, more than {most:,}")
    other = [info.filename for info in infos if not info.filename.endswith(".npy")]
    if other or not infos:
        found = f"holds {other[0][:60]!r}" if other else "is empty"
        what, hint = OTHERS.get(PurePath(other[0]).suffix[1:].lower(), ("", "unpack it first")) if other else ("", None)
        rule = f"{what}; a zip holds pictures, or .npy arrays" if what else "an NPZ holds .npy arrays only"
        raise unusable("not_npz", f"{source.name} {found}{', ' if what else '; '}{rule}", hint)


def _member(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo, spool: Spool) -> _Stored:
    name = PurePath(info.filename).stem
    with archive.open(info) as stream:
        head = stream.read(_HEADER_BYTES)
        with tempfile.TemporaryFile(dir=spool.folder) as first:
            first.write(head)
            first.seek(0)
            _header(name, first, info.file_size, source.name)  # refused before the rest is inflated
        file = kept(_bounded(head, stream, info.file_size), spool)
    return _checked(name, file, source.name)


def _bounded(head: bytes, stream: IO[bytes], size: int) -> Iterator[bytes]:
    yield head
    left = size - len(head)
    while left > 0 and (block := stream.read(min(left, BLOCK_BYTES))):
        left -= len(block)
        yield block


def _checked(name: str, file: IO[bytes], source: str) -> _Stored:
    size = file.seek(0, 2)
    file.seek(0)
    dtype, shape, fortran = _header(name, file, size, source)
    return _Stored(name, file, file.tell(), dtype, shape, "F" if fortran else "C")


def _header(name: str, file: IO[bytes], size: int, source: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Reads the header. Raises InvalidData when it is none, names objects, or claims more than `size` bytes hold."""
    try:
        descr, fortran, shape = _fields(file)
    except (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise unusable("not_npy", f"{source}: {name!r} has no NPY header that can be read") from error
    dtype = _type(name, descr, source)
    if not shape or min(shape) < 0 or 0 in shape[1:]:
        raise unusable("unsupported_shape", f"{source}: {name!r} has shape {shape}; the first axis must be the rows")
    promised, present = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised > present:
        raise unusable(
            "lying_header", f"{source}: {name!r} claims shape {shape}, {promised:,} bytes, but {present:,} follow"
        )
    return dtype, shape, fortran


def _fields(file: IO[bytes]) -> tuple[object, bool, tuple[int, ...]]:
    """(type, Fortran order, shape) as the header says. Format: NumPy's NEP 1, versions 1 to 3."""
    start = file.read(8)
    if start[:6] != _MAGIC or start[6:] not in _LENGTHS:
        raise ValueError("no NPY file")
    length = int.from_bytes(file.read(_LENGTHS[start[6:]]), "little")
    if length > _HEADER_CHARACTERS:
        raise ValueError("a header of very many characters")
    said = ast.literal_eval(file.read(length).decode())
    fortran, shape = said["fortran_order"], said["shape"]
    if type(fortran) is not bool or type(shape) is not tuple or not set(map(type, shape)) <= {int}:
        raise ValueError("no order and shape")
    if len(shape) > _MOST_AXES or max(shape, default=0) > _MOST_ROWS:
        raise ValueError("a shape beyond any file")
    return said["descr"], fortran, shape


def _type(name: str, descr: object, source: str) -> np.dtype[Any]:
    if isinstance(descr, str) and descr[1:2] == "O":
        raise unusable("pickle", f"{source}: {name!r} holds Python objects", _PICKLE)
    if not isinstance(descr, str) or not _TYPES.fullmatch(descr):
        raise unusable("unsupported_type", f"{source}: {name!r} has type {shown(descr)}, which is no number or word")
    return np.dtype(descr)
