"""A spec as parameters, by which runs are found: each field by its path, as text and, where it is one, as a number.

`{"optimizer": {"kind": "adam", "learning_rate": 0.001}}` has the parameters `optimizer` (the kind itself),
`optimizer.kind` and `optimizer.learning_rate`; the elements of a list go by their place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete, insert

from service.storage.tables import run_params

MAX_PARAMS, MAX_ELEMENTS, MAX_DEPTH = 1_000, 100, 20  # what lies beyond cannot be searched for
MAX_TEXT = 500  # of a value, as the index has it
_INSERT = insert(run_params)


def params(spec: Mapping[str, Any]) -> dict[str, str]:
    """By path, in the spec's order."""
    return {path: text(value) for path, value in islice(_leaves(spec, "", 0), MAX_PARAMS)}


def text(value: object) -> str:
    """A value as people compare it: words as they are, the rest as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def number(value: str) -> float | None:
    """The finite number that a text says."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def index(connection: Connection, run_key: int, spec: Mapping[str, Any]) -> None:
    """Makes a run findable by its spec, and by nothing else."""
    add(connection, run_key, params(spec))


def again(connection: Connection, run_key: int, spec: Mapping[str, Any]) -> None:
    """The same for a run whose spec has changed."""
    connection.execute(delete(run_params).where(run_params.c.run_key == run_key))
    index(connection, run_key, spec)


def add(connection: Connection, run_key: int, found: Mapping[str, str]) -> None:
    """Adds parameters that the run does not have yet."""
    rows = [
        {"run_key": run_key, "name": name, "text": value[:MAX_TEXT], "number": number(value)}
        for name, value in found.items()
    ]
    if rows:
        connection.execute(_INSERT, rows)


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        if path and isinstance(value.get("kind"), str):
            yield path, value["kind"]
        inside = value.items()
    elif isinstance(value, list | tuple) and depth < MAX_DEPTH:
        inside = dict(enumerate(value[:MAX_ELEMENTS])).items()
    else:
        if path and value is not None:
            yield path, value
        return
    for name, each in inside:
        yield from _leaves(each, f"{path}.{name}" if path else str(name), depth + 1)
