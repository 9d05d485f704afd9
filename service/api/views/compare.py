"""Runs side by side, as an answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.api.views.base import Status, View
from service.api.views.metric import PointView


class ComparedView(View):
    """One of the runs, in the order asked for."""

    id: str
    name: str | None
    type: str
    status: Status
    weights_sha256: str | None
    parted_at: int | None = Field(
        description="The first step at which this run and the first one say something else in any metric but those of "
        "time; null while they agree, bit for bit."
    )


class DifferenceView(View):
    """A field that is not the same in all runs: its value in each, null where it is not there."""

    field: str
    values: list[Any]


class ComparedMetricView(View):
    """A metric in each run; null where it was not measured."""

    name: str
    direction: Literal["min", "max"] | None
    best: list[PointView | None]
    last: list[PointView | None]
    winner: str | None = Field(description="The run of the best value, the first of several; null without a direction.")
    parted_at: list[int | None] = Field(description="The first step at which it is not what it is in the first run.")


class CompareView(View):
    """What is different between runs, and which is best at what."""

    runs: list[ComparedView]
    spec: list[DifferenceView]
    receipt: list[DifferenceView] = Field(description="The same of what else decides the bits: data, versions, BLAS.")
    metrics: list[ComparedMetricView]
