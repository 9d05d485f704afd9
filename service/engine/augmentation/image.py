"""Augmentation of images (height, width, channels) that moves whole pixels or hides them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from service.engine.augmentation.contract import AugmentationSpec, Fill, Mixed, Pixels, bands, check_image
from service.engine.contract import Array, Shape, Unfit
from service.engine.losses import LossSpec


class Flip(AugmentationSpec):
    """y[i, j] = x[i, w - 1 - j] (horizontal: left and right change sides) or x[h - 1 - i, j] (vertical), by chance.

    x, y: (height, width, channels). Krizhevsky et al. 2012.
    """

    kind: Literal["flip"] = "flip"
    direction: Literal["horizontal", "vertical"] = Field(default="horizontal", description="What changes sides.")
    probability: float = Field(default=0.5, ge=0, le=1, description="Share of the images that are flipped.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_image(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        chosen = np.flatnonzero(random.random(len(x)) < self.probability)
        for piece in bands(chosen, x[:1].size):
            rows = chosen[piece]
            images = x[rows]
            x[rows] = images[:, :, ::-1] if self.direction == "horizontal" else images[:, ::-1]
        return None


class Shift(AugmentationSpec):
    """y[i, j] = x[i - a, j - b], a and b whole and uniform in -pixels..pixels; outside of x is `fill`.

    x, y: (height, width, channels). Krizhevsky et al. 2012.
    """

    kind: Literal["shift"] = "shift"
    pixels: Pixels = Field(default=2, description="Farthest move in each direction.")
    fill: Fill = Field(default="zero", description="What comes in: 0 (of the scaled input), or the edge repeated.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        least = min(check_image(shape))
        if self.pixels >= least:
            raise Unfit(f"a shift by {self.pixels} can push all of the image out", "/pixels", f"less than {least}")

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        far, (rows, h, w, c) = self.pixels, x.shape
        down, right = random.integers(0, 2 * far, (2, rows), endpoint=True)
        for piece in bands(x, (h + 2 * far) * (w + 2 * far) * c):
            wide = padded(x[piece], far, self.fill)
            windows = np.moveaxis(sliding_window_view(wide, (h, w), (1, 2)), 3, -1)  # (rows, down, right, h, w, c)
            x[piece] = windows[np.arange(len(wide)), down[piece], right[piece]]
        return None


class Cutout(AugmentationSpec):
    """x[i, j] = 0 in a square of `pixels` a side, its middle uniform over the image. DeVries and Taylor 2017.

    x: (height, width, channels).     Near the border a part of the square lies outside, as in the paper.
    """

    kind: Literal["cutout"] = "cutout"
    pixels: Pixels = Field(default=8, description="Side of the square.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        most = max(check_image(shape))
        if self.pixels > most:
            raise Unfit(f"a square of {self.pixels} hides the whole image", "/pixels", f"at most {most}")

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        rows, h, w, _ = x.shape
        inside = []
        for size in (h, w):
            start = random.integers(0, size, (rows, 1)) - self.pixels // 2
            place = np.arange(size)
            inside.append((place >= start) & (place < start + self.pixels))
        np.copyto(x, 0, where=(inside[0][:, :, None] & inside[1][:, None])[..., None])
        return None


def padded(x: Array, by: int, fill: Fill) -> Array:
    """A copy of (rows, h, w, c) with `by` more pixels on each side."""
    rows, h, w, c = x.shape
    wide = np.zeros((rows, h + 2 * by, w + 2 * by, c), x.dtype)
    wide[:, by : by + h, by : by + w] = x
    if fill == "edge" and by:
        wide[:, :by], wide[:, by + h :] = wide[:, by : by + 1], wide[:, by + h - 1 : by + h]
        wide[:, :, :by], wide[:, :, by + w :] = wide[:, :, by : by + 1], wide[:, :, by + w - 1 : by + w]
    return wide
