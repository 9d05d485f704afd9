"""Takes uploaded files to disk as they arrive: hashed on the way, never held whole, gone again when something fails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from service.api.context import in_thread
from service.api.multipart import Form
from service.api.problems import UnsupportedMedia
from service.data import Upload
from service.errors import Fault, InvalidSpec
from service.storage import full_told

_FLUSH_BYTES = 1 << 20
_MAX_FILES = 1_000


@dataclass(slots=True)
class Received:
    """An upload on disk. `sha256`: of the file; of the files' sha256 one after the other when there are several."""

    files: list[Upload] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    bytes: int = 0


@contextmanager
def folder(data_dir: Path) -> Iterator[Path]:
    """A place for one upload on the store's disk."""
    root = data_dir / "tmp"
    with full_told():
        root.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(prefix="upload-", dir=root)
    with made as path:
        yield Path(path)


async def receive(request: Request, into: Path, name: str) -> Received:
    """The whole upload, multipart or raw. Raises InvalidSpec, UnsupportedMedia, TooLarge, StorageFull."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    sink = _Sink(into)
    try:
        if kind == b"multipart/form-data":
            form = Form(options.get(b"boundary"), sink)
            async for chunk in request.stream():
                form.write(chunk)
                await sink.flush_if_much()
            form.end()
        elif kind == b"application/x-www-form-urlencoded" or not kind:
            hint = "Send the file as multipart/form-data in the field `file`, or raw with its own content type."
            raise UnsupportedMedia("a form without a file" if kind else "a body without a content type", hint=hint)
        else:
            sink.begin_file(name)
            async for chunk in request.stream():
                sink.append(chunk)
                await sink.flush_if_much()
        return await in_thread(sink.finish)
    finally:
        sink.close()


class _Sink:
    """Where files and fields go. Bytes wait in memory until there is enough of them for a trip to a thread."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._received = Received()
        self._digests: list[hashlib._Hash] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: BinaryIO | None = None

    def begin_file(self, name: str) -> None:
        if len(self._received.files) >= _MAX_FILES:
            raise InvalidSpec(f"more than {_MAX_FILES} files")
        self._write()
        self.close()
        path = self._into / str(len(self._received.files))
        with full_told():
            self._file = open(path, "xb")  # noqa: SIM115
        self._digests.append(hashlib.sha256())
        self._received.files.append(Upload(label(name), path))

    def set_field(self, name: str, value: str) -> None:
        self._received.fields[name] = value

    def append(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._pending_bytes += len(piece)

    async def flush_if_much(self) -> None:
        if self._pending_bytes >= _FLUSH_BYTES:
            await in_thread(self._write)

    def finish(self) -> Received:
        """Everything is on disk. Raises InvalidSpec when no file came."""
        self._write()
        if not self._received.files:
            raise InvalidSpec(
                "no file in the upload", faults=[Fault("/file", "missing", "the field `file` is missing")]
            )
        self._received.sha256 = self._digests[0].hexdigest()
        if len(self._digests) > 1:
            self._received.sha256 = hashlib.sha256(b"".join(each.digest() for each in self._digests)).hexdigest()
        return self._received

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with full_told():  # what a full disk did not take is tried once more
                file.close()

    def _write(self) -> None:
        with full_told():
            for piece in self._pending:
                if self._file is not None:
                    self._digests[-1].update(piece)
                    self._received.bytes += self._file.write(piece)
            if self._file is not None:
                self._file.flush()
        self._pending.clear()
        self._pending_bytes = 0


def label(name: str) -> str:
    """A file's name as a label, never as a path."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", last)[:200]
