"""A file of an upload as blocks of bytes or of whole lines; .gz is inflated on the way, within limits."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO

import numpy as np

from service.data.description import Limits, Upload
from service.data.wishes import Wishes
from service.errors import Fault, InvalidData, TooLarge

BLOCK_BYTES = 1 << 20
NO_WISHES = Wishes()
_NAME_CHARACTERS = 256
_NAMELESS = "the file"
_GZIP, _GZIP_BITS = b"\x1f\x8b", 31
_WEIGHED_BYTES = 1 << 14
_NEWLINE, _CACHED = ord("\n"), 1 << 16
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def unusable(code: str, message: str, hint: str | None = None) -> InvalidData:
    """The error of a file that cannot be read as a whole."""
    return InvalidData(message, hint=hint, faults=[Fault("/file", code, message, hint)])


def oversized(message: str, hint: str | None = None) -> TooLarge:
    """The error of a file beyond a limit."""
    return TooLarge(message, hint=hint, faults=[Fault("/file", "too_large", message, hint)])


def check_names(names: Iterable[str], source: str) -> None:
    """Raises InvalidData when a column has no name, or one that nobody would type."""
    for name in names:
        if not 0 < len(name) <= _NAME_CHARACTERS:
            what = f"is longer than {_NAME_CHARACTERS} characters" if name else "is empty"
            raise unusable("bad_name", f"{source}: the name of a column {what}")


def line_count(lines: bytes) -> int:
    """How many ends of line, by pieces that stay in the cache: bytes.count takes five times as long."""
    codes = np.frombuffer(lines, np.uint8)
    return sum(int(np.count_nonzero(codes[at : at + _CACHED] == _NEWLINE)) for at in range(0, len(codes), _CACHED))


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a source, not looked at yet: at hand, or still in its file."""

    source: Source
    start: int
    size: int
    held: bytes | None = None

    def read(self) -> bytes:
        """The lines, unchecked, without a mark of byte order."""
        if self.held is not None:
            lines = self.held
        else:
            with open(self.source.path, "rb") as file:
                file.seek(self.start)
                lines = file.read(self.size)
        return lines if self.start else lines.removeprefix(_BOM)

    def checked(self, line: int) -> bytes:
        """The lines, the first of which is `line`. Raises InvalidData or TooLarge when they are not plain UTF-8."""
        lines = self.read()
        self.source.check(lines, line)
        return lines


class Source:
    """One uploaded file, read any number of times, always from its beginning."""

    def __init__(self, upload: Upload, limits: Limits, wishes: Wishes = NO_WISHES) -> None:
        self.path, self.limits, self.wishes = upload.path, limits, wishes
        self.packed_bytes = upload.path.stat().st_size
        with open(upload.path, "rb") as file:
            self.packed = file.read(2) == _GZIP
        name = PurePath(upload.name.replace("\\", "/")).name
        self.name = (name[:-3] if self.packed and name.lower().endswith(".gz") else name) or _NAMELESS
        self.most_bytes = limits.inflated(self.packed_bytes) if self.packed else self.packed_bytes
        if self.packed:
            self._weigh()

    @property
    def suffix(self) -> str:
        """The name's ending in lower case, without the dot and without .gz."""
        return PurePath(self.name).suffix.lower().removeprefix(".")

    @property
    def stem(self) -> str:
        """The name without its ending; `values` of a file without a name."""
        return "values" if self.name == _NAMELESS else PurePath(self.name).stem

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or all when there are fewer."""
        return next(self.blocks(size), b"")

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The inflated bytes. Raises TooLarge when they pass what this file may become, InvalidData when damaged."""
        seen = 0
        with open(self.path, "rb") as file:
            stream: IO[bytes] = gzip.GzipFile(fileobj=file) if self.packed else file  # type: ignore[assignment]
            while block := self._next(stream, size):
                seen += len(block)
                if seen > self.most_bytes:
                    raise self._bomb()
                yield block

    def line_blocks(self, size: int = BLOCK_BYTES) -> Iterator[tuple[bytes, int]]:
        """(whole lines as checked UTF-8, number of the first one from 1); a mark of byte order is dropped."""
        line = 1
        for lines in self.lines(size):
            block = lines.checked(line)
            yield block, line
            line += line_count(block)

    def lines(self, size: int) -> Iterator[Lines]:
        """The same before they are looked at, and of a plain file before they are read."""
        start = 0
        if self.packed:
            for block in self._inflated_lines(size):
                yield Lines(self, start, len(block), block)
                start += len(block)
            return
        with open(self.path, "rb") as file:
            while start < self.packed_bytes:
                end = file.seek(start + size) + len(file.readline(self.limits.line_bytes + 1))
                yield Lines(self, start, end - start)
                start = end

    def _inflated_lines(self, size: int) -> Iterator[bytes]:
        rest = b""
        for block in self.blocks(size):
            cut = block.rfind(b"\n") + 1
            if not cut and len(rest) <= self.limits.line_bytes:
                rest += block
                continue
            yield rest + block[:cut]
            rest = block[cut:]
        if rest:
            yield rest

    def _next(self, stream: IO[bytes], size: int) -> bytes:
        try:
            return stream.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise unusable("damaged", f"{self.name}: the gzip file is damaged ({error})") from error

    def _weigh(self) -> None:
        """Refuses early what will be too much: by the trailer, which may lie; a dense file is inflated to nowhere."""
        with open(self.path, "rb") as file:
            start = zlib.decompressobj(wbits=_GZIP_BITS)
            try:
                inflated = len(start.decompress(file.read(_WEIGHED_BYTES), BLOCK_BYTES))
            except zlib.error as error:
                raise unusable("damaged", f"{self.name}: the gzip file is damaged ({error})") from error
            dense = inflated > self.limits.inflated_ratio * (file.tell() - len(start.unconsumed_tail))
            file.seek(max(0, self.packed_bytes - 4))
            if int.from_bytes(file.read(4), "little") > self.most_bytes:
                raise self._bomb()
        if dense:
            for _ in self.blocks():
                pass

    def _bomb(self) -> TooLarge:
        return oversized(
            f"{self.name}: {self.packed_bytes:,} bytes inflate to more than {self.most_bytes:,}, or are damaged",
            "upload it unpacked if it is what it should be",
        )

    def check(self, lines: bytes, line: int) -> None:
        """Raises what is wrong with whole lines, the first of which is `line`."""
        last = lines.rfind(b"\n", 0, -1) + 1
        if len(lines) - last > self.limits.line_bytes:
            number = line + lines.count(b"\n", 0, last)
            raise oversized(f"{self.name}: line {number} is longer than {self.limits.line_bytes:,} bytes")
        if line == 1 and lines.startswith(_UTF16):
            raise unusable("not_utf8", f"{self.name} is UTF-16", "save it as UTF-8")
        if (at := lines.find(b"\0")) >= 0:
            number = line + lines[:at].count(b"\n")
            raise unusable("nul_byte", f"{self.name}, line {number}: a NUL byte, so this is not a text file")
        if not lines.isascii():
            self._decode(lines, line)

    def _decode(self, lines: bytes, line: int) -> None:
        try:
            lines.decode()
        except UnicodeDecodeError as error:
            number = line + lines[: error.start].count(b"\n")
            message = f"{self.name}, line {number}: byte 0x{lines[error.start]:02x} is not UTF-8"
            raise unusable("not_utf8", message, "save the file as UTF-8") from error
