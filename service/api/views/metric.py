"""Metrics as answers: in a few numbers, or point by point."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from service.api.views.base import View

METRIC_PARTS = ("first", "last", "min", "max")


class MetricView(View):
    """A series in a few numbers; null where nothing finite was measured."""

    count: int
    nonfinite: int
    first: float | None
    first_step: int | None
    last: float | None
    last_step: int | None
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None
    best: float | None = Field(description="The better end; null when the name does not tell which end that is.")
    best_step: int | None
    mean: float | None
    direction: Literal["min", "max"] | None

    @classmethod
    def of(cls, summary: Any) -> Self:
        found = {"count": summary["n"], **{name: summary[name] for name in ("nonfinite", "mean", "direction")}}
        for part in (*METRIC_PARTS, "best"):
            point = summary[part] or {"value": None, "step": None}
            found |= {part: point["value"], f"{part}_step": point["step"]}
        return cls(**found)


class MetricsView(View):
    """Every metric of a run."""

    run: str
    metrics: dict[str, MetricView]


class PointView(View):
    """A value and the step it stands at."""

    value: float | None
    step: int | None


class NonfiniteView(View):
    """A value that JSON cannot say, by its step."""

    step: int
    value: Literal["NaN", "Infinity", "-Infinity"]


class SeriesView(View):
    """Points in columns, steps ascending. What is not finite is null in `values` and told in `nonfinite`."""

    steps: list[int]
    values: list[float | None]
    times: list[int] | None = Field(description="Milliseconds since 1970 UTC. This and the next two: if asked for.")
    epochs: list[float | None] | None = Field(description="Null for a point whose epoch has not ended.")
    rows_per_s: list[float | None] | None
    nonfinite: list[NonfiniteView]
    count: int = Field(description="Points in the range before they were reduced.")
    reduced: str | None
    continues: bool = Field(description="With `after`: these points follow those you have; else they replace them.")


class RunSeriesView(View):
    """Series of one run by metric name."""

    run: str
    series: dict[str, SeriesView]
    next: str = Field(description="What to give as `after` for what is new from now on.")


class LoggedView(View):
    """How many points were taken."""

    run: str
    points: int


class QueryView(View):
    """Series of several runs, in the order asked for."""

    data: list[RunSeriesView]
