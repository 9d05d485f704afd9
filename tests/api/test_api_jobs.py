"""Jobs: checked before they are taken, answered shortly, listed, stopped, watched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, problem, serving, sse, train_spec

from service.storage import Attempt, Owner, Report

pytestmark = pytest.mark.anyio
OWNER = Owner(1, "1", "boot")


def claim(api: Api) -> Attempt:
    """What a worker does first."""
    attempt = api.store.runs.claim(OWNER, 60.0)
    assert attempt is not None
    return attempt


async def test_a_job_is_accepted_with_its_address_and_its_resolved_spec(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.submit(name="first", tags=["a", "b"])
        job = answer.json()
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        assert len(answer.content) <= 4_000
        assert api.woken == [1]
        assert (job["type"], job["name"], job["tags"], job["status"]) == ("train", "first", ["a", "b"], "queued")
        assert (job["queue_position"], job["progress"], job["error"]) == (1, 0.0, None)
        assert job["run_ids"] == [job["run_id"]]
        assert job["spec"]["dataset"]["target"] == "species"
        assert job["spec"]["optimizer"]["beta1"] == 0.9
        assert job["spec"]["spec_version"] == 1
        assert (await api.http.get(f"/v1/jobs/{job['id']}")).json() == job


async def test_a_long_spec_is_left_out_of_the_answer_to_a_submit(tmp_path: Path) -> None:
    layers = [{"kind": "dense", "units": 8, "activation": "relu"}] * 60
    spec = train_spec(network={"layers": [*layers, {"kind": "dense", "units": 3, "activation": "softmax"}]})
    async with serving(tmp_path) as api:
        answer = await api.submit(spec)
        assert len(answer.content) <= 4_000
        assert answer.json()["spec"] is None
        job = (await api.http.get(answer.headers["location"])).json()
        assert len(job["spec"]["network"]["layers"]) == 61


async def test_a_job_says_what_its_plan_warns_of_from_the_first_answer_on(tmp_path: Path) -> None:
    spec = train_spec(training={"early_stopping": {}, "batch_size": 500})
    async with serving(tmp_path) as api:
        plan = (await api.http.post("/v1/plans", json={"type": "train", "spec": spec})).json()
        job = (await api.submit(spec)).json()
        stored = (await api.http.get(f"/v1/jobs/{job['id']}")).json()
        plain = (await api.submit(train_spec())).json()
    assert ["500 is more than the" in plan["warnings"][0], "no validation part" in plan["warnings"][1]] == [True, True]
    assert job["warnings"] == stored["warnings"] == plan["warnings"]
    assert plain["warnings"] == []


async def test_a_plan_tells_shapes_and_stores_no_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.http.post("/v1/plans", json={"type": "train", "spec": train_spec()})
        plan = answer.json()
        assert answer.status_code == 200
        # iris: 4 features; 4 x 8 + 8 = 40, 8 x 3 + 3 = 27
        assert [each["parameters"] for each in plan["layers"]] == [40, 27]
        assert [each["shape_out"] for each in plan["layers"]] == [[8], [3]]
        assert plan["parameters"] == 67
        assert plan["bytes"] > 0
        assert api.store.jobs.list().data == ()


async def test_the_same_key_submits_once_and_another_body_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        body = {"type": "train", "spec": train_spec()}
        first, again = [await api.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert first.json() == again.json()
        other = await api.http.post("/v1/jobs", json=body | {"name": "x"}, headers={"Idempotency-Key": "k"})
        assert problem(other, 422)["errors"][0]["code"] == "idempotency_mismatch"
        assert len(api.store.jobs.list().data) == 1


async def test_jobs_are_listed_newest_first_in_pieces(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        made = [(await api.submit(name=f"job {i}")).json()["id"] for i in range(5)]
        await api.http.post(f"/v1/jobs/{made[0]}/cancel")
        found, after = [], ""
        while True:
            page = (await api.http.get(f"/v1/jobs?limit=2{after}")).json()
            found += [job["id"] for job in page["data"]]
            assert page["has_more"] == (page["next"] is not None)
            if not page["has_more"]:
                break
            after = f"&after={page['next']}"
        assert found == made[::-1]
        cancelled = (await api.http.get("/v1/jobs?status=cancelled")).json()["data"]
        assert [job["id"] for job in cancelled] == made[:1]
        assert (await api.http.get("/v1/jobs?name=job%203")).json()["data"][0]["id"] == made[3]


async def test_cancel_pause_and_resume_follow_the_table_of_moves(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]

        async def ask(verb: str) -> Any:
            return await api.http.post(f"/v1/jobs/{job_id}/{verb}")

        assert (await ask("pause")).json()["status"] == "paused"
        assert (await ask("resume")).json()["status"] == "queued"
        problem(await ask("resume"), 409)
        claim(api)
        assert (await ask("cancel")).json()["stop_requested"] == "cancel"
        assert (await ask("cancel")).status_code == 200
        problem(await api.http.delete(f"/v1/jobs/{job_id}"), 409)
        problem(await api.http.post("/v1/jobs/job_nothing/cancel"), 404)


async def test_an_ended_job_can_be_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]
        assert (await api.http.post(f"/v1/jobs/{job_id}/cancel")).json()["status"] == "cancelled"
        assert (await api.http.delete(f"/v1/jobs/{job_id}")).status_code == 204
        problem(await api.http.get(f"/v1/jobs/{job_id}"), 404)


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, max_queue=1) as api:
        assert (await api.submit()).status_code == 202
        refused = await api.submit(name="another")
        assert problem(refused, 429)["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) > 0


async def test_a_leaving_server_takes_no_jobs(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        api.app.state.leave()
        assert problem(await api.submit(), 503)["code"] == "draining"
        assert problem(await api.http.get("/health/ready"), 503)
        assert (await api.http.get("/health/live")).status_code == 200


# --- events


async def test_events_come_as_pages_that_go_on_where_the_last_ended(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]
        attempt = claim(api)
        api.store.runs.report(attempt, Report(events=tuple(("epoch", {"epoch": i}) for i in range(3))))
        url = f"/v1/jobs/{job_id}/events"
        first = (await api.http.get(f"{url}?limit=3")).json()
        assert [each["kind"] for each in first["data"]] == ["queued", "started", "epoch"]
        assert first["has_more"]
        rest = (await api.http.get(f"{url}?after={first['next']}")).json()
        assert [each["data"].get("epoch") for each in rest["data"]] == [1, 2]
        assert not rest["has_more"]
        nothing = (await api.http.get(f"{url}?after={rest['next']}")).json()
        assert nothing == {"data": [], "has_more": False, "next": rest["next"]}


async def test_a_page_may_wait_for_the_next_event(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]
        last = (await api.http.get(f"/v1/jobs/{job_id}/events")).json()["next"]
        waiting = asyncio.create_task(api.http.get(f"/v1/jobs/{job_id}/events?after={last}&wait=30"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        claim(api)
        page = (await asyncio.wait_for(waiting, 20)).json()
        assert [each["kind"] for each in page["data"]] == ["started"]


async def test_a_stream_tells_everything_once_and_ends_with_the_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]
        headers = {"Accept": "text/event-stream"}
        watching = asyncio.create_task(api.http.get(f"/v1/jobs/{job_id}/events", headers=headers))
        await asyncio.sleep(0.05)
        attempt = claim(api)
        for epoch in range(3):
            api.store.runs.report(attempt, Report(events=(("epoch", {"epoch": epoch}),), progress=epoch / 3))
            await asyncio.sleep(0.03)
        api.store.runs.finish(attempt, "succeeded", stopped_by="epochs")
        answer = await asyncio.wait_for(watching, 20)
        assert answer.headers["content-type"].startswith("text/event-stream")
        frames = sse(answer)
        events = [each for each in frames if each[0] is not None]
        assert [each[1] for each in events] == ["queued", "started", "epoch", "epoch", "epoch", "finished"]
        assert [int(each[0] or 0) for each in events] == [each[2]["id"] for each in events]
        assert frames[-1][1:] == ("end", {"kind": "end", "job_id": job_id, "data": {"status": "succeeded"}})
        progress = [each[2]["data"]["progress"] for each in frames if each[1] == "progress"]
        assert progress[-1] == 1.0
        again = await api.http.get(f"/v1/jobs/{job_id}/events", headers=headers | {"Last-Event-ID": events[3][0] or ""})
        assert [each[1] for each in sse(again) if each[0]] == ["epoch", "finished"]


async def test_a_stream_ends_at_once_when_the_server_leaves(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_id = (await api.submit()).json()["id"]
        headers = {"Accept": "text/event-stream"}
        watching = asyncio.create_task(api.http.get(f"/v1/jobs/{job_id}/events", headers=headers))
        waiting = asyncio.create_task(api.http.get(f"/v1/jobs/{job_id}/events?after=1000000&wait=30"))
        await asyncio.sleep(0.05)
        api.app.state.leave()
        answer = await asyncio.wait_for(watching, 20)
        assert [each[1] for each in sse(answer)] == ["queued", "progress"]
        assert (await asyncio.wait_for(waiting, 20)).json()["data"] == []


async def test_events_of_nothing_are_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        problem(await api.http.get("/v1/jobs/job_x/events"), 404)
        job_id = (await api.submit()).json()["id"]
        headers = {"Accept": "text/event-stream", "Last-Event-ID": "soon"}
        problem(await api.http.get(f"/v1/jobs/{job_id}/events", headers=headers), 422)
