"""Jobs made from jobs, and submits that are sent again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, pointers, problem, serving, train_spec

from service import clock
from service.storage import Checkpoint, Job, Owner, Report

pytestmark = pytest.mark.anyio


async def trained(api: Api, *steps: int) -> Job:
    """A job that has ended, with states published at these steps."""
    job_id = (await api.submit()).json()["id"]
    attempt = api.store.runs.claim(Owner(os.getpid(), "", clock.boot_id()), 60)
    assert attempt is not None
    for step in steps:
        blob = api.store.blobs.put({"step": np.array(step)}, {})
        state = Checkpoint(attempt.run_id, step, "state", blob.sha256, blob.bytes, "0" * 64, 1, clock.now())
        api.store.runs.report(attempt, Report(checkpoints=(state,)))
    api.store.runs.finish(attempt, "succeeded", weights_sha256="0" * 64)
    return api.store.jobs.get(job_id)


async def again(api: Api, job: Job, how: str, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await api.http.post(f"/v1/jobs/{job.id}/{how}", json=body, headers=headers)


async def test_a_fork_is_a_new_job_from_a_checkpoint_with_a_patched_spec(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = await trained(api, 5, 10)
        patch = {"training": {"epochs": 7, "max_seconds": 60}, "optimizer": {"learning_rate": 0.5}}
        answer = await again(api, job, "fork", spec=patch, step=5, name="longer", tags=["x"], priority=3)
        assert answer.status_code == 202
        made = api.store.jobs.get(answer.json()["id"])
        assert answer.headers["location"] == f"/v1/jobs/{made.id}"
        assert (made.name, made.tags, made.priority, made.status) == ("longer", ("x",), 3, "queued")
        assert made.spec["go_on_from"]["run"] == job.run_ids[0]
        assert made.spec["go_on_from"]["step"] == 5
        assert api.store.blobs.verify(made.spec["go_on_from"]["blob"])
        assert made.spec["training"]["epochs"] == 7
        assert made.spec["training"]["batch_size"] == 16, "what the patch does not name stays"
        assert made.spec["optimizer"]["learning_rate"] == 0.5
        assert len(api.woken) == 2


async def test_without_a_step_the_newest_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await again(api, await trained(api, 5, 10), "fork", spec={"training": {"epochs": 7}})
        assert answer.json()["spec"]["go_on_from"]["step"] == 10


async def test_a_fork_that_cannot_be_is_refused_where_it_was_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = await trained(api, 5)
        assert pointers(await again(api, job, "fork", step=6)) == ["/step"]
        assert pointers(await again(api, job, "fork", spec={"training": {"batch_size": 8}})) == [
            "/spec/training/batch_size"
        ]
        assert pointers(await again(api, job, "fork", spec={"training": {"epoch": 8}})) == ["/spec/training/epoch"]
        assert pointers(await again(api, job, "fork", stpe=6)) == ["/stpe"]
        problem(await api.http.post("/v1/jobs/job_nobody/fork", json={}), 404)
        assert len(api.store.jobs.list().data) == 1


async def test_a_job_is_verified_whole_or_from_a_checkpoint_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = await trained(api, 5)
        whole = await api.http.post(f"/v1/jobs/{job.id}/verify")
        assert whole.status_code == 202
        spec = whole.json()["spec"]
        assert (spec["verify"], spec["go_on_from"]) == (job.run_ids[0], None)
        part = (await again(api, job, "verify", step=5)).json()["spec"]
        assert (part["verify"], part["go_on_from"]["step"]) == (job.run_ids[0], 5)
        unended = api.store.jobs.get(whole.json()["id"])
        assert problem(await again(api, unended, "verify"), 422)["detail"].endswith("the run is queued")


@pytest.mark.parametrize("how", ["fork", "verify"])
async def test_a_key_makes_one_job_of_each_address(how: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        one, two = await trained(api, 5), await trained(api, 5)
        first, same = [(await again(api, one, how, "k", step=5)).json() for _ in range(2)]
        assert first["id"] == same["id"]
        assert problem(await again(api, one, how, "k"), 422)["errors"][0]["code"] == "idempotency_mismatch"
        assert problem(await again(api, two, how, "k", step=5), 422)["errors"][0]["code"] == "idempotency_mismatch"


async def test_a_submit_sent_again_is_answered_though_the_queue_is_full_and_its_data_are_gone(tmp_path: Path) -> None:
    async with serving(tmp_path, max_queue=1) as api:
        dataset = (await api.upload("a,b\n1,2\n3,4\n5,6\n")).json()["id"]
        spec = train_spec(dataset={"id": dataset}, network={"layers": [{"kind": "dense", "units": 1}]}, loss=None)
        body = {"type": "train", "spec": spec}
        first = await api.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
        assert first.status_code == 202, first.text
        problem(await api.submit(), 429)
        api.store.blobs.delete([api.store.datasets.get(dataset).blob], grace_s=0)
        again = await api.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
