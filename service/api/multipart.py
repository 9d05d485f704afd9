"""Follows a multipart form from part to part, and tells where files and fields begin and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import Fault, InvalidSpec, did_you_mean

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 64_000
_PATH_BYTES = 300  # a part without a file's name that is one line as short as this is a path, not a file
FIELDS = ("file", "name", "format", "types", "resize")


class Sink(Protocol):
    """Where files and fields go."""

    def begin_file(self, name: str) -> None: ...
    def append(self, piece: bytes) -> None: ...
    def set_field(self, name: str, value: str) -> None: ...


class Form:
    """Give it the body piece by piece, then `end` it. Raises InvalidSpec for what is no such form."""

    def __init__(self, boundary: bytes | None, sink: Sink) -> None:
        if not boundary:
            raise InvalidSpec("multipart/form-data without a boundary")
        self._parts = _Parts(sink)
        with _told():
            self._parser = MultipartParser(boundary, self._parts.callbacks())

    def write(self, piece: bytes) -> None:
        with _told():
            self._parser.write(piece)

    def end(self) -> None:
        with _told():
            self._parser.finalize()
        if not self._parts.ended:
            raise InvalidSpec("the upload ends in the middle of a part")


@contextmanager
def _told() -> Iterator[None]:
    """What the parser does not take is the caller's to mend."""
    try:
        yield
    except FormParserError as error:
        raise InvalidSpec(f"not multipart/form-data: {error}") from error


class _Parts:
    """What the parser calls."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._header = self._value = b""
        self._disposition: dict[bytes, bytes] = {}
        self._field: bytearray | None = None  # None while a file's bytes come
        self._nameless: bytearray | None = None  # the beginning of a file that came as if it were a field
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self.on_part_begin, "on_part_data": self.on_part_data, "on_part_end": self.on_part_end,
            "on_header_field": self.on_header_field, "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end, "on_headers_finished": self.on_headers_finished, "on_end": self.on_end,
        }  # fmt: skip

    def on_part_begin(self) -> None:
        self._disposition = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = parse_options_header(self._value)[1]
        self._header = self._value = b""

    def on_headers_finished(self) -> None:
        name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
        if name not in FIELDS:
            message = f"unknown part {name[:80]!r}"
            hint = did_you_mean(name, FIELDS) or "files come in the field `file`: -F file=@data.csv"
            fault = Fault(f"/{name[:80]}", "unknown_field", message, hint, FIELDS)
            raise InvalidSpec(message, faults=[fault])
        self._field = None if name == "file" else bytearray()
        self._nameless = bytearray() if b"filename" not in self._disposition else None
        if name == "file":
            self._sink.begin_file(self._disposition.get(b"filename", b"").decode("utf-8", "replace"))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._sink.append(data[start:end])
            if self._nameless is not None and len(self._nameless) <= _PATH_BYTES:
                self._nameless += data[start:end]
            return
        self._field += data[start:end]
        if len(self._field) > MAX_FIELD_BYTES:
            raise InvalidSpec(f"a form field is longer than {MAX_FIELD_BYTES} bytes")

    def on_part_end(self) -> None:
        if self._field is not None:
            self._sink.set_field(self._disposition[b"name"].decode(), self._field.decode("utf-8", "replace"))
        elif self._nameless is not None and len(self._nameless) <= _PATH_BYTES and b"\n" not in self._nameless:
            message = f"the field `file` holds the words {self._nameless.decode('utf-8', 'replace')[:80]!r}, not a file"
            raise InvalidSpec(message, faults=[Fault("/file", "no_file", message, "with curl: -F file=@data.csv")])

    def on_end(self) -> None:
        self.ended = True
