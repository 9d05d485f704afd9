"""Points that other programs measured, as they send them: one step, columns by name, or a table of NumPy's."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from service.api.bodies import Body
from service.errors import Fault, InvalidData

MAX_POINTS = 100_000  # of one series in one request; the cap on bodies is lower in most cases
MAX_NAMES = 1_000
LARGEST = 1 << 62
Step = Annotated[int, Field(ge=0, lt=LARGEST)]
Milliseconds = Annotated[int, Field(ge=0, lt=LARGEST, description="Milliseconds since 1970 UTC.")]
Name = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]
Nonfinite = Literal["NaN", "Infinity", "-Infinity"]
Points = dict[str, tuple[Any, ...]]  # as the store takes them
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class NonfinitePoint(Body):
    """A value that JSON cannot say; in `values` it is null."""

    step: Step
    value: Nonfinite


class Columns(Body):
    """Points of one metric in columns. A step that is there already gets the new value."""

    steps: Annotated[list[Step], Field(max_length=MAX_POINTS)]
    values: Annotated[list[float | None], Field(max_length=MAX_POINTS)]
    times: Annotated[list[Milliseconds], Field(max_length=MAX_POINTS)] | None = None
    nonfinite: Annotated[list[NonfinitePoint], Field(max_length=MAX_POINTS)] = []


class Measured(Body):
    """What was measured: `series` in columns, `metrics` at one `step`, or both. Without times it was now."""

    series: Annotated[dict[Name, Columns], Field(max_length=MAX_NAMES)] = {}
    step: Step | None = None
    metrics: Annotated[dict[Name, float | Nonfinite], Field(max_length=MAX_NAMES)] = {}
    time: Milliseconds | None = None


class _FullColumns(Body):
    steps: Annotated[list[int], Field(max_length=MAX_POINTS)]
    values: Annotated[list[float], Field(max_length=MAX_POINTS)]
    times: Annotated[list[int], Field(max_length=MAX_POINTS)] | None = None


class _FullSeries(Body):
    series: Annotated[dict[Name, _FullColumns], Field(max_length=MAX_NAMES)]


def from_full_columns(body: bytes) -> Points | None:
    """What `Measured` says in nothing but series without nulls, in half the time; None for anything else."""
    try:
        given = _FullSeries.model_validate_json(body).series
        return {name: _packed(each) for name, each in given.items()}
    except (ValidationError, InvalidData, struct.error):
        return None


def _packed(given: _FullColumns) -> tuple[Any, ...]:
    """Raises struct.error for what is not of one length or no 64-bit number, InvalidData for one out of bounds."""
    n, wholes = len(given.steps), (given.steps, *(() if given.times is None else (given.times,)))
    steps, *times = (_bounded(np.frombuffer(struct.pack(f"<{n}q", *each), "<i8"), "a number") for each in wholes)
    return steps, np.frombuffer(struct.pack(f"<{n}d", *given.values), "<f8"), *times


def from_json(given: Measured) -> Points:
    """Raises InvalidData with every fault."""
    faults: list[Fault] = []
    found = {name: _columns(f"/series/{_escaped(name)}", each, faults) for name, each in given.series.items()}
    if given.metrics and given.step is None:
        faults.append(Fault("/step", "missing", "metrics are measured at a step", 'Add "step": 0, 1, 2, ...'))
    faults += [
        Fault(f"/metrics/{_escaped(name)}", "twice", f"{name[:80]!r} is in series and in metrics")
        for name in given.metrics.keys() & found.keys()
    ]
    _refuse(faults)
    at = () if given.time is None else ([given.time],)
    return found | {name: ([given.step], [float(value)], *at) for name, value in given.metrics.items()}


def _columns(place: str, given: Columns, faults: list[Fault]) -> tuple[Any, ...]:
    columns = {"values": given.values} | ({} if given.times is None else {"times": given.times})
    for name, column in columns.items():
        if len(column) != len(given.steps):
            words = f"{len(column)} {name} for {len(given.steps)} steps"
            faults.append(Fault(f"{place}/{name}", "wrong_length", words))
    told = {each.step: float(each.value) for each in given.nonfinite}
    if told:
        _check_told(place, given, told, faults)
    values = given.values if None not in given.values else _filled(place, given, told, faults)
    times = () if given.times is None else (given.times,)
    return given.steps, values, *times


def _check_told(place: str, given: Columns, told: Mapping[int, float], faults: list[Fault]) -> None:
    """What is told as not finite stands as null in the values."""
    nulls = {step for step, value in zip(given.steps, given.values, strict=False) if value is None}
    for step in sorted(told.keys() - nulls):
        words = f"step {step} is no null of the values"
        faults.append(Fault(f"{place}/nonfinite", "not_null", words, "What is not finite is null there."))


def _filled(place: str, given: Columns, told: Mapping[int, float], faults: list[Fault]) -> Sequence[float]:
    values = []
    for i, (step, value) in enumerate(zip(given.steps, given.values, strict=False)):
        if value is None and step not in told:
            hint = f'Say which in nonfinite: [{{"step": {step}, "value": "NaN"}}].'
            faults.append(Fault(f"{place}/values/{i}", "untold_null", "null may be NaN or an infinity", hint))
        values.append(told.get(step, 0.0) if value is None else value)
    return values


def from_npy(data: bytes) -> Points:
    """Of a one-dimensional structured array in the .npy format: `step`, perhaps `time`, and a field for each metric.

    Nothing is unpickled, and nothing allocated that the bytes do not hold. Raises InvalidData.
    """
    file = BytesIO(data)
    try:
        shape, _, dtype = _READERS[npy.read_magic(file)](file)
    except (ValueError, KeyError) as error:
        raise _misfit("not an array in the .npy format of version 1 or 2") from error
    names = dtype.names or ()
    if len(shape) != 1 or "step" not in names or not all(_is_number(dtype, name) for name in names):
        raise _misfit(f"expected one row a step, with the field step and a number for each metric; got {dtype}"[:300])
    if prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise _misfit(f"{shape[0]} rows of {dtype.itemsize} bytes are not {len(data) - file.tell()} bytes")
    table = np.frombuffer(data, dtype, offset=file.tell())
    times = (_whole(table, "time"),) if "time" in names else ()
    steps = _whole(table, "step")
    return {name: (steps, table[name].astype(np.float64), *times) for name in names if name not in ("step", "time")}


def _is_number(dtype: np.dtype[Any], name: str) -> bool:
    field = dtype[name]
    return field.kind in ("iu" if name in ("step", "time") else "iuf") and field.shape == ()


def _whole(table: NDArray[Any], name: str) -> NDArray[np.int64]:
    return _bounded(table[name], name).astype(np.int64)


def _bounded(found: NDArray[Any], name: str) -> NDArray[Any]:
    if len(found) and (found.min() < 0 or found.max() >= LARGEST):
        raise _misfit(f"{name} runs from {found.min()} to {found.max()}; it must be 0 or more, and below 2**62")
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _misfit(words: str) -> InvalidData:
    hint = 'numpy.save of an array with the dtype [("step", "<i8"), ("loss", "<f8"), ...].'
    return InvalidData(words, hint=hint, faults=[Fault("", "wrong_form", words, hint)])


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        words = faults[0].message if len(faults) == 1 else f"{len(faults)} things do not fit"
        raise InvalidData(words, faults=faults)
