"""Runs and their metrics: filtered, sorted, summarised, plotted; what is not finite is told as such."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, pointers, problem, serving
from test_api_jobs import claim

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
        assert pointers(await api.http.get("/v1/runs?sort=worst.loss")) == ["/sort"]


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
        assert pointers(refused) == ["/filter", "/filter"]
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


async def test_every_spike_survives_minmax_and_the_same_question_gives_the_same_bytes(tmp_path: Path) -> None:
    values = np.sin(np.arange(6_000) / 50)
    spikes = [17, 500, 501, 1999, 2500, 3333, 4000, 4444, 5000, 5998]
    values[spikes] = 9.0
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"loss": (range(6_000), values)})
        url = f"/v1/runs/{run_id}/metrics/series?names=loss&max_points=500"
        first, again = await api.http.get(url), await api.http.get(url)
        assert first.content == again.content
        loss = first.json()["series"]["loss"]
        assert len(loss["steps"]) <= 500
        assert loss["count"] == 6_000
        assert {step for step, value in zip(loss["steps"], loss["values"], strict=True) if value == 9.0} >= {
            17,
            1999,
            5998,
        }


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
    async with serving(tmp_path) as api:
        run_id = await ran(api, {}, {"confusion": confusion, "worst_rows": worst})
        found = (await api.http.get(f"/v1/runs/{run_id}/confusion")).json()
        first, second = found.pop("per_class")
        assert found == {"run": run_id, **confusion}
        assert (first["precision"], first["recall"], first["support"]) == (1.0, 0.75, 4)
        assert (second["precision"], second["recall"], second["f1"]) == (0.8, 1.0, pytest.approx(8 / 9))
        assert (await api.http.get(f"/v1/runs/{run_id}/worst-rows")).json() == {"run": run_id, **worst}
        assert (await api.http.get(f"/v1/runs/{run_id}/checkpoints")).json()["data"] == []
        waiting = (await api.submit()).json()["run_id"]
        assert "hint" in problem(await api.http.get(f"/v1/runs/{waiting}/confusion"), 404)
