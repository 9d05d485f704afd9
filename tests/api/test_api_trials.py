"""A search over HTTP: one job, a run for each trial, and what they came to."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, problem, serving, train_spec

from service import clock
from service.storage import Owner, Report

pytestmark = pytest.mark.anyio


async def submitted(api: Api, **spec: Any) -> dict[str, Any]:
    answer = await api.http.post("/v1/jobs", json={"type": "search", "spec": {"train": train_spec()} | spec})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def trained(api: Api, *losses: float, best_step: int, status: Any = "succeeded") -> None:
    """The next run in the queue, with the loss of each of its epochs."""
    attempt = api.store.runs.claim(Owner(os.getpid(), "", clock.boot_id()), 60)
    assert attempt is not None
    steps = np.arange(1, len(losses) + 1)
    api.store.runs.report(attempt, Report(series={"val_loss": (steps, np.array(losses))}))
    api.store.runs.finish(attempt, status, report={"best_step": best_step})


async def test_scores_of_the_kept_weights_are_averaged_over_the_folds(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = await submitted(api, folds=3)
        assert (job["run_id"], len(job["run_ids"])) == (None, 3)
        empty = (await api.http.get(f"/v1/jobs/{job['id']}/trials")).json()
        assert (empty["best"], empty["candidates"][0]["metrics"]) == (None, {})
        trained(api, 0.9, 0.5, 0.7, best_step=2)
        trained(api, 0.4, 0.6, best_step=1)
        trained(api, 0.8, 0.9, float("nan"), best_step=1)
        found = (await api.http.get(f"/v1/jobs/{job['id']}/trials")).json()
    assert (found["status"], found["direction"], found["best"]) == ("succeeded", "min", 0)
    (candidate,) = found["candidates"]
    assert [(trial["fold"], trial["scores"]["val_loss"]) for trial in candidate["trials"]] == [
        (0, 0.5),
        (1, 0.4),
        (2, 0.8),
    ]
    spread = candidate["metrics"]["val_loss"]
    assert (spread["n"], spread["min"], spread["max"]) == (3, 0.4, 0.8)
    assert spread["mean"] == pytest.approx((0.5 + 0.4 + 0.8) / 3)
    assert spread["std"] == pytest.approx(statistics.stdev([0.5, 0.4, 0.8]))


async def test_the_best_candidate_is_one_all_of_whose_trials_succeeded(tmp_path: Path) -> None:
    fields = {"kind": "grid", "fields": {"optimizer.learning_rate": [0.1, 0.2, 0.3]}}
    async with serving(tmp_path) as api:
        job = await submitted(api, folds=2, candidates=fields)
        for loss, status in ((0.5, "succeeded"), (0.7, "succeeded"), (0.1, "succeeded"), (0.1, "failed"),
                             (0.4, "succeeded"), (0.6, "succeeded")):  # fmt: skip
            trained(api, loss, best_step=1, status=status)
        found = (await api.http.get(f"/v1/jobs/{job['id']}/trials")).json()
    assert found["best"] == 2
    assert [each["values"] for each in found["candidates"]] == [
        {"optimizer.learning_rate": rate} for rate in (0.1, 0.2, 0.3)
    ]
    assert [each["metrics"]["val_loss"]["n"] for each in found["candidates"]] == [2, 1, 2]
    assert found["candidates"][1]["metrics"]["val_loss"]["std"] is None


async def test_a_plan_of_a_search_counts_all_its_trainings(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        spec = train_spec(training={"epochs": 200, "batch_size": 1})
        one = (await api.http.post("/v1/plans", json={"type": "train", "spec": spec})).json()
        search = {"type": "search", "spec": {"train": spec, "folds": 5}}
        plan = (await api.http.post("/v1/plans", json=search)).json()
        assert plan["parameters"] == one["parameters"]
        assert plan["estimated_seconds"] > 3 * one["estimated_seconds"]
        assert "5 trainings" in plan["warnings"]
        assert api.store.jobs.list().data == ()


async def test_other_jobs_have_no_trials_and_a_search_has_no_one_run_to_repeat(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = (await api.submit()).json()
        problem(await api.http.get(f"/v1/jobs/{job['id']}/trials"), 404)
        problem(await api.http.get("/v1/jobs/job_nobody/trials"), 404)
        search = await submitted(api, folds=2)
        problem(await api.http.post(f"/v1/jobs/{search['id']}/fork", json={}), 409)
        problem(await api.http.post(f"/v1/jobs/{search['id']}/verify"), 409)
        listed = (await api.http.get("/v1/runs", params={"job": search["id"]})).json()["data"]
        assert [run["id"] for run in listed] == search["run_ids"][::-1]
