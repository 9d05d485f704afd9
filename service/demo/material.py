"""What the demo learns from: the digits that came with the package, and the reference text that came with Python."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from numpy.typing import NDArray

KEPT_BACK = 297
_SIDE = 8
_SEED = 7  # the file keeps its writers together; who is kept back is drawn by lot


@dataclass(frozen=True)
class Digits:
    """Handwritten digits of the UCI collection. image: (rows, 8, 8), 0 paper to 16 ink; label: (rows,)"""

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)


def digits() -> tuple[Digits, Digits]:
    """Those to learn from, and those that are kept back and never uploaded for training."""
    packed = files("service").joinpath("data/samples/digits.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()
    table = np.array([line.split(",") for line in lines[1:]], np.uint8)
    table = np.random.default_rng(_SEED).permutation(table)
    image, label = table[:, :-1].reshape(-1, _SIDE, _SIDE), table[:, -1]
    cut = len(label) - KEPT_BACK
    return Digits(image[:cut], label[:cut]), Digits(image[cut:], label[cut:])


def write_digits(part: Digits, path: Path) -> Path:
    """One file, as a user would have it: two arrays, `image` and `label`."""
    np.savez_compressed(path, image=part.image, label=part.label)
    return path


def write_reference(path: Path) -> Path:
    """The topics of Python's language reference as one text."""
    path.write_text("\n".join(topics.values()), "utf-8")
    return path
