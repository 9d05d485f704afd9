"""From a finished run to answers: versions, aliases, predictions, completions in OpenAI's shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import Api, pointers, problem, serving, train_spec
from test_api_jobs import claim

from service.jobs.execute import execute

pytestmark = pytest.mark.anyio
SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
TALE = "the cat sat on the mat\nthe dog sat on the log\n" * 20


async def trained(api: Api, **changes: Any) -> str:
    """A run that a worker's code has trained in this process."""
    answer = await api.submit(train_spec(training={"epochs": 30, "batch_size": 16, "seed": 1}, **changes))
    return executed(api, answer)


async def counted(api: Api, **changes: Any) -> str:
    """The same for a text."""
    dataset = (await api.upload(TALE, "tale.txt")).json()["id"]
    spec = {"dataset": {"id": dataset}, "order": 3} | changes
    return executed(api, await api.http.post("/v1/jobs", json={"type": "ngram", "spec": spec}))


def executed(api: Api, answer: httpx.Response) -> str:
    """The run of a job that was submitted, which a worker's code has executed in this process."""
    assert answer.status_code == 202, answer.text
    execute(api.store, claim(api), api.settings, lambda: False)
    run = api.store.runs.get(answer.json()["run_id"])
    assert run.status == "succeeded", run.error
    return run.id


async def test_a_run_answers_with_names_whichever_way_the_rows_are_sent(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api)
        named = await api.http.post(f"/v1/models/{run_id}/predict", json={"rows": [SETOSA], "top_k": 2})
        assert named.status_code == 200, named.text
        assert named.json()["model"] == run_id
        (answer,) = named.json()["predictions"]
        assert answer["label"] == "setosa"
        assert answer["probability"] > 0.8
        assert len(answer["probabilities"]) == 2
        listed = await api.http.post(f"/v1/models/{run_id}@latest/predict", json={"rows": [list(SETOSA.values())]})
        assert listed.json()["predictions"][0]["label"] == "setosa"
        assert sum(listed.json()["predictions"][0]["probabilities"].values()) == pytest.approx(1)


async def test_versions_and_aliases_lead_to_their_runs(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        first = await trained(api)
        made = await api.http.post("/v1/models/flowers/versions", json={"run": first, "note": "a start"})
        assert (made.status_code, made.json()["version"]) == (201, 1)
        job_id = api.store.runs.get(first).job_id
        mistaken = problem(await api.http.post("/v1/models/flowers/versions", json={"run": job_id}), 404)
        assert mistaken["hint"] == f"That is a job: say {first}, its run."
        assert made.headers["location"] == "/v1/models/flowers:1"
        assert (await api.http.put("/v1/models/flowers/aliases/live", json={"version": 1})).status_code == 200
        for ref in ("flowers", "flowers:1", "flowers@live"):
            answer = await api.http.post(f"/v1/models/{ref}/predict", json={"rows": [SETOSA]})
            assert answer.json()["model"] == "flowers:1"
        model = (await api.http.get("/v1/models/flowers@live")).json()
        assert (model["object"], model["version"], model["run_id"], model["aliases"]) == (
            "model",
            1,
            first,
            {"live": 1},
        )
        assert [each["version"] for each in model["versions"]] == [1]
        assert (await api.http.put("/v1/models/flowers/aliases/live", json={"version": None})).status_code == 200
        problem(await api.http.get("/v1/models/flowers@live"), 404)
        history = (await api.http.get("/v1/models/flowers/aliases/live")).json()
        assert [each["version"] for each in history] == [1, None]
        problem(await api.http.put("/v1/models/flowers/aliases/live", json={"version": 2}), 404)
        listed = (await api.http.get("/v1/models")).json()
        assert (listed["object"], [each["id"] for each in listed["data"]]) == ("list", ["flowers"])
        assert problem(await api.http.delete(f"/v1/jobs/{api.store.runs.get(first).job_id}"), 409)


async def test_rows_that_do_not_fit_are_named_every_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        narrow = {name: value for name, value in SETOSA.items() if name != "sepal_width"}
        answer = await api.http.post(url, json={"rows": [SETOSA, narrow, [1, 2, 3]]})
        assert pointers(answer) == ["/rows/1/sepal_width", "/rows/2"]
        assert pointers(await api.http.post(url, json={"rows": []})) == ["/rows"]
        assert pointers(await api.http.post(url, json={"row": [SETOSA]}))
        not_finite = '{"rows": [[1, 2, 3, NaN]]}'
        headers = {"content-type": "application/json"}
        assert problem(await api.http.post(url, content=not_finite, headers=headers), 400)["code"] == "invalid_json"
        problem(await api.http.post("/v1/models/nothing/predict", json={"rows": [SETOSA]}), 404)
        queued = (await api.submit()).json()["run_id"]
        problem(await api.http.post(f"/v1/models/{queued}/predict", json={"rows": [SETOSA]}), 409)
        assert (
            "predict" in problem(await api.http.post("/v1/completions", json={"model": url.split("/")[3]}), 422)["hint"]
        )


async def test_an_alias_moves_only_from_where_the_caller_saw_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id, url = await trained(api), "/v1/models/flowers/aliases/live"
        for _ in range(2):
            await api.http.post("/v1/models/flowers/versions", json={"run": run_id})
        made = await api.http.put(url, json={"version": 1}, headers={"if-none-match": "*"})
        seen = {"if-match": made.headers["etag"]}
        assert (await api.http.get(url)).headers["etag"] == made.headers["etag"]
        assert (await api.http.put(url, json={"version": 2}, headers=seen)).json()["version"] == 2
        stale = problem(await api.http.put(url, json={"version": 1}, headers=seen), 412)
        assert (stale["code"], "flowers:2" in stale["detail"]) == ("precondition_failed", True)
        problem(await api.http.put(url, json={"version": 1}, headers={"if-match": "W/7"}), 412)
        problem(await api.http.put(url, json={"version": 1}, headers={"if-none-match": "*"}), 412)
        problem(await api.http.post(f"{url}/rollback", headers=seen), 412)
        back = await api.http.post(f"{url}/rollback")
        assert (back.json()["version"], "etag" in back.headers) == (1, True)
        assert (await api.http.post("/v1/models/flowers@live/predict", json={"rows": [SETOSA]})).json()["model"] == (
            "flowers:1"
        )


async def test_a_model_tells_its_data_spec_scores_and_where_it_comes_from(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api, dataset={"sample": "iris", "validation": 0.2, "test": 0.2})
        made = (await api.http.post("/v1/models/flowers/versions", json={"run": run_id})).json()
        model = (await api.http.get("/v1/models/flowers:1")).json()
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert model["spec"] == run["spec"]
        assert model["scores"] == made["scores"] == model["versions"][0]["scores"]
        assert model["scores"]["test_accuracy"] == run["summary"]["test_accuracy"]["last"]
        assert model["scores"]["val_loss"] == run["summary"]["val_loss"]["best"]
        assert model["lineage"] | {"dataset_sha256": "?"} == {
            "run_id": run_id, "job_id": run["job_id"], "dataset_id": run["dataset_id"], "dataset_name": "iris",
            "dataset_sha256": "?", "go_on_from": None, "initial_weights": None, "evaluations": [],
        }  # fmt: skip
        assert (await api.http.get(f"/v1/models/{run_id}")).json()["lineage"] == model["lineage"]


async def test_what_is_used_is_not_deleted_and_who_uses_it_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api)
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        await api.http.post("/v1/models/flowers/versions", json={"run": run_id})
        await api.http.put("/v1/models/flowers/aliases/live", json={"version": 1})
        chain = [
            (f"/v1/datasets/{run['dataset_id']}", run["job_id"]),
            (f"/v1/jobs/{run['job_id']}", "flowers:1"),
            ("/v1/models/flowers", "flowers@live"),
        ]
        for url, user in chain:
            assert user in problem(await api.http.delete(url), 409)["detail"]
        problem(await api.http.delete("/v1/models/flowers:7"), 404)
        await api.http.put("/v1/models/flowers/aliases/live", json={"version": None})
        for url, _ in reversed(chain):
            assert (await api.http.delete(url)).status_code == 204
        problem(await api.http.get("/v1/models/flowers"), 404)


# --- text


async def test_a_completion_has_openais_shape(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        body = {"model": run_id, "prompt": "the cat", "max_tokens": 3, "temperature": 0, "seed": 1}
        found = (await api.http.post("/v1/completions", json=body)).json()
        assert (found["object"], found["model"]) == ("text_completion", run_id)
        (choice,) = found["choices"]
        assert choice["text"].split() == ["sat", "on", "the"]
        assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
        assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


async def test_a_stream_says_the_same_piece_by_piece(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        body = {"model": await counted(api), "prompt": ["the", ""], "n": 2, "seed": 7, "max_tokens": 6}
        whole = (await api.http.post("/v1/completions", json=body)).json()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        answer = await api.http.post("/v1/completions", json=body | options)
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        pieces = [json.loads(line) for line in lines[:-1]]
        texts = {choice["index"]: "" for choice in whole["choices"]}
        ends = {}
        for piece in pieces:
            for choice in piece["choices"]:
                texts[choice["index"]] += choice["text"]
                ends[choice["index"]] = choice["finish_reason"]
        assert texts == {choice["index"]: choice["text"] for choice in whole["choices"]}
        assert ends == {choice["index"]: choice["finish_reason"] for choice in whole["choices"]}
        assert pieces[-1]["usage"] == whole["usage"]


async def test_logprobs_with_echo_score_the_prompt(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        body = {"model": run_id, "prompt": "the cat sat", "max_tokens": 0, "echo": True, "logprobs": 2}
        (choice,) = (await api.http.post("/v1/completions", json=body)).json()["choices"]
        assert choice["text"] == "the cat sat"
        told = choice["logprobs"]
        assert "".join(told["tokens"]) == "the cat sat"
        assert told["text_offset"] == [0, 3, 7]
        assert all(value < 0 for value in told["token_logprobs"][1:])
        assert all(len(top) == 2 for top in told["top_logprobs"])


async def test_a_stop_word_ends_a_completion_and_is_not_part_of_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        body = {"model": await counted(api), "prompt": "the cat", "temperature": 0, "stop": "on"}
        (choice,) = (await api.http.post("/v1/completions", json=body)).json()["choices"]
        assert (choice["text"].strip(), choice["finish_reason"]) == ("sat", "stop")


async def test_errors_of_text_routes_are_openais_as_well(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        missing = problem(await api.http.post("/v1/completions", json={"model": "nothing", "prompt": "a"}), 404)
        assert missing["error"] == {
            "message": "no model nothing. GET /v1/models lists what there is.",
            "type": "invalid_request_error", "param": None, "code": "not_found",
        }  # fmt: skip
        other = problem(await api.http.post("/v1/completions", json={"model": "m@live", "prompt": "a"}), 404)
        assert other["hint"] == "GET /v1/models/m tells its versions and aliases."
        penalties = {"presence_penalty": 0.5, "frequency_penalty": 0, "suffix": "b", "logit_bias": {"5": 1}}
        unknown = problem(await api.http.post("/v1/completions", json={"model": "m", **penalties}), 422)
        assert [each["pointer"] for each in unknown["errors"]] == ["/suffix", "/presence_penalty", "/logit_bias"]
        assert {each["message"] for each in unknown["errors"]} == {
            "these models know nothing of the kind; leave it out"
        }
        hot = problem(await api.http.post("/v1/completions", json={"model": "m", "temperature": 3}), 422)
        assert hot["error"]["param"] == "temperature"
        run_id = await counted(api)
        few = await api.http.post("/v1/completions", json={"model": run_id, "n": 3, "best_of": 2})
        assert pointers(few) == ["/best_of"]


async def test_suggestions_and_scores(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        found = (await api.http.post("/v1/suggestions", json={"model": run_id, "text": "sat on", "k": 3})).json()
        assert found["suggestions"][0]["text"] == "the"
        assert found["suggestions"][0]["probability"] > 0.5
        typed = {"model": run_id, "text": "the", "prefix": "l"}
        typing = (await api.http.post("/v1/suggestions", json=typed)).json()
        assert [each["text"] for each in typing["suggestions"]] == ["log"]
        one = (await api.http.post("/v1/scores", json={"model": run_id, "text": "the cat sat"})).json()
        assert (one["tokens"], one["oov"]) == (4, 0)
        assert one["perplexity"] == pytest.approx(10 ** (-one["log10_prob"] / 4))
        two = (await api.http.post("/v1/scores", json={"model": run_id, "text": ["the cat sat", "a zebra"]})).json()
        assert two["texts"][0]["log10_prob"] == one["log10_prob"]
        assert two["oov"] == two["texts"][1]["oov"] == 2
