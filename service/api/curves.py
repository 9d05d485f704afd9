"""Series written down: JSON columns, CSV, one JSON line a point, or arrays in a zip. Same points, same bytes."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.lib import format as npy

from service.api.replies import encode
from service.storage import Series

COLUMNS = ("times", "epochs", "rows_per_s")  # what may be told of each point beside its step and value
_SINGULAR = {"times": "time", "epochs": "epoch", "rows_per_s": "rows_per_s"}
_PARTS = {".", "..", ""}
Found = Mapping[str, Series]
Chosen = Collection[str]


class Format(NamedTuple):
    """A way to write series down."""

    media_type: str
    write: Callable[[Found, Chosen], bytes]


def columns(found: Found, chosen: Chosen) -> dict[str, dict[str, Any]]:
    """For JSON; a column that was not chosen is null."""
    return {name: _column(each, chosen) for name, each in found.items()}


def _column(series: Series, chosen: Chosen) -> dict[str, Any]:
    values: list[float | None] = series.values.tolist()
    nonfinite = []
    for i in np.flatnonzero(~np.isfinite(series.values)).tolist():
        nonfinite.append({"step": int(series.steps[i]), "value": word(series.values[i])})
        values[i] = None
    return {
        "steps": series.steps.tolist(), "values": values,
        **{name: _told(series, name) if name in chosen else None for name in COLUMNS}, "nonfinite": nonfinite,
        "count": series.n, "reduced": series.reduced, "continues": series.continues,
    }  # fmt: skip


def _told(series: Series, name: str) -> list[Any]:
    """A column of numbers; null where nothing is known, whole numbers as such."""
    if name == "times":
        times: list[Any] = series.times.tolist()
        return times
    found: list[float] = getattr(series, name).tolist()
    return [None if value != value else int(value) if value.is_integer() else value for value in found]


def word(value: float) -> str:
    """What is not finite, as JSON's readers know it."""
    if np.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _points(series: Series, chosen: Chosen) -> Iterator[tuple[Any, ...]]:
    """(step, value, what was chosen ...)"""
    told = [_told(series, name) for name in COLUMNS if name in chosen]
    return zip(series.steps.tolist(), series.values.tolist(), *told, strict=True)


def _heads(chosen: Chosen) -> list[str]:
    return ["step", "value", *(_SINGULAR[name] for name in COLUMNS if name in chosen)]


def _csv(found: Found, chosen: Chosen) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *_heads(chosen)])
    for name, each in found.items():
        writer.writerows((name, *point) for point in _points(each, chosen))
    return text.getvalue().encode()


def _ndjson(found: Found, chosen: Chosen) -> bytes:
    return b"".join(_lines(found, chosen))


def _lines(found: Found, chosen: Chosen) -> Iterator[bytes]:
    heads = _heads(chosen)
    for name, each in found.items():
        for point in _points(each, chosen):
            odd = {} if np.isfinite(point[1]) else {"nonfinite": word(point[1])}
            yield encode({"name": name, **dict(zip(heads, point, strict=True)), **odd}) + b"\n"


def _npz(found: Found, chosen: Chosen) -> bytes:
    """`<name>/steps`, `<name>/values` and so on; nothing in it depends on when it was written."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, each in found.items():
            for column in ("steps", "values", *(known for known in COLUMNS if known in chosen)):
                array = io.BytesIO()
                npy.write_array(array, getattr(each, column), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{_member(name)}/{column}.npy"), array.getvalue())
    return file.getvalue()


def _member(name: str) -> str:
    """A metric's name as a path that stays inside the folder it is unpacked to."""
    safe = "\\" not in name and not _PARTS.intersection(name.split("/"))
    return name if safe else quote(name, safe="").replace(".", "%2E")


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8", _csv),
    "ndjson": Format("application/x-ndjson", _ndjson),
    "npz": Format("application/zip", _npz),
}
