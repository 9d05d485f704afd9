"""With keys nobody comes in without one that goes so far; every operation says how far that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from api_server import Api, problem, serving
from test_api_models import SETOSA, trained

from service.api import gate, rate
from service.storage import KeyScope

pytestmark = pytest.mark.anyio
ADMIN = {
    "DELETE /v1/datasets/{dataset_id}", "DELETE /v1/jobs/{job_id}", "DELETE /v1/models/{ref}",
    "DELETE /v1/runs/{run_id}", "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{key_id}",
}  # fmt: skip
READ_BY_POST = {
    "POST /v1/completions", "POST /v1/metrics/query", "POST /v1/models/{ref}/attributions",
    "POST /v1/models/{ref}/predict", "POST /v1/models/{ref}/predictions", "POST /v1/plans", "POST /v1/runs/compare",
    "POST /v1/scores", "POST /v1/specs/import", "POST /v1/suggestions", "POST /v2/models/{model}/infer",
    "POST /v2/models/{model}/versions/{version}/infer", "POST /v2/repository/index",
}  # fmt: skip
NOBODY_NEEDS = {"GET /health/live", "GET /health/ready", "GET /v2/health/live", "GET /v2/health/ready"}


def bearer(words: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {words}"}


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(gate, "FRESH_S", 0.0)
    async with serving(tmp_path) as api:
        yield api


def key(api: Api, scope: KeyScope) -> dict[str, str]:
    return bearer(api.store.keys.create(scope, scope)[1])


async def test_every_operation_says_what_a_key_must_allow(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    told = {f"{method.upper()} {path}": each.get("x-scope")
            for path, methods in document["paths"].items() for method, each in methods.items()}  # fmt: skip
    assert {name for name, scope in told.items() if scope == "admin"} == ADMIN
    assert {name for name, scope in told.items() if scope is None} == NOBODY_NEEDS
    asked = {name for name, scope in told.items() if scope == "read"}
    assert {name for name in asked if name.startswith("POST")} == READ_BY_POST
    assert {name.partition(" ")[0] for name in asked - READ_BY_POST} == {"GET", "HEAD"}
    assert not [name for name, scope in told.items() if scope == "submit" and name.startswith(("GET", "HEAD"))]


async def test_no_way_in_is_open_without_a_key(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    key(api, "admin")
    for path, methods in document["paths"].items():
        for method in methods:
            answer = await api.http.request(method, path)
            wanted = 200 if f"{method.upper()} {path}" in NOBODY_NEEDS else 401
            assert answer.status_code == wanted, (method, path, answer.text)
    for path in ("/", "/docs", "/openapi.json", "/web/app.js"):
        assert (await api.http.get(path)).status_code == 200
    for path in ("/api/2.0/mlflow/runs/search", "/v1/nothing", "/metrics", "/web/../v1/jobs"):
        assert (await api.http.post(path)).status_code == 401


async def test_a_refusal_speaks_the_callers_language(api: Api) -> None:
    key(api, "admin")
    answer = await api.http.get("/v1/jobs", headers={"X-Request-Id": "mine"})
    assert problem(answer, 401)["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"] == "mine"
    assert problem(await api.http.get("/v1/jobs", headers=bearer("nw_guess")), 401)["code"] == "unauthorized"
    inference = await api.http.post("/v2/models/m/infer", json={})
    assert inference.status_code == 401
    assert inference.json().keys() == {"error"}
    completion = await api.http.post("/v1/completions", json={})
    assert completion.json()["error"]["code"] == "unauthorized"
    mlflow = await api.http.get("/api/2.0/mlflow/runs/get")
    assert mlflow.json()["error_code"] == "UNAUTHENTICATED"


async def test_a_scope_goes_so_far_and_no_further(api: Api) -> None:
    read, submit, admin = (key(api, scope) for scope in ("read", "submit", "admin"))
    answer = await api.http.post("/v1/plans", json={}, headers=read)
    assert answer.status_code == 422
    refused = problem(await api.http.post("/v1/jobs", json={}, headers=read), 403)
    assert refused["code"] == "forbidden"
    assert "submit" in refused["detail"]
    assert (await api.http.post("/v1/jobs", json={}, headers=submit)).status_code == 422
    for path in ("/v1/jobs/job_none", "/v1/keys/key_none"):
        assert problem(await api.http.delete(path, headers=submit), 403)
        assert problem(await api.http.delete(path, headers=admin), 404)
    assert problem(await api.http.delete("/v1/uploads/upl_none", headers=submit), 404)


async def test_the_page_s_cookie_only_looks(api: Api) -> None:
    words = key(api, "admin")["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"theme=dark; {gate.COOKIE}={words}"}
    assert (await api.http.get("/v1/jobs", headers=cookie)).status_code == 200
    assert (await api.http.post("/v1/plans", json={}, headers=cookie)).status_code == 401
    assert (await api.http.delete("/v1/jobs/job_none", headers=cookie)).status_code == 401


async def test_keys_are_made_listed_and_revoked_over_http(api: Api) -> None:
    first = problem(await api.http.post("/v1/keys", json={"name": "ci", "scope": "read"}), 409)
    assert "admin" in first["detail"]
    made = await api.http.post("/v1/keys", json={"name": "me", "scope": "admin"})
    assert made.status_code == 201
    admin = bearer(made.json()["key"])
    past = {"name": "late", "scope": "read", "expires_at": "2020-01-01T00:00:00Z"}
    assert (
        problem(await api.http.post("/v1/keys", json=past, headers=admin), 422)["errors"][0]["pointer"] == "/expires_at"
    )
    other = (await api.http.post("/v1/keys", json={"name": "ci", "scope": "read"}, headers=admin)).json()
    assert (await api.http.get("/v1/jobs", headers=bearer(other["key"]))).status_code == 200
    gone = await api.http.delete(f"/v1/keys/{other['id']}", headers=admin)
    assert gone.json()["revoked_at"] is not None
    assert problem(await api.http.get("/v1/jobs", headers=bearer(other["key"])), 401)
    listed = (await api.http.get("/v1/keys", headers=admin)).json()["data"]
    assert [each["name"] for each in listed] == ["me", "ci"]
    assert not [each for each in listed if "key" in each or "sha256" in each]


async def test_predictions_ahead_of_the_framework_want_a_key_too(api: Api) -> None:
    ref = await trained(api)
    body: dict[str, Any] = {"rows": [SETOSA]}

    async def asked(headers: dict[str, str]) -> httpx.Response:
        return await api.http.post(f"/v1/models/{ref}/predict", json=body, headers=headers)

    assert (await asked({})).status_code == 200
    read = key(api, "read")
    assert problem(await asked({}), 401)
    assert (await asked(read)).status_code == 200


async def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(rate, "monotonic_s", lambda: now_s[0])
    async with serving(tmp_path, requests_per_s=2.0) as api:
        first, second = key(api, "read"), key(api, "read")
        monkeypatch.setattr(gate, "FRESH_S", 0.0)
        statuses = [(await api.http.get("/v1/jobs", headers=first)).status_code for _ in range(4)]
        assert statuses == [200] * 4
        refused = await api.http.get("/v1/jobs", headers=first)
        assert problem(refused, 429)["code"] == "rate_exceeded"
        assert refused.headers["retry-after"] == "1"
        assert (await api.http.get("/v1/jobs", headers=second)).status_code == 200
        assert (await api.http.get("/health/live")).status_code == 200
        now_s[0] = 0.5
        assert [(await api.http.get("/v1/jobs", headers=first)).status_code for _ in range(2)] == [200, 429]


async def test_a_stream_ends_when_the_key_that_opened_it_is_revoked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STREAM_S", 0.01)
    streams = {"accept": "text/event-stream"}
    mine, words = api.store.keys.create("mine", "read")
    theirs = key(api, "read")
    async with anyio.create_task_group() as group:
        heard = list[httpx.Response]()

        async def listen(shown: dict[str, str]) -> None:
            heard.append(await api.http.get("/v1/events", headers=streams | shown))

        group.start_soon(listen, bearer(words))
        group.start_soon(listen, theirs)
        with anyio.fail_after(30):
            while len(api.app.state.context.watch) < 2:
                await anyio.sleep(0.01)
            api.store.keys.revoke(mine.id)
            while not heard:
                await anyio.sleep(0.01)
            assert (heard[0].status_code, len(heard), len(api.app.state.context.watch)) == (200, 1, 1)
        group.cancel_scope.cancel()
    problem(await api.http.get("/v1/events", headers=streams | bearer(words)), 401)
