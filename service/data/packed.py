"""Rows that come as bytes: a PNG or JPEG picture, or the numbers themselves; in JSON as base64."""

from __future__ import annotations

import base64
import binascii
import math
from io import BytesIO

import numpy as np

from service.data.encoders import Whole
from service.data.sound import MAGIC, heard
from service.errors import InvalidData
from service.tensors import Array

PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
MOST_PIXELS = 1 << 24
_WHITE = 255
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP = ("I", "F")  # more than eight bits a channel


def unpack(value: str | bytes, whole: Whole) -> Array:
    """One row's array, (*raw). Raises InvalidData, without a place."""
    data = plain_bytes(value)
    for magic, kind in PICTURES.items():
        if data.startswith(magic):
            return _picture(data, kind, whole)
    if data.startswith(MAGIC) and len(whole.raw) == 2:
        return _sound(data, whole)
    dtype = np.dtype(whole.dtype).newbyteorder("<")
    expected = math.prod(whole.raw) * dtype.itemsize
    if len(data) != expected:
        hint = (
            f"send a PNG or JPEG, or the {expected:,} bytes of {math.prod(whole.raw):,} numbers of type {whole.dtype}"
        )
        raise InvalidData(f"{len(data):,} bytes that are neither a PNG nor a JPEG", hint=hint)
    return np.frombuffer(data, dtype).astype(whole.dtype, copy=False).reshape(whole.raw)


def _sound(data: bytes, whole: Whole) -> Array:
    frames, channels = whole.raw
    found = heard(data, channels, whole.samples_per_s)
    if len(found) != frames:
        hint = "cut it or fill it up; sounds of any length are taken where those of training had several"
        raise InvalidData(f"a WAV file of {len(found):,} samples, expected {frames:,}", hint=hint)
    return found


def plain_bytes(value: str | bytes) -> bytes:
    """Of a file that was sent: as they are, or from base64, also of a data: URL. Raises InvalidData."""
    if isinstance(value, bytes):
        return value
    body = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidData("a word that is not base64", hint="send an array of numbers, or base64") from error


def _picture(data: bytes, kind: str, whole: Whole) -> Array:
    """The picture's values in the range that the data set had."""
    height, width, channels = (*whole.raw, 1)[:3] if len(whole.raw) in (2, 3) else (0, 0, 0)
    if channels not in _MODES:
        raise InvalidData(f"a {kind}, but the rows of this model are no pictures: they are of shape {whole.raw}")
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = 'install the extra: pip install "netwright[images]", or send arrays of numbers'
        raise InvalidData(f"this server cannot read a {kind}", hint=hint) from error
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as picture:
            _check_size(picture.size, (width, height), kind, whole)
            if picture.mode.startswith(_DEEP):
                raise InvalidData(f"a {kind} of more than 8 bits a channel", hint="save it with 8 bits")
            found = picture.convert(_MODES[channels])
            if found.size != (width, height):
                found = found.resize((width, height), Image.Resampling.BILINEAR)  # as the pictures of training were
            values = np.asarray(found)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidData(f"a damaged {kind}") from error
    return _ranged(values.reshape(whole.raw), whole)


def _check_size(size: tuple[int, int], expected: tuple[int, int], kind: str, whole: Whole) -> None:
    if size != expected and not whole.resized:
        words = f"a {kind} of {size[0]} x {size[1]} pixels, expected {expected[0]} x {expected[1]}"
        hint = "resize it; pictures of any size are taken where those of training were uploaded with `resize`"
        raise InvalidData(words, hint=hint)
    if size[0] * size[1] > MOST_PIXELS:
        raise InvalidData(f"a {kind} of {size[0]:,} x {size[1]:,} pixels, more than {MOST_PIXELS:,}")


def _ranged(values: Array, whole: Whole) -> Array:
    """White is the largest value that the data set knew, which its scale makes 1."""
    largest = _WHITE if whole.scale in (0.0, 1.0) else 1 / whole.scale
    if round(largest) == _WHITE:
        return values
    found: Array = values * (largest / _WHITE)
    return np.rint(found).astype(np.uint8) if whole.dtype == "uint8" else found
