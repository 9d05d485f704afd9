"""Data sets that come with the service: two classics as tables in the package, two made by formula, one text."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from service.data.description import Limits, Parsed
from service.data.read import save
from service.data.readers import Read
from service.data.readers.json_rows import read_rows
from service.data.readers.numeric import numeric_column
from service.data.readers.text import text_rows
from service.data.spool import Spool
from service.errors import NotFound, did_you_mean

_POINTS = 400
_TURNS = 1.75
_SEED = 1


def sample(name: str, into: Path) -> Parsed:
    """Writes a sample as a data set at `into`, as `read` does an upload. Raises NotFound."""
    if name not in _READERS:
        raise NotFound(f"no sample {name[:40]!r}", hint=did_you_mean(name, SAMPLES) or "one of " + ", ".join(SAMPLES))
    return save(_READERS[name], into, text=name == "python_reference")


def _table(name: str) -> Iterator[list[str]]:
    packed = resources.files(__package__).joinpath(f"{name}.csv.gz").read_bytes()
    return csv.reader(gzip.decompress(packed).decode().splitlines())


def _iris(spool: Spool) -> Read:
    """Fisher (1936): four lengths of 150 flowers of three species."""
    names, *rows = _table("iris")
    objects: list[object] = [dict(zip(names, [*map(float, row[:-1]), row[-1]], strict=True)) for row in rows]
    return read_rows(objects, spool, Limits().columns)


def _digits(spool: Spool) -> Read:
    """Alpaydin and Kaynak (1998), UCI: 1,797 handwritten digits, 8x8 pixels of 0 to 16."""
    _, *rows = _table("digits")
    table = np.array(rows, np.uint8)
    image = numeric_column(spool, (8, 8), iter([table[:, :64].reshape(-1, 8, 8)]))
    label = numeric_column(spool, (), iter([table[:, 64]]))
    return len(table), [image.finish("image"), label.finish("label")], []


def _spiral(spool: Spool) -> Read:
    """Two spirals, one in the other (Lang and Witbrock, 1988), with a little noise."""
    noise = random.Random(_SEED)
    rows: list[object] = []
    for at in range(_POINTS):
        label, distance = at % 2, (at // 2 + 1) / (_POINTS // 2)
        angle = distance * _TURNS * 2 * math.pi + label * math.pi
        x = distance * math.cos(angle) + noise.uniform(-0.02, 0.02)
        y = distance * math.sin(angle) + noise.uniform(-0.02, 0.02)
        rows.append({"x": round(x, 6), "y": round(y, 6), "label": label})
    return read_rows(rows, spool, Limits().columns)


def _xor(spool: Spool) -> Read:
    """Points of a square; the label is 1 where exactly one of x and y is positive."""
    place = random.Random(_SEED)
    points = [(round(place.uniform(-1, 1), 6), round(place.uniform(-1, 1), 6)) for _ in range(_POINTS)]
    rows: list[object] = [{"x": x, "y": y, "label": int((x > 0) != (y > 0))} for x, y in points]
    return read_rows(rows, spool, Limits().columns)


def _python_reference(spool: Spool) -> Read:
    """The language reference that every Python carries for its help()."""
    topics: dict[str, str] = resolve_name("pydoc_data.topics:topics")  # 0.8 MB that nothing else needs
    text = "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics))
    return text_rows([text.encode()], spool)


_READERS: dict[str, Callable[[Spool], Read]] = {
    "digits": _digits,
    "iris": _iris,
    "python_reference": _python_reference,
    "spiral": _spiral,
    "xor": _xor,
}
SAMPLES = tuple(_READERS)
