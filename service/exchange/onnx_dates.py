"""Parts of dates in ONNX's arithmetic: whole numbers as float64, exact far beyond the year 9999."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from onnx import TensorProto

from service.data import DATE_PERIODS, DateFeature
from service.exchange.graph import Graph

_DAY = 86_400


def date(graph: Graph, feature: DateFeature, raw: str) -> str:
    """raw: (rows, 1) float64, seconds since 1970, NaN missing. Gives (rows, numbers) float32."""
    missing = graph.one("IsNaN", raw)
    there = _constant(graph, 0.0 if feature.fill is None else feature.fill)
    seconds = graph.one("Where", missing, there, raw)
    found, means = list[str](), zip(feature.mean, feature.deviation, strict=True)
    for part in feature.parts:
        value = seconds if part == "time" else _PARTS[part](graph, _floor(graph, seconds, 1))
        if feature.encoding == "cyclic" and part in DATE_PERIODS:
            first, factor = int(part in ("month", "day")), 2 * math.pi / DATE_PERIODS[part]
            turn = graph.one("Mul", _plus(graph, value, -first), _constant(graph, factor))
            turn = graph.one("Cast", turn, to=TensorProto.FLOAT)
            found += [graph.one("Sin", turn), graph.one("Cos", turn)]
            _ = next(means), next(means)
        else:
            mean, deviation = next(means)
            score = graph.one("Div", _plus(graph, value, -mean), _constant(graph, deviation))
            found.append(graph.one("Cast", score, to=TensorProto.FLOAT))
    spread = graph.one("Concat", *found, axis=1)
    return graph.one("Where", missing, graph.constant(0.0), spread) if feature.fill is None else spread


def _civil(graph: Graph, seconds: str) -> tuple[str, str, str]:
    """(year, month, day) of the proleptic Gregorian calendar, counted in years from March on (Hinnant, 2013)."""
    z = _plus(graph, _floor(graph, seconds, _DAY), 719_468)  # days since 0000-03-01
    era = _floor(graph, z, 146_097)
    doe = _minus(graph, z, _times(graph, era, 146_097))
    leap = _minus(graph, doe, _floor(graph, doe, 1_460))
    leap = _minus(graph, graph.one("Add", leap, _floor(graph, doe, 36_524)), _floor(graph, doe, 146_096))
    yoe = _floor(graph, leap, 365)
    passed = graph.one("Add", _times(graph, yoe, 365), _floor(graph, yoe, 4))
    doy = _minus(graph, doe, _minus(graph, passed, _floor(graph, yoe, 100)))
    march = _floor(graph, _plus(graph, _times(graph, doy, 5), 2), 153)  # months since March
    begun = _floor(graph, _plus(graph, _times(graph, march, 153), 2), 5)
    day = _plus(graph, _minus(graph, doy, begun), 1)
    late = graph.one("Cast", graph.one("Less", march, _constant(graph, 10)), to=TensorProto.DOUBLE)  # March to December
    month = _plus(graph, graph.one("Add", march, _times(graph, late, 12)), -9)
    year = _plus(graph, _minus(graph, graph.one("Add", yoe, _times(graph, era, 400)), late), 1)
    return year, month, day


_PARTS: Mapping[str, Callable[[Graph, str], str]] = {
    "year": lambda graph, seconds: _civil(graph, seconds)[0],
    "month": lambda graph, seconds: _civil(graph, seconds)[1],
    "day": lambda graph, seconds: _civil(graph, seconds)[2],
    "weekday": lambda graph, seconds: _rest(graph, _plus(graph, _floor(graph, seconds, _DAY), 3), 7),
    "hour": lambda graph, seconds: _floor(graph, _rest(graph, seconds, _DAY), 3_600),
    "minute": lambda graph, seconds: _floor(graph, _rest(graph, seconds, 3_600), 60),
}


def _constant(graph: Graph, value: float) -> str:
    return graph.constant(value, "float64")


def _plus(graph: Graph, value: str, number: float) -> str:
    return graph.one("Add", value, _constant(graph, number))


def _times(graph: Graph, value: str, number: float) -> str:
    return graph.one("Mul", value, _constant(graph, number))


def _minus(graph: Graph, value: str, other: str) -> str:
    return graph.one("Sub", value, other)


def _floor(graph: Graph, value: str, number: float) -> str:
    """How many whole times the number is in the value, downwards."""
    return graph.one("Floor", value if number == 1 else graph.one("Div", value, _constant(graph, number)))


def _rest(graph: Graph, value: str, number: float) -> str:
    return _minus(graph, value, _times(graph, _floor(graph, value, number), number))
