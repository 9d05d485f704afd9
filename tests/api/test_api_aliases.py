"""An alias that moves for the better only: one figure of each version, on the same stored rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_server import Api, pointers, problem, serving
from test_api_models import counted, executed, trained

pytestmark = pytest.mark.anyio
LIVE = "/v1/models/flowers/aliases/live"
IRIS = {"dataset": {"sample": "iris"}}


async def two_versions(api: Api) -> None:
    """flowers:1 has learned little, flowers:2 more; live points at the first."""
    for rate in (0.0001, 0.05):
        run_id = await trained(api, optimizer={"kind": "adam", "learning_rate": rate})
        await api.http.post("/v1/models/flowers/versions", json={"run": run_id})
    await api.http.put(LIVE, json={"version": 1})


async def test_it_moves_to_the_better_and_not_back_and_tells_both_figures(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await two_versions(api)
        answer = await api.http.put(LIVE, json={"version": 2, "if_better": IRIS})
        assert answer.status_code == 200, answer.text
        figures = answer.json()["compared"]
        assert figures["metric"] == "accuracy"
        assert figures["new"] > figures["old"]
        worse = problem(await api.http.put(LIVE, json={"version": 1, "if_better": IRIS | {"metric": "loss"}}), 409)
        assert worse["detail"].startswith("flowers:1 is not better than flowers:2 on ds_")
        assert worse["detail"].count("loss") == 1
        old = float(worse["detail"].rpartition(" ")[2])
        evaluated = {"type": "evaluate", "spec": {"model": "flowers:2", **IRIS}}
        run = (await api.http.get(f"/v1/runs/{executed(api, await api.http.post('/v1/jobs', json=evaluated))}")).json()
        assert old == pytest.approx(run["summary"]["test_loss"]["last"], rel=1e-5)
        assert [each["version"] for each in (await api.http.get(LIVE)).json()] == [1, 2]


async def test_the_same_version_and_a_first_one_need_no_comparison(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await two_versions(api)
        same = await api.http.put(LIVE, json={"version": 1, "if_better": IRIS})
        assert (same.status_code, same.json()["compared"]) == (200, None)
        first = await api.http.put("/v1/models/flowers/aliases/next", json={"version": 1, "if_better": IRIS})
        assert (first.status_code, first.json()["compared"]) == (200, None)


async def test_an_evaluation_made_before_is_believed(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await two_versions(api)
        figures = {}
        for version in (1, 2):
            asked = {"type": "evaluate", "spec": {"model": f"flowers:{version}", **IRIS}}
            run = api.store.runs.get(executed(api, await api.http.post("/v1/jobs", json=asked)))
            figures[version] = run.summary["test_accuracy"]["last"]["value"]
        found = (await api.http.put(LIVE, json={"version": 2, "if_better": IRIS})).json()["compared"]
        assert (found["old"], found["new"]) == (figures[1], figures[2])


async def test_what_cannot_be_compared_is_told_at_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await two_versions(api)
        wrong = [
            ({"version": 2, "if_better": IRIS | {"metric": "rmse"}}, "/if_better/metric"),
            ({"version": 2, "if_better": {"dataset": {"id": "ds_none"}}}, "/if_better/dataset/id"),
            ({"version": 2, "if_better": {"dataset": {"sample": "xor"}}}, "/if_better/dataset/columns/sepal_length"),
            ({"version": None, "if_better": IRIS}, "/if_better"),
            ({"version": 2, "if_better": {}}, "/if_better/dataset"),
        ]
        for asked, pointer in wrong:
            assert pointers(await api.http.put(LIVE, json=asked))[0] == pointer
        problem(await api.http.put(LIVE, json={"version": 9, "if_better": IRIS}), 404)


async def test_texts_are_compared_by_their_perplexity(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for order in (1, 3):
            run_id = await counted(api, order=order)
            await api.http.post("/v1/models/flowers/versions", json={"run": run_id})
        await api.http.put(LIVE, json={"version": 1})
        dataset = api.store.runs.get(run_id).dataset_id
        found = await api.http.put(LIVE, json={"version": 2, "if_better": {"dataset": {"id": dataset}}})
        assert found.status_code == 200, found.text
        assert found.json()["compared"]["metric"] == "perplexity"
        assert found.json()["compared"]["new"] < found.json()["compared"]["old"]
