"""Points of a series packed: 24 bytes each while they are new, then sealed in blocks of a few bytes a point.

Sealing loses nothing. Steps and times become differences in the narrowest integers (nothing at all where they are
regular); values become float32 where that is exact; then every number is taken apart into planes of equal bytes,
which are deflated together, all but the noisy ones: the low bytes of a measured value do not deflate.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidData

Points = NDArray[Any]  # of POINT, steps ascending, no step twice
Planes = NDArray[np.uint8]  # (bytes of a number, n)
POINT: Final = np.dtype([("step", "<i8"), ("time", "<i8"), ("value", "<f8")])  # time: milliseconds since 1970 UTC
SEALED_POINTS: Final = 2048

_FORMAT = 1
_HEADER = struct.Struct("<BBBBIIIqqqq")
_UNSIGNED = ("", "<u1", "<u2", "<u4", "<u4", "<u8", "<u8", "<u8", "<u8")  # the narrowest for so many bytes
_MOST_BYTES = 3 * 8  # of one point
_SAMPLE = 512
_NOISE = 0.9  # of the different bytes that chance would give: deflating is not worth its time
_ROWS = np.arange(0, 8 * 256, 256)[:, np.newaxis]


_NONE = np.empty(0, POINT)


def points(steps: Any, values: Any, times: Any) -> Points:
    """Columns as points, by step; of several with one step the last one counts."""
    found = np.empty(len(steps), POINT)
    found["step"], found["value"], found["time"] = steps, values, times
    return in_order(found)


def in_order(found: Points) -> Points:
    """Points by step; of several with one step the last one counts."""
    if (found["step"][1:] <= found["step"][:-1]).any():
        found = merged(found[:0], found)
    return found


def merged(old: Points, new: Points) -> Points:
    """Both, by step; where both have a step, the new point."""
    both = np.concatenate([new[::-1], old])
    return both[np.unique(both["step"], return_index=True)[1]]


def unpacked(data: bytes) -> Points:
    """The points of `Points.tobytes()`; such bytes are put together to put points together."""
    return np.frombuffer(data, POINT)


def seal(found: Points) -> bytes:
    """The packed form of at least one point."""
    steps, times, values = np.ascontiguousarray(found.view("<i8").reshape(-1, 3).T)
    step_base, step_planes = _differences(steps)
    time_base, time_planes = _differences(times)
    value_planes = _of_values(values.view("<f8"))
    noisy = _are_noise(value_planes)
    quiet = step_planes.tobytes() + time_planes.tobytes() + value_planes[~noisy].tobytes()
    deflated = _deflated(quiet)
    widths = len(step_planes), len(time_planes), len(value_planes)
    mask = int.from_bytes(np.packbits(noisy, bitorder="little")) << widths[0] + widths[1]
    starts = int(steps[0]), step_base, int(times[0]), time_base
    head = _HEADER.pack(_FORMAT, *widths, len(found), mask, len(deflated), *starts)
    return head + deflated + value_planes[noisy].tobytes()


def _deflated(data: bytes) -> bytes:
    """With a window of 8 kB: to clear zlib's usual 256 kB takes longer than to deflate."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 13)
    return deflate.compress(data) + deflate.flush()


class Columns(NamedTuple):
    """Points in columns of their own, as readers want them."""

    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def between(self, first: int, last: int) -> Columns:
        """Those whose steps lie in the range, both ends included."""
        part = slice(np.searchsorted(self.steps, first), np.searchsorted(self.steps, last, "right"))
        return Columns(self.steps[part], self.times[part], self.values[part])

    def points(self) -> Points:
        found = np.empty(len(self.steps), POINT)
        found["step"], found["time"], found["value"] = self
        return found


def opened(sealed: Sequence[bytes], tail: Points = _NONE) -> Columns:
    """What `seal` was given, one after the other, and then the tail. Raises InvalidData when the bytes are damaged."""
    try:
        lengths = [_HEADER.unpack_from(data)[4] for data in sealed]
        if max(lengths, default=0) > SEALED_POINTS:
            raise ValueError(f"it claims {max(lengths):,} points")
        n = sum(lengths)
        found = Columns(*(np.empty(n + len(tail), dtype) for dtype in (np.int64, np.int64, np.float64)))
        for data, end in zip(sealed, accumulate(lengths), strict=True):
            _open(data, found, end)
    except (struct.error, zlib.error, ValueError, IndexError, TypeError) as error:
        raise InvalidData(f"a block of metrics is damaged: {error}") from error
    found.steps[n:], found.times[n:], found.values[n:] = tail["step"], tail["time"], tail["value"]
    return found


def _open(data: bytes, found: Columns, end: int) -> None:
    form, step_width, time_width, value_width, n, mask, length, *bases = _HEADER.unpack_from(data)
    if form != _FORMAT:
        raise ValueError(f"format {form} is unknown")
    body_end = _HEADER.size + length
    inflated = zlib.decompressobj().decompress(data[_HEADER.size : body_end], _MOST_BYTES * SEALED_POINTS)
    body = np.frombuffer(inflated + data[body_end:], np.uint8).reshape(-1, n)
    places = _places(step_width + time_width + value_width, mask)
    mine, first_value = slice(end - n, end), step_width + time_width
    _sum(bases[0], bases[1], body, places[:step_width], found.steps[mine])
    _sum(bases[2], bases[3], body, places[step_width:first_value], found.times[mine])
    found.values[mine] = _numbers(body, places[first_value:], f"<f{value_width}")


@lru_cache(maxsize=256)
def _places(planes: int, mask: int) -> list[int]:
    """Where each plane lies in the body: the deflated ones come first."""
    order = sorted(range(planes), key=lambda place: mask >> place & 1)
    return [order.index(place) for place in range(planes)]


def _differences(numbers: NDArray[np.int64]) -> tuple[int, Planes]:
    """The least difference, and the planes of what the differences exceed it by; the first one exceeds by nothing."""
    n = len(numbers)
    if n < 2:
        return 0, np.empty((0, n), np.uint8)
    differences = numbers[1:] - numbers[:-1]
    base = int(differences.min())
    beyond = int(differences.max()) - base
    if beyond == 0:
        return base, np.empty((0, n), np.uint8)
    differences -= base  # wraps where it must
    found = np.zeros(n, _UNSIGNED[(beyond.bit_length() + 7) // 8])
    found[1:] = differences
    return base, _planes(found)


def _sum(first: int, base: int, body: Planes, places: list[int], numbers: NDArray[np.int64]) -> None:
    """The way back; integers wrap as they did on the way here."""
    if places:
        beyond = _numbers(body, places, f"<u{len(places)}")
        np.add(beyond.view(np.int64) if len(places) == 8 else beyond, np.int64(base), out=numbers)
        numbers[0] = first
        np.cumsum(numbers, out=numbers)
    else:
        np.multiply(_counted(len(numbers)), base, out=numbers)
        numbers += first


@lru_cache(maxsize=4)
def _counted(n: int) -> NDArray[np.int64]:
    return np.arange(n)


def _of_values(values: NDArray[np.float64]) -> Planes:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        short = values.astype("<f4")
        same = short.astype("<f8").tobytes() == values.tobytes()
    return _planes(short if same else values)


def _planes(numbers: NDArray[Any]) -> Planes:
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(len(numbers), -1).T)


def _numbers(body: Planes, places: list[int], dtype: str) -> NDArray[Any]:
    if len(places) == 1:
        one: NDArray[Any] = body[places[0]].view(dtype)
        return one
    return np.ascontiguousarray(body[places].T).view(dtype)[:, 0]


def _are_noise(planes: Planes) -> NDArray[np.bool_]:
    """Of each plane, by its beginning: whether it has about as many different bytes as chance would give."""
    sample = planes[:, :_SAMPLE]
    seen = np.zeros((len(planes), 256), np.bool_)
    seen.reshape(-1)[sample + _ROWS[: len(planes)]] = True
    noise: NDArray[np.bool_] = np.count_nonzero(seen, axis=1) > _noise(sample.shape[1])
    return noise


@lru_cache(maxsize=_SAMPLE)
def _noise(n: int) -> float:
    """Different bytes among `n` that are too many to be deflated."""
    return _NOISE * 256 * (1 - math.exp(-n / 256))
