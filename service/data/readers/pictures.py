"""Reads a zip of PNG and JPEG pictures, in folders called by their classes."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from service.data.columns import Arrays, Words
from service.data.packed import MOST_PIXELS
from service.data.place import MOST_FAULTS, pointer, refusal, shown
from service.data.readers import Read
from service.data.readers.inflated import plain
from service.data.source import BLOCK_BYTES, Source, check_names, oversized, unusable
from service.data.spool import Spool
from service.errors import Fault, MissingExtra
from service.tensors import Array

ENDINGS = (".png", ".jpg", ".jpeg")
_KINDS = ("PNG", "JPEG")
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_MOST_MEMBERS = 500_000
_DIRECTORY_BYTES = 1 << 26
_PICTURE_BYTES = 1 << 25
_CHANNELS = {"1": 1, "L": 1, "RGB": 3, "P": 3, "CMYK": 3, "YCbCr": 3, "RGBA": 4, "LA": 4, "PA": 4}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, LookupError,
)  # fmt: skip

Member = tuple[zipfile.ZipFile, zipfile.ZipInfo]


def holds_pictures(source: Source) -> bool:
    """Whether a zip holds pictures, by the first names that mean anything; an NPZ holds arrays."""
    if source.packed:
        return False
    with open(source.path, "rb") as file:
        try:
            check_directory(source, file)
            with zipfile.ZipFile(file) as archive:
                return any(name.lower().endswith(ENDINGS) for name in archive.namelist())
        except (*_ZIP_ERRORS, OSError, ValueError):
            return False


def read_pictures(sources: Sequence[Source], spool: Spool) -> Read:
    """Columns `image` and, where there are folders, `label`. Raises InvalidData, TooLarge, MissingExtra."""
    image = _library()
    archives = [_archive(source, spool) for source in sources]
    try:
        members = [(archive, info) for archive, source in zip(archives, sources, strict=True)
                   for info in _infos(archive, source)]  # fmt: skip
        if not members:
            raise unusable("no_rows", "there is no picture in the zip")
        labels = _labels(members)
        shape = _shape(image, members, sources[0].wishes.resize)
        _check_bytes(sources, len(members), shape)
        pixels = Arrays(spool, shape, native=True)
        for piece in _pieces(image, members, shape):
            pixels.add(piece)
    except (*_ZIP_ERRORS, OSError) as error:
        raise unusable("damaged", f"the zip file cannot be read ({str(error)[:100]})") from error
    finally:
        for archive in archives:
            archive.close()
    column, told = pixels.finish("image"), list[str]()
    resized = column.description.model_copy(update={"resized": sources[0].wishes.resize is not None})
    columns = [replace(column, description=resized)]
    if not labels:
        told.append("the pictures lie in no folders, so that nothing says what they show: there is no column 'label'")
    else:
        words = Words(spool, frozenset())
        words.add(labels)
        columns.append(words.finish("label", "category"))
    return len(members), columns, told


def _library() -> Any:
    """PIL.Image. Raises MissingExtra."""
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = "this server cannot read pictures"
        hint = 'install the extra: pip install "netwright[images]", or send arrays as NPZ or IDX'
        raise MissingExtra(message, hint=hint, faults=[Fault("/file", "missing_extra", message, hint)]) from error
    return Image


def check_directory(source: Source, file: IO[bytes]) -> None:
    """Raises TooLarge when the list of names at a zip's end alone would fill the memory; zipfile reads it whole."""
    file.seek(max(0, file.seek(0, 2) - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    wide = tail.rfind(b"PK\6\6", 0, max(at, 0))
    if wide >= 0:
        size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if size > _DIRECTORY_BYTES:
        raise oversized(f"{source.name}: the names in the zip take more than {_DIRECTORY_BYTES:,} bytes")
    file.seek(0)


def _archive(source: Source, spool: Spool) -> zipfile.ZipFile:
    file = plain(source, spool)
    check_directory(source, file)
    try:
        return zipfile.ZipFile(file)
    except (*_ZIP_ERRORS, OSError, ValueError) as error:
        raise unusable("damaged", f"{source.name}: the zip file cannot be read ({str(error)[:100]})") from error


def _infos(archive: zipfile.ZipFile, source: Source) -> Iterator[zipfile.ZipInfo]:
    """The pictures, by the directory alone: nothing is inflated yet; a name is a label, never a path."""
    infos = [info for info in archive.infolist() if not info.is_dir() and not _litter(info.filename)]
    if len(infos) > _MOST_MEMBERS:
        raise oversized(f"{source.name} holds more than {_MOST_MEMBERS:,} files")
    most = source.limits.inflated(source.packed_bytes)
    if (promised := sum(info.file_size for info in infos)) > most:
        raise oversized(f"{source.name}: {source.packed_bytes:,} bytes inflate to {promised:,}, more than {most:,}")
    for info in infos:
        if info.filename.startswith("/") or ".." in PurePosixPath(info.filename).parts or "\\" in info.filename:
            raise unusable("bad_name", f"{source.name} holds {shown(info.filename, 80)}: a path that leads elsewhere")
        if not info.filename.lower().endswith(ENDINGS):
            hint = "a zip of pictures holds PNG and JPEG only, in a folder for each class"
            raise unusable("not_a_picture", f"{source.name} holds {shown(info.filename, 80)}", hint)
        if info.file_size > _PICTURE_BYTES:
            raise oversized(f"{shown(info.filename, 80)} is larger than {_PICTURE_BYTES:,} bytes")
        yield info


def _litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.endswith(_LITTER[1:]) or PurePosixPath(name).name.startswith("._")


def _labels(members: list[Member]) -> list[str]:
    """Each picture's class: the folder it lies in; none when there are no folders."""
    labels = [PurePosixPath(info.filename).parent.name for _, info in members]
    if any(labels) and not all(labels):
        name = members[labels.index("")][1].filename
        raise unusable("no_class", f"{shown(name, 80)} lies in no folder, others do", "a folder is a class")
    check_names({label for label in labels if label}, "the zip")
    return labels if any(labels) else []


def _shape(image: Any, members: list[Member], resize: tuple[int, int] | None) -> tuple[int, ...]:
    """(height, width) or (height, width, channels), from the heads of all pictures."""
    first: tuple[int, int] | None = None
    channels, faults = 1, list[Fault]()
    for at, (archive, info) in enumerate(members):
        with archive.open(info) as file, _opened(image, file, info, at) as picture:
            size, mode, clear = picture.size, picture.mode, "transparency" in picture.info
        channels = max(channels, 4 if clear else _CHANNELS[mode])
        first = first or size
        if resize is None and size != first:
            found = f"{size[0]} x {size[1]} pixels, the first one has {first[0]} x {first[1]}"
            words = f"picture {at + 1}, {shown(info.filename, 80)}: {found}"
            faults.append(
                Fault(pointer("rows", at), "other_size", words, "make them one size, or ask for resize=28x28")
            )
        if len(faults) == MOST_FAULTS:
            break
    if faults:
        raise refusal(faults)
    width, height = resize or first or (0, 0)
    return (height, width) if channels == 1 else (height, width, channels)


@contextmanager
def _opened(image: Any, file: IO[bytes], info: zipfile.ZipInfo, at: int) -> Iterator[Any]:
    """A picture whose head is read. Raises InvalidData naming it for what Pillow cannot read, TooLarge."""
    where = f"picture {at + 1}, {shown(info.filename, 80)}"
    place = pointer("rows", at)
    try:
        with image.open(file, formats=_KINDS) as picture:
            if picture.size[0] * picture.size[1] > MOST_PIXELS:
                raise oversized(f"{where}: {picture.size[0]:,} x {picture.size[1]:,} pixels, more than {MOST_PIXELS:,}")
            if picture.mode not in _CHANNELS:
                words = f"{where}: more than 8 bits a channel"
                raise refusal([Fault(place, "unsupported_type", words, "save it with 8 bits a channel")])
            yield picture
    except (image.DecompressionBombError, image.DecompressionBombWarning) as error:
        raise oversized(f"{where}: very many pixels, more than {MOST_PIXELS:,}") from error
    except (*_ZIP_ERRORS, OSError, SyntaxError, ValueError) as error:
        raise refusal([Fault(place, "damaged", f"{where}: cannot be read ({str(error)[:80]})")]) from error


def _check_bytes(sources: Sequence[Source], rows: int, shape: tuple[int, ...]) -> None:
    size = rows * math.prod(shape)
    most = sources[0].limits.inflated(sum(source.packed_bytes for source in sources))
    if size > most:
        raise oversized(f"{rows:,} pictures of shape {shape} are {size:,} bytes, more than {most:,}")


def _pieces(image: Any, members: list[Member], shape: tuple[int, ...]) -> Iterator[Array]:
    """The pixels, a block of pictures at a time. Each: (some rows, *shape) uint8."""
    step = max(1, BLOCK_BYTES // math.prod(shape))
    mode = _MODES[shape[2] if len(shape) > 2 else 1]
    for start in range(0, len(members), step):
        some = members[start : start + step]
        piece = np.empty((len(some), *shape), np.uint8)
        for at, (archive, info) in enumerate(some):
            with archive.open(info) as file, _opened(image, file, info, start + at) as picture:
                found = picture.convert(mode)
                if found.size != (shape[1], shape[0]):
                    found = found.resize((shape[1], shape[0]), image.Resampling.BILINEAR)
                piece[at] = np.asarray(found)
        yield piece
