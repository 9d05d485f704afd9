"""Why a row is answered so: what each of its features adds to one number of the answer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.data import Preprocessor
from service.engine import Attributed
from service.errors import Fault, InvalidSpec, did_you_mean
from service.serving.registry import Served
from service.tensors import Array

_LEAST_PIXELS = 256  # of the longer side of a heat map


@dataclass(frozen=True, slots=True)
class Attributions:
    """One row's: `values` of the shape of x sum to `answer` - `baseline`, but for `gap`, in the target's own units."""

    target: str
    answer: float
    baseline: float
    gap: float
    values: Array
    features: dict[str, Any]


def attributed(served: Served, rows: Sequence[Any], target: str | None) -> list[Attributions]:
    """Integrated gradients of each row, from the row that is zero everywhere to the network: the average one of scaled
    columns, without a word where there are words, a black picture.

    `target`: a class, or one of several numbers; by default the class that is predicted, or the only number. Raises
    InvalidData with every fault, its pointer from /rows/..., InvalidSpec, TooLarge.
    """
    model = served.rows()
    preprocessor = model.preprocessor
    x = preprocessor.rows(rows)
    places = _places(preprocessor, model.network(x), target)
    why = model.network.attribution()
    return [_one(preprocessor, why.of(row, np.zeros_like(row), _output(preprocessor, at)), at)
            for row, at in zip(x, places, strict=True)]  # fmt: skip


def _one(preprocessor: Preprocessor, found: Attributed, place: int) -> Attributions:
    zero, one = (_told(preprocessor, place, y) for y in (0.0, 1.0))  # the answer is linear in the network's
    values = found.values * (one - zero)
    return Attributions(
        target=preprocessor.named[place], answer=_told(preprocessor, place, found.answer),
        baseline=_told(preprocessor, place, found.baseline), gap=found.gap * abs(one - zero), values=values,
        features=preprocessor.encoder.shares(values),
    )  # fmt: skip


def _places(preprocessor: Preprocessor, y: Array, target: str | None) -> list[int]:
    """Which of the named numbers each row is asked about."""
    named = preprocessor.named
    if target is not None:
        if target in named:
            return [named.index(target)] * len(y)
        hint = did_you_mean(target, named)
        fault = Fault("/target", "unknown_target", f"the model does not tell of {target!r}", hint, named[:20])
        raise InvalidSpec(fault.message, hint=fault.hint, faults=[fault])
    if preprocessor.classes is None and len(named) > 1:
        fault = Fault("/target", "missing_target", "the model tells several numbers; say which", None, named[:20])
        raise InvalidSpec(fault.message, faults=[fault])
    return list(preprocessor.numbers(y).argmax(axis=1).tolist())


def _output(preprocessor: Preprocessor, place: int) -> int:
    """The network's number behind a named one: two classes share one."""
    return min(place, preprocessor.outputs - 1)


def _told(preprocessor: Preprocessor, place: int, value: float) -> float:
    """A number of the network's answer as a caller reads it."""
    y = np.zeros((1, preprocessor.outputs))
    y[0, _output(preprocessor, place)] = value
    return float(preprocessor.numbers(y)[0, place])


def heat_map(values: Array) -> bytes:
    """(height, width) or (height, width, channels) as a PNG: red adds, blue takes away. Raises InvalidSpec.

    The strongest pixel is full; pixels are enlarged until the picture can be seen.
    """
    if values.ndim not in (2, 3):
        raise InvalidSpec("a heat map is for models of pictures", hint="Ask for application/json.")
    share = values.sum(axis=2) if values.ndim == 3 else values
    strength = share / (np.abs(share).max() or 1.0)
    pale = np.rint(255 * (1 - np.abs(strength))).astype(np.uint8)
    full = np.full_like(pale, 255)
    adds = strength > 0
    pixels = np.stack([np.where(adds, full, pale), pale, np.where(adds, pale, full)], axis=2)
    enlarged = max(1, _LEAST_PIXELS // max(share.shape))
    return _png(pixels.repeat(enlarged, axis=0).repeat(enlarged, axis=1))


def _png(pixels: Array) -> bytes:
    """(height, width, 3) bytes as a PNG (ISO 15948): eight bits of red, green and blue, no filter."""
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
