"""Augmentation of images (height, width, channels) that reads between the pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.augmentation.contract import AugmentationSpec, Fill, Mixed, bands, check_image
from service.engine.augmentation.image import padded
from service.engine.contract import Array, Shape
from service.engine.losses import LossSpec


class Rotate(AugmentationSpec):
    """y(p) = x(R p), R a turn by an angle uniform in -degrees..degrees, p from the middle, read bilinearly.

    x, y: (height, width, channels). Simard et al. 2003.
    """

    kind: Literal["rotate"] = "rotate"
    degrees: float = Field(default=10.0, ge=0, le=180, description="Largest angle.")
    fill: Fill = Field(default="zero", description="What comes in: 0 (of the scaled input), or the edge repeated.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_image(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        angle = random.uniform(-1, 1, len(x)) * np.deg2rad(self.degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        warp(x, np.array([[cos, -sin], [sin, cos]]), self.fill)
        return None


class Zoom(AugmentationSpec):
    """Each image is made larger or smaller about its middle by a factor uniform in 1 - amount..1 + amount.

    y(p) = x(p / factor), p from the middle, read bilinearly; what the image does not fill is `fill`.
    x, y: (height, width, channels). Simard et al. 2003.
    """

    kind: Literal["zoom"] = "zoom"
    amount: float = Field(default=0.1, ge=0, le=0.9, description="Farthest the factor is from 1.")
    fill: Fill = Field(default="zero", description="What comes in: 0 (of the scaled input), or the edge repeated.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_image(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        near = 1 / (1 + random.uniform(-1, 1, len(x)) * self.amount)
        none = np.zeros_like(near)
        warp(x, np.array([[near, none], [none, near]]), self.fill)
        return None


def warp(x: Array, matrices: Array, fill: Fill) -> None:
    """x(p) becomes x(M p), p = (down, right) from the middle, bilinear, in place. matrices: (2, 2, rows)."""
    _, h, w, c = x.shape
    down, right = ((np.arange(n, dtype=x.dtype) - (n - 1) / 2).astype(x.dtype) for n in (h, w))
    M = matrices.astype(x.dtype)[..., None, None]
    for piece in bands(x):
        wide = padded(x[piece], 1, fill)
        m = M[:, :, piece]
        y, fy = _between(m[0, 0] * down[:, None] + m[0, 1] * right, h)
        z, fz = _between(m[1, 0] * down[:, None] + m[1, 1] * right, w)
        start = np.arange(len(wide))[:, None, None] * ((h + 2) * (w + 2))
        _blend(wide.reshape(-1, c), start + y * (w + 2) + z, w + 2, fy[..., None], fz[..., None], x[piece])


def _between(place: Array, size: int) -> tuple[Array, Array]:
    """From places about the middle: the pixel before in an image with a border of one, and how far beyond it."""
    place += (size - 1) / 2 + 1
    np.clip(place, 0, size + 1, out=place)
    before = np.minimum(place.astype(np.intp), size)
    return before, place - before.astype(place.dtype)


def _blend(pixels: Array, at: Array, below: int, fy: Array, fz: Array, out: Array) -> None:
    """out = the four pixels at, right of, below and across, by their nearness. pixels: (n, c); at: (rows, h, w)."""
    first, second = (_mix(pixels.take(at + row, 0), pixels.take(at + row + 1, 0), fz) for row in (0, below))
    np.copyto(out, _mix(first, second, fy))


def _mix(a: Array, b: Array, share: Array) -> Array:
    """a + share (b - a), in b's memory."""
    b -= a
    b *= share
    b += a
    return b
