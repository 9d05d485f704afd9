"""Runs and their metrics: filtered, sorted, summarised, plotted; what is not finite is told as such."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, pointers, problem, serving
from test_api_jobs import claim

from service.api.digits import MOST, rounded
from service.storage import Report

pytestmark = pytest.mark.anyio


async def ran(api: Api, series: dict[str, tuple[Any, Any]], report: dict[str, Any] | None = None, **given: Any) -> str:
    """A run that measured this and has ended."""
    run_id: str = (await api.submit(**given)).json()["run_id"]
    attempt = claim(api)
    arrays = {name: (np.asarray(steps), np.asarray(values, float)) for name, (steps, values) in series.items()}
    api.store.runs.report(attempt, Report(series=arrays, step=1))
    api.store.runs.finish(attempt, "succeeded", stopped_by="epochs", report=report or {})
    return run_id


async def test_a_summary_tells_first_last_min_max_and_best_with_their_steps(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"val_loss": ([1, 2, 3], [0.9, 0.2, 0.4]), "val_accuracy": ([1, 2], [0.5, 0.8])})
        found = (await api.http.get(f"/v1/runs/{run_id}/metrics")).json()["metrics"]
        loss = found["val_loss"]
        assert (loss["first"], loss["first_step"], loss["last"], loss["last_step"]) == (0.9, 1, 0.4, 3)
        assert (loss["min"], loss["min_step"], loss["max"], loss["max_step"]) == (0.2, 2, 0.9, 1)
        assert (loss["best"], loss["best_step"], loss["direction"], loss["count"]) == (0.2, 2, "min", 3)
        assert (found["val_accuracy"]["best"], found["val_accuracy"]["direction"]) == (0.8, "max")
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert run["best"]["val_loss"] == {"value": 0.2, "step": 2}
        assert run["summary"] == found


async def test_runs_are_filtered_and_sorted_by_their_best(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        good = await ran(api, {"val_accuracy": ([1, 2], [0.7, 0.9])}, tags=["x"])
        poor = await ran(api, {"val_accuracy": ([1, 2], [0.8, 0.6])}, tags=["x"])
        none = await ran(api, {}, tags=["y"])
        waiting = (await api.submit()).json()["run_id"]

        async def ids(query: str) -> list[str]:
            return [run["id"] for run in (await api.http.get(f"/v1/runs?{query}")).json()["data"]]

        assert await ids("sort=-best.val_accuracy&status=succeeded") == [good, poor, none]
        assert await ids("sort=last.val_accuracy&tag=x") == [poor, good]
        assert await ids("status=queued") == [waiting]
        assert await ids("tag=y") == [none]
        dataset = api.store.runs.get(good).dataset_id
        assert await ids(f"dataset={dataset}") == [waiting, none, poor, good]
        assert pointers(await api.http.get("/v1/runs?sort=worst.loss")) == ["/query/sort"]


async def test_runs_are_searched_for_in_mlflows_language_or_by_simple_bounds(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        good = await ran(api, {"val_accuracy": ([1, 2], [0.95, 0.9])}, tags=["team=x"])
        poor = await ran(api, {"val_accuracy": ([1, 2], [0.5, 0.6])}, tags=["team=x"])
        await ran(api, {"val_accuracy": ([1], [0.99])}, tags=["team=y"])

        async def ids(**params: Any) -> list[str]:
            return [run["id"] for run in (await api.http.get("/v1/runs", params=params)).json()["data"]]

        words = "params.optimizer = 'adam' and tags.team = 'x' and attributes.status = 'FINISHED'"
        assert await ids(filter=f"metrics.val_accuracy > 0.8 and {words}") == [good]
        assert await ids(metric=["val_accuracy<0.7", "best.val_accuracy>=0.6"], spec="optimizer.kind=adam") == [poor]
        assert await ids(filter=words, sort="-spec.training.epochs") == [poor, good]
        refused = await api.http.get("/v1/runs", params={"filter": "metric.loss >> 1 and tags.a = 5"})
        assert pointers(refused) == ["/query/filter", "/query/filter"]
        assert "at character 14" in refused.json()["errors"][0]["message"]
        assert pointers(await api.http.get("/v1/runs", params={"metric": "val_accuracy"})) == ["/query/metric"]
        assert pointers(await api.http.get("/v1/runs", params={"spec": "optimizer>adam"})) == ["/query/spec"]


async def test_a_series_comes_in_columns_with_what_is_not_finite_told(tmp_path: Path) -> None:
    values = [0.5, math.nan, math.inf, -math.inf, 0.25]
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"loss": (range(5), values), "other": ([7], [1.0])})
        url = f"/v1/runs/{run_id}/metrics/series"
        found = (await api.http.get(f"{url}?names=loss")).json()
        assert found["run"] == run_id
        assert found["series"].keys() == {"loss"}
        loss = found["series"]["loss"]
        assert loss["steps"] == [0, 1, 2, 3, 4]
        assert loss["values"] == [0.5, None, None, None, 0.25]
        told = [(each["step"], each["value"]) for each in loss["nonfinite"]]
        assert told == [(1, "NaN"), (2, "Infinity"), (3, "-Infinity")]
        assert len(loss["times"]) == 5
        part = (await api.http.get(f"{url}?from_step=1&to_step=3")).json()["series"]
        assert part["loss"]["steps"] == [1, 2, 3]
        lines = (await api.http.get(f"{url}?format=csv&names=loss")).text.splitlines()
        assert lines[0] == "name,step,value,time"
        assert [line.split(",")[2] for line in lines[1:]] == ["0.5", "nan", "inf", "-inf", "0.25"]
        rows = (await api.http.get(f"{url}?format=ndjson&names=loss,other")).text.splitlines()
        assert len(rows) == 6
        assert '"nonfinite":"NaN"' in rows[1]


async def test_six_thousand_noisy_points_with_their_times_are_sent_in_120_kb(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=6_000)
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"loss": (range(6_000), values)})
        answer = await api.http.get(f"/v1/runs/{run_id}/metrics/series")
        assert answer.json()["series"]["loss"]["values"] == values.tolist()
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) <= 120_000


async def test_six_thousand_points_in_seven_digits_are_short_without_being_zipped(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=6_000)
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"loss": (range(6_000), values), "odd": (range(3), [math.nan, 1e-310 / 3, 2e300 / 3])})
        asked: dict[str, str | int] = {"columns": "", "digits": 7, "names": "loss"}
        url = f"/v1/runs/{run_id}/metrics/series"
        answer = await api.http.get(url, params=asked, headers={"accept-encoding": "identity"})
        assert len(answer.content) <= 120_000
        assert answer.json()["series"]["loss"]["values"] == [float(f"{value:.6e}") for value in values]
        many = {"runs": [run_id], "names": ["odd"], "digits": 2}
        (found,) = (await api.http.post("/v1/metrics/query", json=many)).json()["data"]
        assert found["series"]["odd"]["values"] == [None, 3.3e-311, 6.7e299]
        assert pointers(await api.http.get(url, params={"digits": 0})) == ["/query/digits"]


@pytest.mark.parametrize("digits", [1, 7, MOST])
def test_numbers_in_fewer_digits_are_those_that_decimals_give(digits: int) -> None:
    rng = np.random.default_rng(digits)
    numbers = rng.standard_normal(2_000) * 10.0 ** rng.integers(-320, 308, 2_000)
    numbers[:7] = 0.0, -0.0, np.inf, -np.inf, 9.99999999, 99999999.0, 5e-324
    assert rounded(numbers, digits).tolist() == [float(f"{each:.{digits - 1}e}") for each in numbers]
    assert np.isfinite(rounded(np.array([np.finfo(float).max]), digits)).all()


async def test_many_runs_are_asked_in_one_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        made = [await ran(api, {"loss": ([1], [float(i)]), "other": ([1], [0.0])}) for i in range(3)]
        answer = await api.http.post("/v1/metrics/query", json={"runs": made[::-1], "names": ["loss"]})
        found = answer.json()["data"]
        assert [each["run"] for each in found] == made[::-1]
        assert [each["series"]["loss"]["values"] for each in found] == [[2.0], [1.0], [0.0]]
        problem(await api.http.post("/v1/metrics/query", json={"runs": ["run_nothing"]}), 404)


async def test_names_tags_and_notes_can_be_changed(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await ran(api, {}, tags=["old"], name="before")
        changed = await api.http.patch(f"/v1/runs/{run_id}", json={"tags": ["new"], "notes": "look"})
        assert (changed.json()["name"], changed.json()["tags"], changed.json()["notes"]) == ("before", ["new"], "look")
        assert pointers(await api.http.patch(f"/v1/runs/{run_id}", json={"status": "failed"})) == ["/status"]
        problem(await api.http.patch("/v1/runs/run_nothing", json={"notes": ""}), 404)


async def test_what_a_run_found_at_its_end_is_shown(tmp_path: Path) -> None:
    confusion = {"part": "validation", "classes": ["a", "b"], "counts": [[3, 1], [0, 4]]}
    worst = {"part": "validation", "rows": [{"row": 17, "loss": 2.5, "truth": "a", "answer": "b"}]}
    layer = {"index": 0, "kind": "lstm", "parameters": 8, "weight_norm": 1.5, "gradient_norm": 0.5}
    layer |= {"dead_units": None, "saturated": None, "gradient_by_time": [None, 0.25, 0.5]}
    inside = {"rows": 32, "layers": [layer]}
    async with serving(tmp_path) as api:
        run_id = await ran(api, {}, {"confusion": confusion, "worst_rows": worst, "diagnostics": inside})
        found = (await api.http.get(f"/v1/runs/{run_id}/confusion")).json()
        first, second = found.pop("per_class")
        assert found == {"run": run_id, **confusion}
        assert (first["precision"], first["recall"], first["support"]) == (1.0, 0.75, 4)
        assert (second["precision"], second["recall"], second["f1"]) == (0.8, 1.0, pytest.approx(8 / 9))
        assert (await api.http.get(f"/v1/runs/{run_id}/worst-rows")).json() == {"run": run_id, **worst}
        told = {"findings": [], "layers": [layer | {"gradient_reach": None}], "rows": 32}  # an older run's, filled up
        assert (await api.http.get(f"/v1/runs/{run_id}/diagnostics")).json() == {"run": run_id, **told}
        assert (await api.http.get(f"/v1/runs/{run_id}/checkpoints")).json()["data"] == []
        waiting = (await api.submit()).json()["run_id"]
        assert "hint" in problem(await api.http.get(f"/v1/runs/{waiting}/confusion"), 404)


async def test_ten_spikes_among_many_sealed_points_are_all_in_a_chart_of_five_hundred(tmp_path: Path) -> None:
    """One in every 10,000 steps, up and down in turn, drawn from outlines; twice the same bytes."""
    n, at = 100_000, np.arange(10) * 10_000 + 9_999
    values = np.sin(np.arange(n) / 1000)
    values[at] = 50.0 * (-1.0) ** np.arange(10)
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"loss": (np.arange(n), values)})
        url = f"/v1/runs/{run_id}/metrics/series?max_points=500&reduce=minmax"
        first, second = [await api.http.get(url) for _ in range(2)]
        assert first.content == second.content
        loss = first.json()["series"]["loss"]
        assert (len(loss["steps"]) <= 500, loss["count"]) == (True, n)
        found = {step: value for step, value in zip(loss["steps"], loss["values"], strict=True) if abs(value) > 2}
        assert found == dict(zip(at.tolist(), values[at].tolist(), strict=True))
        for form in ("csv", "npz"):
            pair = [await api.http.get(f"{url}&format={form}") for _ in range(2)]
            assert pair[0].content == pair[1].content


async def test_any_runs_metrics_are_exported_for_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    async with serving(tmp_path / "data") as api:
        run_id = await ran(api, {"batch_loss": ([1, 2, 3], [0.5, 0.25, 0.125]), "val_loss": ([3], [math.inf])})
        answer = await api.http.get(f"/v1/runs/{run_id}/export?format=tensorboard")
        name = answer.headers["content-disposition"].partition('filename="')[2].rstrip('"')
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / name).write_bytes(answer.content)
        problem(await api.http.get("/v1/runs/run_x/export?format=tensorboard"), 404)
    found = accumulator.EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [(each.step, each.value) for each in found.Scalars("batch_loss")] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert [each.value for each in found.Scalars("val_loss")] == [math.inf]
