"""MLflow's REST API over our runs: its shapes, its words for failures, and what is written through it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import Api, serving
from test_api_runs import ran

pytestmark = pytest.mark.anyio
ROOT = "/api/2.0/mlflow"


async def post(api: Api, path: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(f"{ROOT}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def get(api: Api, path: str, **params: Any) -> dict[str, Any]:
    answer = await api.http.get(f"{ROOT}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    words: str = answer.json()["message"]
    return words


async def test_a_run_of_ours_is_read_in_mlflows_shape(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await ran(api, {"val_loss": ([1, 2], [0.5, math.nan])}, tags=["demo", "team=x"], name="mine")
        run = (await get(api, "runs/get", run_id=run_id))["run"]
        info, data = run["info"], run["data"]
        assert (info["run_id"], info["run_name"], info["status"]) == (run_id, "mine", "FINISHED")
        assert (info["experiment_id"], info["lifecycle_stage"]) == ("0", "active")
        assert info["start_time"] <= info["end_time"]
        (metric,) = data["metrics"]
        assert (metric["key"], metric["value"], metric["step"]) == ("val_loss", "NaN", 2)
        assert metric["timestamp"] > 1_600_000_000_000
        params = {each["key"]: each["value"] for each in data["params"]}
        assert (params["optimizer"], params["optimizer.learning_rate"]) == ("adam", "0.01")
        tags = {each["key"]: each["value"] for each in data["tags"]}
        assert tags == {"demo": "", "team": "x", "mlflow.runName": "mine"}
        history = await get(api, "metrics/get-history", run_id=run_id, metric_key="val_loss")
        assert [(point["step"], point["value"]) for point in history["metrics"]] == [(1, 0.5), (2, "NaN")]


@pytest.mark.parametrize("name", ["loss", 'a "quoted" 100 % näme, {b}'])
async def test_a_history_says_of_each_point_what_the_store_has(name: str, tmp_path: Path) -> None:
    values = [0.1, math.nan, -math.inf, 5e-324, 1e300, math.inf, -0.0, 12345678.9]
    async with serving(tmp_path) as api:
        run = api.store.runs.create_external()
        api.store.metrics.append(run.id, {name: (range(8), values, range(1_000, 1_008))})
        found = await get(api, "metrics/get-history", run_id=run.id, metric_key=name, max_results=8)
    odd = {1: "NaN", 2: "-Infinity", 5: "Infinity"}
    points = [
        {"key": name, "value": odd.get(step, value), "timestamp": 1_000 + step, "step": step}
        for step, value in enumerate(values)
    ]
    assert found == {"metrics": points}


async def test_history_comes_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = api.store.runs.create_external().id
        api.store.metrics.append(run_id, {"loss": (range(0, 100, 2), [1.0] * 50)})
        steps: list[int] = []
        token = ""
        while True:
            page = await get(
                api, "metrics/get-history", run_id=run_id, metric_key="loss", max_results=20, page_token=token
            )
            steps += [point["step"] for point in page["metrics"]]
            token = page.get("next_page_token", "")
            if not token:
                break
        assert steps == list(range(0, 100, 2))
        assert (await get(api, "metrics/get-history", run_id=run_id, metric_key="none")) == {"metrics": []}


async def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        experiment = (await post(api, "experiments/create", name="exp 1", tags=[{"key": "a", "value": "b"}]))[
            "experiment_id"
        ]
        tags = [{"key": "mlflow.runName", "value": "r"}, {"key": "mlflow.user", "value": "me"}]
        made = (await post(api, "runs/create", experiment_id=experiment, start_time=1_600_000_000_000, tags=tags))[
            "run"
        ]
        run_id = made["info"]["run_id"]
        assert made["info"] | {"run_name": "r", "user_id": "me", "experiment_id": experiment, "status": "RUNNING",
                               "start_time": 1_600_000_000_000} == made["info"]  # fmt: skip
        await post(api, "runs/log-metric", run_id=run_id, key="loss", value=0.5, timestamp=5, step=1)
        batch = [{"key": "loss", "value": "NaN", "timestamp": 6, "step": 2}, {"key": "acc", "value": 1, "timestamp": 6}]
        await post(api, "runs/log-batch", run_id=run_id, metrics=batch, params=[{"key": "lr", "value": "0.1"}],
                   tags=[{"key": "mlflow.note.content", "value": "notes"}, {"key": "t", "value": "1"}])  # fmt: skip
        await post(api, "runs/log-parameter", run_id=run_id, key="depth", value="3")
        await post(api, "runs/set-tag", run_id=run_id, key="t", value="2")
        await post(api, "runs/delete-tag", run_id=run_id, key="mlflow.user")
        run = api.store.runs.get(run_id)
        assert (run.spec, run.notes, run.name) == ({"lr": "0.1", "depth": "3"}, "notes", "r")
        assert set(run.tags) == {"experiment=exp 1", "t=2"}
        assert (run.summary["loss"]["n"], run.summary["loss"]["nonfinite"], run.summary["acc"]["n"]) == (2, 1, 1)
        info = (await post(api, "runs/update", run_id=run_id, status="FINISHED", end_time=1_600_000_001_000))[
            "run_info"
        ]
        assert (info["status"], info["end_time"]) == ("FINISHED", 1_600_000_001_000)
        metric = {"run_id": run_id, "key": "loss", "value": 1.0, "timestamp": 1, "step": 3}
        refused(await api.http.post(f"{ROOT}/runs/log-metric", json=metric), 409, "INVALID_STATE")
        assert (await post(api, "runs/update", run_id=run_id, status="RUNNING"))["run_info"]["status"] == "RUNNING"
        await post(api, "runs/log-metric", **metric)


async def test_a_run_created_again_under_its_key_is_the_same_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        asked: dict[str, Any] = {"json": {"run_name": "r"}, "headers": {"Idempotency-Key": "k"}}
        first, again = [(await api.http.post(f"{ROOT}/runs/create", **asked)).json() for _ in range(2)]
        assert first["run"]["info"]["run_id"] == again["run"]["info"]["run_id"]
        assert len(api.store.runs.list().data) == 1


async def test_runs_are_searched_by_experiment_filter_stage_and_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        made = {}
        for place, (name, tags, loss) in enumerate((("a", ["experiment=e"], 3.0), ("b", [], 1.0), ("c", [], 2.0))):
            made[name] = api.store.runs.create_external(name=name, tags=tags, spec={"place": place}).id
            api.store.metrics.append(made[name], {"loss": ([1], [loss])})

        async def names(ids: list[str], **more: Any) -> str:
            found = await post(api, "runs/search", experiment_ids=ids, **more)
            return "".join(run["info"]["run_name"] for run in found["runs"])

        assert await names(["0"]) == "cb"
        assert await names(["e"]) == "a"
        assert await names(["0", "e"], order_by=["metrics.loss ASC"]) == "bca"
        assert await names(["0", "e"], order_by=["params.place DESC", "attributes.start_time DESC"]) == "cba"
        assert await names(["0", "e"], order_by=["attributes.`Run name`"]) == "abc"
        assert await names(["0", "e"], filter="metrics.loss > 1.5 and attributes.status = 'RUNNING'") == "ca"
        assert await names([]) == ""
        page = await post(api, "runs/search", experiment_ids=["0", "e"], max_results=2)
        assert await names(["0", "e"], page_token=page["next_page_token"]) == "a"
        await post(api, "runs/delete", run_id=made["b"])
        assert await names(["0"]) == "c"
        assert await names(["0"], run_view_type="DELETED_ONLY") == "b"
        assert await names(["0"], run_view_type="ALL") == "cb"
        assert (await get(api, "runs/get", run_id=made["b"]))["run"]["info"]["lifecycle_stage"] == "deleted"
        await post(api, "runs/restore", run_id=made["b"])
        assert await names(["0"]) == "cb"
        for order in (["tags.x"], ["metrics.loss", "metrics.acc"], ["loss up"]):
            body = {"experiment_ids": ["0"], "order_by": order}
            refused(await api.http.post(f"{ROOT}/runs/search", json=body), 422, "INVALID_PARAMETER_VALUE")


async def test_experiments_are_those_made_and_those_that_runs_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        api.store.runs.create_external(tags=["experiment=by tag"])
        await post(api, "experiments/create", name="made", tags=[{"key": "k", "value": "v"}])

        async def names(**asked: Any) -> list[str]:
            return [each["name"] for each in (await post(api, "experiments/search", **asked))["experiments"]]

        assert await names() == ["Default", "by tag", "made"]
        assert await names(filter="name LIKE 'm%'") == await names(filter="tags.k = 'v'") == ["made"]
        assert await names(filter="attribute.name != 'made'", order_by=["name DESC"]) == ["by tag", "Default"]
        assert await names(order_by=["attributes.creation_time DESC", "name DESC"]) == ["made", "by tag", "Default"]
        for wrong in ({"order_by": ["color"]}, {"page_token": "x"}):
            answer = await api.http.post(f"{ROOT}/experiments/search", json=wrong)
            refused(answer, 422, "INVALID_PARAMETER_VALUE")
        page = await post(api, "experiments/search", max_results=2)
        assert await names(page_token=page["next_page_token"]) == ["made"]
        assert (await get(api, "experiments/get", experiment_id="0"))["experiment"]["name"] == "Default"
        await post(api, "experiments/set-experiment-tag", experiment_id="by tag", key="x", value="y")
        found = (await get(api, "experiments/get-by-name", experiment_name="by tag"))["experiment"]
        assert (found["experiment_id"], found["tags"]) == ("by tag", [{"key": "x", "value": "y"}])
        answer = await api.http.post(f"{ROOT}/experiments/create", json={"name": "made"})
        refused(answer, 409, "RESOURCE_ALREADY_EXISTS")
        for name in ("", "a\nb", "0"):
            answer = await api.http.post(f"{ROOT}/experiments/create", json={"name": name})
            refused(answer, 422, "INVALID_PARAMETER_VALUE")


async def test_failures_are_told_in_mlflows_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job_run = (await api.submit()).json()["run_id"]
        http = api.http
        refused(await http.get(f"{ROOT}/runs/get?run_id=run_none"), 404, "RESOURCE_DOES_NOT_EXIST")
        refused(await http.get(f"{ROOT}/experiments/get?experiment_id=none"), 404, "RESOURCE_DOES_NOT_EXIST")
        refused(await http.get(f"{ROOT}/experiments/get"), 422, "INVALID_PARAMETER_VALUE")
        refused(await http.get(f"{ROOT}/registered-models/get"), 404, "ENDPOINT_NOT_FOUND")
        refused(await http.get("/api/2.0/mlflow-artifacts/artifacts"), 404, "ENDPOINT_NOT_FOUND")
        body: dict[str, Any] = {"experiment_ids": ["0"], "filter": "metric.loss >> 1"}
        said = refused(await http.post(f"{ROOT}/runs/search", json=body), 422, "INVALID_PARAMETER_VALUE")
        assert "at character 14" in said
        for run_id, step, status, code in (
            (job_run, 1, 409, "INVALID_STATE"), ("run_none", 1, 404, "RESOURCE_DOES_NOT_EXIST"),
            (job_run, -1, 422, "INVALID_PARAMETER_VALUE"),
        ):  # fmt: skip
            body = {"run_id": run_id, "key": "a", "value": 1.0, "timestamp": 1, "step": step}
            refused(await http.post(f"{ROOT}/runs/log-metric", json=body), status, code)
        run_id = (await post(api, "runs/create"))["run"]["info"]["run_id"]
        body = {"run_id": run_id, "key": "a\nb", "value": 1.0, "timestamp": 1, "step": 1}
        said = refused(await http.post(f"{ROOT}/runs/log-metric", json=body), 422, "INVALID_PARAMETER_VALUE")
        assert said == "/key: the metric's name 'a\\nb' holds control characters"
        await post(api, "runs/log-parameter", run_id=run_id, key="lr", value="1")
        body = {"run_id": run_id, "params": [{"key": "p", "value": "1"}, {"key": "p", "value": "2"}],
                "metrics": [{"key": "a", "value": 1.0, "timestamp": 1}]}  # fmt: skip
        refused(await http.post(f"{ROOT}/runs/log-batch", json=body), 422, "INVALID_PARAMETER_VALUE")
        assert (await get(api, "runs/get", run_id=run_id))["run"]["data"].get("metrics", []) == []
        refused(await http.post(f"{ROOT}/runs/log-batch", json={}), 422, "INVALID_PARAMETER_VALUE")
        history = {"run_id": run_id, "metric_key": "a", "page_token": "x"}
        refused(await http.get(f"{ROOT}/metrics/get-history", params=history), 422, "INVALID_PARAMETER_VALUE")
        body = {"run_id": run_id, "key": "lr", "value": "2"}
        refused(await http.post(f"{ROOT}/runs/log-parameter", json=body), 422, "INVALID_PARAMETER_VALUE")
        body = {"run_id": run_id, "status": "NOPE"}
        refused(await http.post(f"{ROOT}/runs/update", json=body), 422, "INVALID_PARAMETER_VALUE")
        body = {"run_id": job_run, "status": "FINISHED"}
        refused(await http.post(f"{ROOT}/runs/update", json=body), 409, "INVALID_STATE")
