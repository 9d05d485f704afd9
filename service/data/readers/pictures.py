"""Reads a zip of PNG and JPEG pictures, in folders called by their classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any
from zipfile import ZipInfo

import numpy as np

from service.data.columns import Arrays
from service.data.packed import MOST_PIXELS
from service.data.place import MOST_FAULTS, pointer, refusal, shown
from service.data.readers import Read
from service.data.readers.folders import ZIP_ERRORS, Kind, Member, labelled, labels_of, members_of
from service.data.source import BLOCK_BYTES, Source, oversized
from service.data.spool import Spool
from service.errors import Fault, MissingExtra
from service.tensors import Array

PICTURES = Kind("picture", "pictures", "PNG and JPEG", (".png", ".jpg", ".jpeg"))
_KINDS = ("PNG", "JPEG")
_CHANNELS = {"1": 1, "L": 1, "RGB": 3, "P": 3, "CMYK": 3, "YCbCr": 3, "RGBA": 4, "LA": 4, "PA": 4}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_pictures(sources: Sequence[Source], spool: Spool) -> Read:
    """Columns `image` and, where there are folders, `label`. Raises InvalidData, TooLarge, MissingExtra."""
    image, resize = _library(), sources[0].wishes.resize
    with members_of(sources, spool, PICTURES) as members:
        labels_of(members)  # before any is opened
        shape = _shape(image, members, resize)
        _check_bytes(sources, len(members), shape)
        pixels = Arrays(spool, shape, native=True)
        for piece in _pieces(image, members, shape):
            pixels.add(piece)
    column = pixels.finish("image")
    resized = replace(column, description=column.description.model_copy(update={"resized": resize is not None}))
    return len(members), *labelled(members, resized, spool, PICTURES)


def _library() -> Any:
    """PIL.Image. Raises MissingExtra."""
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = "this server cannot read pictures"
        hint = 'install the extra: pip install "netwright[images]", or send arrays as NPZ or IDX'
        raise MissingExtra(message, hint=hint, faults=[Fault("/file", "missing_extra", message, hint)]) from error
    return Image


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
def _opened(image: Any, file: IO[bytes], info: ZipInfo, at: int) -> Iterator[Any]:
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
    except (*ZIP_ERRORS, OSError, SyntaxError, ValueError) as error:
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
