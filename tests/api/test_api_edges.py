"""HTTP at its edges: HEAD, packed bodies, parameters that nobody knows, conditions that hold for anything."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from api_server import Api, pointers, problem, serving
from test_api_models import executed, trained

from service.api.parameters import lenient

pytestmark = pytest.mark.anyio
ROWS = b'{"rows":[[5.1,3.5,1.4,0.2]]}'
JSON = {"Content-Type": "application/json"}
CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row % 7) for row in range(2_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress,
}  # fmt: skip


async def flowers(api: Api) -> str:
    """A run whose model has the name flowers, which the alias live points at."""
    run_id = await trained(api)
    await api.http.post("/v1/models/flowers/versions", json={"run": run_id})
    await api.http.put("/v1/models/flowers/aliases/live", json={"version": 1})
    return run_id


# --- HEAD


async def test_head_is_get_without_its_body_wherever_get_is_offered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await flowers(api)
        job_id = api.store.runs.get(run_id).job_id
        dataset_id = api.store.runs.get(run_id).dataset_id
        real = {"job_id": job_id, "run_id": run_id, "dataset_id": dataset_id, "name": "flowers", "alias": "live"}
        real |= {"ref": "flowers", "model": "flowers", "version": "1"}
        found = 0
        paths = [path for path, verbs in api.app.openapi()["paths"].items() if "get" in verbs and "head" not in verbs]
        for path in [*paths, "/", "/docs", "/web/app.js", "/openapi.json", "/nothing"]:
            url = path.format(**dict.fromkeys(("upload_id", "key_id"), "x"), **real)
            url += "?format=safetensors" if url.endswith("/export") else ""
            get, head = await api.http.get(url), await api.http.head(url)
            assert (head.status_code, head.content) == (get.status_code, b""), url
            assert head.headers["content-type"] == get.headers["content-type"]
            if path not in ("/metrics", "/v1/system"):
                assert head.headers.get("content-length") == get.headers.get("content-length"), url
            found += get.status_code == 200
        assert found > 25


async def test_head_of_a_stream_ends_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        job = (await api.submit()).json()
        answer = await api.http.head(f"/v1/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_an_address_names_all_its_methods(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for method, path, allow in (
            ("PUT", "/v1/jobs", "GET, HEAD, POST"),
            ("HEAD", "/v1/plans", "POST"),
            ("POST", "/v1/uploads/up_1", "DELETE, GET, HEAD, PATCH"),
            ("GET", "/api/2.0/mlflow/runs/create", "POST"),
            ("POST", "/api/2.0/mlflow/metrics/get-history", "GET, HEAD"),
        ):
            answer = await api.http.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allow)


# --- If-Match


async def test_if_match_of_a_star_holds_for_an_alias_that_points_somewhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await flowers(api)
        url, any_ = "/v1/models/flowers/aliases/", {"If-Match": "*"}
        assert (await api.http.put(url + "live", json={"version": 1}, headers=any_)).status_code == 200
        told = problem(await api.http.put(url + "next", json={"version": 1}, headers=any_), 412)
        assert "nowhere" in told["detail"]
        gone = await api.http.put(url + "live", json={"version": None}, headers=any_)
        assert gone.status_code == 200
        problem(await api.http.post(url + "live/rollback", headers=any_), 412)
        seen = {"If-Match": f'"0", {gone.headers["etag"]}'}
        assert (await api.http.put(url + "live", json={"version": 1}, headers=seen)).status_code == 200
        problem(await api.http.put(url + "live", json={"version": 1}, headers=seen), 412)


# --- packed bodies


async def test_a_packed_body_is_read_as_what_it_holds(tmp_path: Path) -> None:
    file = b'{"sepal_length":5,"sepal_width":3,"petal_length":1,"petal_width":0}\n' * 50
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        plain = await api.http.post("/v1/datasets", content=CSV, headers={"Content-Type": "text/csv"})
        for name, pack in PACKERS.items():
            coded = {"Content-Encoding": name}
            packed = await api.http.post(url, content=pack(ROWS), headers=JSON | coded)
            assert packed.json() == (await api.http.post(url, content=ROWS, headers=JSON)).json()
            kind = {"Content-Type": "application/x-ndjson"}
            assert (await api.http.post(url, content=pack(file), headers=kind | coded)).text.count("\n") == 50
            kind = {"Content-Type": "text/csv"}
            again = await api.http.post("/v1/datasets", content=pack(CSV), headers=kind | coded)
            assert (again.status_code, again.json()["id"]) == (200, plain.json()["id"])


async def test_a_piece_of_a_file_may_be_packed_and_members_may_follow_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        asked = {"name": "a.csv", "bytes": len(CSV)}
        url = (await api.http.post("/v1/uploads", json=asked)).headers["location"]
        packed = gzip.compress(CSV[:5_000]) + gzip.compress(CSV[5_000:])
        headers = {"Upload-Offset": "0", "Content-Encoding": "gzip"}
        answer = await api.http.patch(url, content=_dripping(packed), headers=headers)
        assert answer.headers["upload-offset"] == str(len(CSV))
        assert (await api.http.post(url + "/finish")).json()["rows"] == 2_000


async def _dripping(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100):
        yield body[at : at + 100]


async def test_what_a_packed_body_holds_is_limited_as_plain_bodies_are(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    async with serving(tmp_path, max_body_bytes=100_000, max_upload_bytes=5_000_000) as api:
        for url, kind, setting in (
            ("/v1/jobs", "application/json", "NETWRIGHT_MAX_BODY_BYTES"),
            ("/v1/datasets", "text/csv", "NETWRIGHT_MAX_UPLOAD_BYTES"),
        ):
            headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
            tracemalloc.start()
            answer = await api.http.post(url, content=bomb, headers=headers)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            refused = problem(answer, 413)
            assert refused["code"] == "too_large"
            assert setting in refused["hint"]
            assert peak < 12_000_000, "never all that it would become"
        empty = b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * 40_000  # blocks that hold nothing
        answer = await api.http.post("/v1/jobs", content=_whole(empty), headers=JSON | {"Content-Encoding": "deflate"})
        assert problem(answer, 413)["code"] == "too_large"
        assert api.store.datasets.list().data == ()
        assert list((tmp_path / "tmp").iterdir()) == []


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


@pytest.mark.parametrize(  # the moment that gzip writes into its head must not be in a test's name
    "body",
    [b"plain", gzip.compress(ROWS)[:-9], gzip.compress(ROWS) + b"more", b"\x1f\x8b"],
    ids=["plain", "cut", "longer", "head only"],
)
async def test_a_damaged_packed_body_is_told(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path) as api:
        answer = await api.http.post("/v1/jobs", content=body, headers=JSON | {"Content-Encoding": "gzip"})
        assert problem(answer, 400)["code"] == "invalid_content_encoding"


async def test_a_coding_that_is_not_read_is_told_with_those_that_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.http.post("/v1/jobs", content=ROWS, headers=JSON | {"Content-Encoding": "br"})
        assert problem(answer, 415)["code"] == "unsupported_content_encoding"
        assert answer.headers["accept-encoding"] == "gzip, deflate"
        media = await api.http.post("/v1/jobs", content=ROWS, headers={"Content-Type": "text/plain"})
        assert (media.status_code, media.headers.get("accept-encoding")) == (415, None)
        nothing = await api.http.post("/v1/completions", content=b"", headers=JSON | {"Content-Encoding": "gzip"})
        assert problem(nothing, 400)["code"] == "invalid_json"


# --- parameters


async def test_every_documented_address_refuses_a_parameter_that_it_does_not_know(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await flowers(api)
        checked = 0
        for path, verbs in api.app.openapi()["paths"].items():
            for verb in verbs:
                url = path.format(**dict.fromkeys(NAMES, "flowers")) + "?max_pionts=5&format=npz"
                answer = await api.http.request(verb, url, headers={"Upload-Offset": "0"}, json=json.loads(ROWS))
                if lenient(path):
                    assert "max_pionts" not in answer.text
                elif verb != "head":
                    assert "/query/max_pionts" in pointers(answer), (verb, path)
                    checked += 1
        assert checked > 50


NAMES = ("dataset_id", "job_id", "run_id", "upload_id", "key_id", "name", "alias", "ref", "model", "version")


async def test_a_typo_is_told_with_what_was_meant_or_that_nothing_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = executed(api, await api.submit())
        (series,) = problem(await api.http.get(f"/v1/runs/{run_id}/metrics/series?max_pionts=5"), 422)["errors"]
        assert series["hint"] == "Did you mean 'max_points'?"
        (system,) = problem(await api.http.get("/v1/system?verbose"), 422)["errors"]
        assert system["hint"] == "There are no parameters here; what a POST takes goes into its body."


async def test_the_query_of_a_prediction_is_for_bytes_and_files_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict?top_k=1&probabilities=false"
        told = problem(await api.http.post(url, content=ROWS, headers=JSON), 422)["errors"]
        assert [each["pointer"] for each in told] == ["/query/probabilities", "/query/top_k"]
        assert told[0]["hint"] == "Say it in the body."
        raw = struct.pack("<4f", 5.1, 3.5, 1.4, 0.2)
        answer = await api.http.post(url, content=raw, headers={"Content-Type": "application/octet-stream"})
        assert answer.json()["predictions"][0].keys() == {"label", "probability"}
