"""Runs of other programs: made, logged into in three ways, ended, and refused with every fault."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, pointers, problem, serving

pytestmark = pytest.mark.anyio
NPY = "application/x-npy"


async def created(api: Api, **given: Any) -> str:
    answer = await api.http.post("/v1/runs", json={"type": "external", **given})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/runs/{answer.json()['id']}"
    run_id: str = answer.json()["id"]
    return run_id


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


async def test_a_run_is_made_logged_into_read_and_ended(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api, name="mine", tags=["team=a"], notes="n", spec={"lr": 0.1})
        url = f"/v1/runs/{run_id}"
        one = {"step": 1, "metrics": {"loss": 0.5, "norm": "Infinity"}, "time": 1_700_000_000_000}
        assert (await api.http.post(f"{url}/metrics", json=one)).json() == {"run": run_id, "points": 2}
        columns = {"steps": [2, 3], "values": [0.4, None], "nonfinite": [{"step": 3, "value": "NaN"}]}
        assert (await api.http.post(f"{url}/metrics", json={"series": {"loss": columns}})).json()["points"] == 2
        table = np.array([(4, 0.25), (5, 0.2)], dtype=[("step", "<i4"), ("loss", "<f4")])
        sent = await api.http.post(f"{url}/metrics", content=saved(table), headers={"content-type": NPY})
        assert sent.json()["points"] == 2
        found = (await api.http.get(f"{url}/metrics/series?names=loss")).json()["series"]["loss"]
        assert found["steps"] == [1, 2, 3, 4, 5]
        assert found["values"] == [0.5, 0.4, None, 0.25, np.float32(0.2)]
        assert found["nonfinite"] == [{"step": 3, "value": "NaN"}]
        assert found["times"][0] == 1_700_000_000_000
        ended = await api.http.post(f"{url}/end", json={"status": "failed", "error": {"message": "no power"}})
        assert ended.json()["status"] == "failed"
        assert ended.json()["error"]["message"] == "no power"
        problem(await api.http.post(f"{url}/metrics", json=one), 409)
        problem(await api.http.post(f"{url}/end", json={"status": "failed"}), 409)
        assert (await api.http.delete(url)).status_code == 204
        problem(await api.http.get(url), 404)


async def test_a_step_written_again_gets_its_new_value(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api)
        for value in (1.0, 2.0):
            await api.http.post(f"/v1/runs/{run_id}/metrics", json={"step": 1, "metrics": {"loss": value}})
        found = (await api.http.get(f"/v1/runs/{run_id}/metrics")).json()["metrics"]["loss"]
        assert (found["count"], found["last"]) == (1, 2.0)


async def test_the_same_creation_sent_twice_makes_one_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        key, body = {"Idempotency-Key": "k"}, {"type": "external"}
        first, again = [await api.http.post("/v1/runs", json=body, headers=key) for _ in range(2)]
        assert first.json() == again.json()
        assert pointers(await api.http.post("/v1/runs", json={**body, "name": "other"}, headers=key)) == [""]


async def test_what_makes_no_sense_is_refused_with_every_fault(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api)
        wrong: list[tuple[dict[str, Any], set[str]]] = [
            ({"metrics": {"loss": 0.5}}, {"/step"}),
            ({"step": -1, "metrics": {"loss": 0.5}}, {"/step"}),
            ({"step": 1, "metrics": {"loss": "nan"}}, {"/metrics/loss"}),
            ({"series": {"a/b": {"steps": [1, 2], "values": [0.1], "times": [5]}}},
             {"/series/a~1b/values", "/series/a~1b/times"}),
            ({"series": {"a": {"steps": [1], "values": [None]}, "b": {"steps": [1], "values": [None]}}},
             {"/series/a/values/0", "/series/b/values/0"}),
            ({"series": {"a": {"steps": [1], "values": [0.5], "nonfinite": [{"step": 1, "value": "NaN"}]}}},
             {"/series/a/nonfinite"}),
            ({"series": {"a": {"steps": [0.5], "values": ["x"]}}}, {"/series/a/steps/0", "/series/a/values/0"}),
            ({"series": {"a": {"values": [0.5]}}}, {"/series/a/steps"}),
            ({"step": 1, "metrics": {"a": 1.0}, "series": {"a": {"steps": [1], "values": [1.0]}}}, {"/metrics/a"}),
            ({"point": 1}, {"/point"}),
        ]  # fmt: skip
        for body, places in wrong:
            answer = await api.http.post(f"/v1/runs/{run_id}/metrics", json=body)
            assert set(pointers(answer)) == places, body
        json_type = {"content-type": "application/json"}
        url, literal = f"/v1/runs/{run_id}/metrics", '{"step": 1, "metrics": {"loss": NaN}}'
        told = problem(await api.http.post(url, content=literal, headers=json_type), 400)
        assert '"NaN"' in told["hint"]
        assert (await api.http.get(f"/v1/runs/{run_id}/metrics")).json()["metrics"] == {}
        problem(await api.http.post("/v1/runs/run_none/metrics", json={"step": 1, "metrics": {"a": 1.0}}), 404)
        assert pointers(await api.http.post("/v1/runs", json={"type": "train"})) == ["/type"]
        job_run = (await api.submit()).json()["run_id"]
        problem(await api.http.post(f"/v1/runs/{job_run}/metrics", json={"step": 1, "metrics": {"a": 1.0}}), 409)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, 2.0]), np.array([(1, "x")], dtype=[("step", "<i8"), ("loss", "U1")]),
        np.array([(0.5, 1.0)], dtype=[("step", "<f8"), ("loss", "<f8")]),
        np.array([(-1, 1.0)], dtype=[("step", "<i8"), ("loss", "<f8")]),
        np.array([(1, object())], dtype=[("step", "<i8"), ("loss", "O")]),
        np.array([(1, [1.0, 2.0])], dtype=[("step", "<i8"), ("loss", "<f8", 2)]),
        np.array([[(1, 1.0)]], dtype=[("step", "<i8"), ("loss", "<f8")]),
    ],
)  # fmt: skip
async def test_a_table_that_holds_no_points_is_refused(array: Any, tmp_path: Path) -> None:
    if array.dtype.hasobject:
        array["loss"] = None
    async with serving(tmp_path) as api:
        run_id = await created(api)
        answer = await api.http.post(f"/v1/runs/{run_id}/metrics", content=saved(array), headers={"content-type": NPY})
        assert problem(answer, 422)["code"] == "invalid_data"


async def test_a_table_that_promises_more_than_it_brings_is_refused(tmp_path: Path) -> None:
    good = saved(np.zeros(3, dtype=[("step", "<i8"), ("loss", "<f8")]))
    async with serving(tmp_path) as api:
        run_id = await created(api)
        for body in (good[:-1], good + b"x", good.replace(b"(3,)", b"(9,)"), good[:20], b"", b"{}"):
            answer = await api.http.post(f"/v1/runs/{run_id}/metrics", content=body, headers={"content-type": NPY})
            assert answer.status_code == 422, body[:20]


async def test_series_come_in_every_form_with_the_columns_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api)
        told = {"loss": ([1, 2, 3], [0.5, math.nan, 0.25], [10, 20, 30]), "epoch": ([2], [1.0], [20])}
        api.store.metrics.append(run_id, {**told, "rows_per_s": ([2], [1000.5], [20]), "../x": ([1], [1.0], [1])})
        url = f"/v1/runs/{run_id}/metrics/series?names=loss&columns=epochs,rows_per_s,times&format="
        loss = (await api.http.get(f"{url}json")).json()["series"]["loss"]
        assert (loss["epochs"], loss["rows_per_s"]) == ([1, 1, None], [1000.5, 1000.5, None])
        lines = (await api.http.get(f"{url}csv")).text.splitlines()
        assert lines == [
            "name,step,value,time,epoch,rows_per_s", "loss,1,0.5,10,1,1000.5", "loss,2,nan,20,1,1000.5",
            "loss,3,0.25,30,,",
        ]  # fmt: skip
        rows = [json.loads(line) for line in (await api.http.get(f"{url}ndjson")).text.splitlines()]
        assert rows[1] == {
            "name": "loss", "step": 2, "value": None, "time": 20, "epoch": 1, "rows_per_s": 1000.5, "nonfinite": "NaN",
        }  # fmt: skip
        packed = (await api.http.get(f"/v1/runs/{run_id}/metrics/series?format=npz")).content
        arrays = np.load(io.BytesIO(packed))
        np.testing.assert_array_equal(arrays["loss/values"], told["loss"][1])
        np.testing.assert_array_equal(arrays["loss/steps"], told["loss"][0])
        assert sorted(name.split("/")[0] for name in arrays.files if name.endswith("steps")) == [
            "%2E%2E%2Fx", "epoch", "loss", "rows_per_s",
        ]  # fmt: skip
        bare = (await api.http.get(f"/v1/runs/{run_id}/metrics/series?names=loss&columns=")).json()["series"]["loss"]
        assert bare["times"] is None
        assert pointers(await api.http.get(f"/v1/runs/{run_id}/metrics/series?columns=time")) == ["/query/columns"]


async def test_increments_go_on_from_a_cursor_and_an_unchanged_run_is_304(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api)
        url = f"/v1/runs/{run_id}/metrics/series"
        await api.http.post(f"/v1/runs/{run_id}/metrics", json={"step": 1, "metrics": {"loss": 0.5, "other": 1.0}})
        first = await api.http.get(url)
        tag = {"If-None-Match": first.headers["etag"]}
        for path in (url, f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/metrics"):
            same = await api.http.get(path, headers=tag)
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        await api.http.post(f"/v1/runs/{run_id}/metrics", json={"step": 2, "metrics": {"loss": 0.25}})
        second = await api.http.get(url, params={"after": first.json()["next"]}, headers=tag)
        assert second.status_code == 200
        assert second.json()["series"].keys() == {"loss"}
        loss = second.json()["series"]["loss"]
        assert (loss["steps"], loss["values"], loss["continues"]) == ([2], [0.25], True)
        asked = {"runs": [run_id], "after": {run_id: second.json()["next"]}, "columns": []}
        assert (await api.http.post("/v1/metrics/query", json=asked)).json()["data"][0]["series"] == {}
        for rubbish in ("?", "W10", "W1tbMSwyXV1d", "W1tbMSwyLCIqKioiXV1d"):
            assert pointers(await api.http.get(url, params={"after": rubbish})) == ["/query/after"], rubbish


async def test_a_cursor_of_a_thousand_names_comes_back_and_that_of_another_run_says_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        urls = [f"/v1/runs/{await created(api)}/metrics" for _ in range(2)]
        names = [f"layer {i} {'x' * 200}" for i in range(1_000)]
        for url in urls:
            await api.http.post(url, json={"step": 0, "metrics": dict.fromkeys(names, 1.0)})
        after = (await api.http.get(f"{urls[0]}/series")).json()["next"]
        await api.http.post(urls[0], json={"step": 1, "metrics": {names[5]: 2.0}})
        own, other = [(await api.http.get(f"{url}/series", params={"after": after})).json() for url in urls]
        assert [(name, each["steps"]) for name, each in own["series"].items()] == [(names[5], [1])]
        assert len(other["series"]) == 1_000


async def test_a_step_that_comes_late_makes_a_reader_begin_anew(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/runs/{await created(api)}/metrics"
        await api.http.post(url, json={"series": {"loss": {"steps": [1, 9], "values": [1.0, 9.0]}}})
        after = (await api.http.get(f"{url}/series")).json()["next"]
        await api.http.post(url, json={"step": 5, "metrics": {"loss": 5.0}})
        loss = (await api.http.get(f"{url}/series", params={"after": after})).json()["series"]["loss"]
        assert (loss["steps"], loss["continues"]) == ([1, 5, 9], False)


async def test_names_of_other_scripts_can_be_paged_through_and_too_much_at_once_has_its_hint(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for number in range(3):
            await created(api, name="\u7cbe" * 190 + str(number), spec={"words": "\u7cbe" * 500})
        for sort in ("name", "spec.words"):
            first = (await api.http.get("/v1/runs", params={"limit": 2, "sort": sort})).json()
            rest = await api.http.get("/v1/runs", params={"limit": 2, "sort": sort, "after": first["next"]})
            assert len(rest.json()["data"]) == 1
        run_id = first["data"][0]["id"]
        sent = await api.http.post(
            f"/v1/runs/{run_id}/metrics", content=b" " * 2_000_000, headers={"content-type": NPY}
        )
        told = problem(sent, 413)
        assert told["hint"].startswith("Send fewer points at a time; ")
        told = problem(await api.http.get(f"/v1/runs/{run_id}/export?format=safetensors"), 409)
        assert "external" in told["detail"]


async def test_a_long_answer_is_zipped_for_those_who_read_it_and_stays_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(6_000)
    async with serving(tmp_path) as api:
        run_id = await created(api)
        api.store.metrics.append(run_id, {"loss": (range(6_000), values, np.cumsum(rng.integers(8, 12, 6_000)))})
        url = f"/v1/runs/{run_id}/metrics/series"
        sizes = {}
        for coding in ("gzip", "identity", "gzip;q=0", "br, gzip;q=0.5"):
            async with api.http.stream("GET", url, headers={"accept-encoding": coding}) as answer:
                raw = b"".join([piece async for piece in answer.aiter_raw()])
                sizes[coding] = len(raw), answer.headers.get("content-encoding")
        assert [zipped for _, zipped in sizes.values()] == ["gzip", None, None, "gzip"]
        assert sizes["gzip"][0] <= 120_000 < sizes["identity"][0]
        found = (await api.http.get(url)).json()["series"]["loss"]
        assert found["values"] == values.tolist()
        for form in ("json", "csv", "ndjson", "npz"):
            first, again = [await api.http.get(f"{url}?format={form}") for _ in range(2)]
            assert first.content == again.content
