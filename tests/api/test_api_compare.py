"""Runs side by side: spec differences, the first step at which they part, the table of best values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, pointers, problem, serving, train_spec
from hypothesis import given
from hypothesis import strategies as st
from numpy import array
from test_api_runs import ran

from service.storage import Series, parting

pytestmark = pytest.mark.anyio
SERIES = {"batch_loss": ([1, 2, 3, 4], [0.9, 0.5, 0.3, 0.2]), "rows_per_s": ([4], [900.0])}
POINTS = st.dictionaries(st.integers(0, 6), st.sampled_from([0.0, 1.0, math.nan]))


async def compared(api: Api, *runs: str, **asked: Any) -> Any:
    response = await api.http.post("/v1/runs/compare", json={"runs": list(runs), **asked})
    assert response.status_code == 200, response.text
    return response.json()


async def test_runs_are_told_apart_by_spec_first_step_and_best_values(tmp_path: Path) -> None:
    slower = train_spec(optimizer={"kind": "sgd", "learning_rate": 0.1})
    async with serving(tmp_path) as api:
        first = await ran(api, SERIES | {"val_accuracy": ([4], [0.8])})
        other = await ran(
            api, {"batch_loss": ([1, 2, 3, 4], [0.9, 0.5, 0.4, 0.1]), "val_accuracy": ([4], [0.7])}, spec=slower
        )
        found = await compared(api, first, other)
        assert [run["parted_at"] for run in found["runs"]] == [None, 3]
        fields = {each["field"]: each["values"] for each in found["spec"]}
        assert fields["optimizer.kind"] == ["adam", "sgd"]
        assert fields["optimizer.learning_rate"] == [0.01, 0.1]
        assert not any(field.startswith(("network", "training")) for field in fields)
        loss, rows, accuracy = found["metrics"]
        assert (loss["name"], loss["winner"], loss["parted_at"]) == ("batch_loss", other, [None, 3])
        assert [best["value"] for best in loss["best"]] == [0.2, 0.1]
        assert (rows["best"], rows["last"], rows["winner"]) == ([None, None], [{"value": 900.0, "step": 4}, None], None)
        assert (accuracy["winner"], accuracy["parted_at"]) == (first, [None, 4])


async def test_a_repeated_run_parts_nowhere_however_fast_it_went(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        first = await ran(api, SERIES)
        again = await ran(api, SERIES | {"rows_per_s": ([4], [1000.0])})
        found = await compared(api, first, again)
        assert found["spec"] == found["receipt"] == []
        assert [run["parted_at"] for run in found["runs"]] == [None, None]
        assert [each["name"] for each in (await compared(api, first, again, names=["batch_loss"]))["metrics"]] == [
            "batch_loss"
        ]


async def test_fewer_than_two_runs_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await ran(api, {})
        assert pointers(await api.http.post("/v1/runs/compare", json={"runs": [run_id]})) == ["/runs"]
        for path in ("/v1/runs/compare", "/v1/metrics/query"):
            told = problem(await api.http.post(path, json={"runs": ["run_x", run_id, "run_y"]}), 404)
            assert [each["pointer"] for each in told["errors"]] == ["/runs/0", "/runs/2"]


def series(points: dict[int, float]) -> Series:
    steps = sorted(points)
    return Series("loss", array(steps), array([points[step] for step in steps]), None, len(steps), None)


@given(POINTS, POINTS)
def test_two_series_part_at_the_first_step_where_one_says_something_else(
    one: dict[int, float], other: dict[int, float]
) -> None:
    end = min(max(one, default=-1), max(other, default=-1))
    steps = [step for step in range(end + 1) if repr(one.get(step)) != repr(other.get(step))]
    assert parting(series(one), series(other)) == (steps[0] if steps else None)
