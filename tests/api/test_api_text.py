"""Text models through HTTP: every option of a job, ARPA files in and out, mixtures, caches, explanations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, pointers, problem, serving
from test_api_jobs import claim
from test_api_models import TALE, counted, executed, trained

from service.jobs.execute import execute

pytestmark = pytest.mark.anyio
POEM = "牀前明月光\n疑是地上霜\n舉頭望明月\n低頭思故鄉\n" * 6
OTHER = "a bird sat on the roof\na bird sang on the log\nthe bird saw a roof\n" * 20


async def job(api: Api, text: str | bytes, name: str = "tale.txt", type: str = "ngram", **spec: Any) -> str:
    """The run of a job on a text."""
    dataset = (await api.upload(text, name)).json()
    assert "id" in dataset, dataset
    said = {"dataset": {"id": dataset["id"]} | spec.pop("dataset", {})} | spec
    return executed(api, await api.http.post("/v1/jobs", json={"type": type, "spec": said}))


async def ask(api: Api, path: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("tokenizer", ["word", "regex", "character", "byte"])
async def test_a_text_becomes_a_model_with_every_tokenizer_and_smoothing(tmp_path: Path, tokenizer: str) -> None:
    smoothings = (
        {"kind": "modified_kneser_ney"}, {"kind": "kneser_ney"}, {"kind": "witten_bell"}, {"kind": "add_k", "k": 0.1},
        {"kind": "absolute_discounting", "discount": 0.5}, {"kind": "stupid_backoff"},
    )  # fmt: skip
    async with serving(tmp_path) as api:
        for smoothing in smoothings:
            options: dict[str, Any] = {
                "tokenizer": {"kind": tokenizer},
                "smoothing": smoothing,
                "lowercase": True,
                "normalize": "nfkc",
            }
            run_id = await job(api, TALE.upper() + POEM, order=4, dataset={"validation": 0.2}, **options)
            run = (await api.http.get(f"/v1/runs/{run_id}")).json()
            assert 1 < run["summary"]["val_perplexity"]["last"] < 60
            assert run["summary"]["val_perplexity_excluding_oov"]["last"] > 1
            told = await ask(api, "completions", model=run_id, prompt="The cat sat", temperature=0, max_tokens=4)
            assert told["choices"][0]["text"].split()[0] == "on"


async def test_the_lines_of_json_become_a_model_without_what_is_rare(tmp_path: Path) -> None:
    rows = [{"id": at, "text": line} for at, line in enumerate((TALE + "a rare line\n").splitlines())]
    lines = "\n".join(json.dumps(row) for row in rows)
    async with serving(tmp_path) as api:
        found = [
            await job(api, lines, "tale.jsonl", order=3, prune=prune, dataset=dataset)
            for prune, dataset in (([], {"column": "text"}), ([0, 1], {}))
        ]
        whole, pruned = [(await api.http.get(f"/v1/runs/{run_id}")).json()["text"] for run_id in found]
        assert whole["tokens"] == pruned["tokens"] == 20 * 12 + 3
        assert whole["ngrams"][0] == pruned["ngrams"][0]
        assert whole["ngrams"][1] - pruned["ngrams"][1] == 4  # <s> a, a rare, rare line, line </s>
        assert (await ask(api, "scores", model=found[1], text="the cat sat"))["oov"] == 0


async def test_a_column_without_words_is_refused_at_the_door(tmp_path: Path) -> None:
    rows = [{"number": at, "title": f"a b {at % 2}", "body": f"c {at % 3}"} for at in range(9)]
    async with serving(tmp_path) as api:
        dataset = (await api.upload("\n".join(map(json.dumps, rows)), "rows.jsonl")).json()["id"]
        for column, pointer, hint in (
            ("number", "/spec/dataset/column", "title, body"),
            ("titel", "/spec/dataset/column", "title"),
            (None, "/spec/dataset", "title, body"),
        ):
            spec = {"dataset": {"id": dataset, "column": column}}
            refused = await api.http.post("/v1/jobs", json={"type": "ngram", "spec": spec})
            assert pointers(refused) == [pointer]
            assert hint in refused.json()["errors"][0]["hint"]


async def test_odd_texts_become_models_with_warnings(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await job(api, "one <s> two </s> <unk> three\n", order=3)
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        told = " ".join(run["warnings"])
        for words in ("<unk> 1 times; it was counted as the unknown word", "<s> 1 times", "no discounts for order 1"):
            assert words in told
        events = (await api.http.get(f"/v1/jobs/{run['job_id']}/events?limit=100")).json()["data"]
        assert [e["data"]["message"] for e in events if e["kind"] == "warning"] == run["warnings"]


async def test_a_text_too_large_for_the_memory_is_refused_before_it_is_counted(tmp_path: Path) -> None:
    text = "".join(f"w{at} x{at * 7 % 1000} y{at * 13 % 777}\n" for at in range(60_000))
    async with serving(tmp_path, max_model_bytes=72_000_000) as api:
        dataset = (await api.upload(text, "many.txt")).json()["id"]
        spec = {"dataset": {"id": dataset}, "order": 5}
        for path in ("jobs", "plans"):
            refused = await api.http.post(f"/v1/{path}", json={"type": "ngram", "spec": spec})
            assert pointers(refused, 413) == ["/spec/order"]
        plan = (await api.http.post("/v1/plans", json={"type": "ngram", "spec": spec | {"order": 1}})).json()
        assert plan["bytes"] < 72_000_000


# --- completions


async def test_the_likeliest_end_is_told_with_the_logprobs_as_lm_eval_reads_them(tmp_path: Path) -> None:
    """lm-eval asks for one token more and takes what stands before it: token_logprobs[len(context) : -1]."""
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        body = {"model": run_id, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1, "seed": 1234}
        for prompt, last in (("the cat sat on the mat", "</s>"), ("the cat sat on", " the")):
            (choice,) = (await ask(api, "completions", prompt=prompt, **body))["choices"]
            told = choice["logprobs"]
            assert told["tokens"][-1] == last
            assert choice["text"] == prompt + last.replace("</s>", "")
            assert len({len(values) for values in told.values()}) == 1
            greedy = [max(top, key=top.get) for top in told["top_logprobs"]]
            assert greedy[-1] == last
            score = await ask(api, "scores", model=run_id, text=prompt, per_token=True)
            words = score["texts"][0]["per_token"][:-1]
            assert [each["log10_prob"] * math.log(10) for each in words] == pytest.approx(told["token_logprobs"][:-1])


async def test_prompts_may_be_many_and_the_best_of_several_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        body = {"model": run_id, "prompt": ["the cat", "", "a zebra"], "seed": 3, "max_tokens": 5}
        every = (await ask(api, "completions", **body, n=8, logprobs=0))["choices"]
        best = (await ask(api, "completions", **body, n=1, best_of=8, logprobs=0))["choices"]
        assert [each["index"] for each in best] == [0, 1, 2]
        for at, choice in enumerate(best):
            means = [sum(v["logprobs"]["token_logprobs"]) / len(v["logprobs"]["tokens"]) for v in every[8 * at :][:8]]
            mine = choice["logprobs"]["token_logprobs"]
            assert sum(mine) / len(mine) == pytest.approx(max(means))


async def test_every_token_is_explained_down_to_the_lines_it_comes_from(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        body = {"model": run_id, "prompt": "the cat sat on", "temperature": 0, "max_tokens": 5, "logprobs": 0}
        (choice,) = (await ask(api, "completions", **body, explain=True, sources=2))["choices"]
        told = choice["explanations"]
        assert [each["token"] for each in told] == choice["logprobs"]["tokens"] == [" the", " mat", "</s>"] or [
            each["token"] for each in told
        ] == [" the", " log", "</s>"]
        first, last = told[0], told[-1]
        assert (first["ngram"], first["order"], first["count"]) == (["sat", "on", "the"], 3, 40)
        assert [(s["line"], s["before"], s["text"]) for s in first["sources"]] == [
            (1, "the cat ", "sat on the"), (2, "the dog ", "sat on the"),
        ]  # fmt: skip
        assert last["ngram"][-1] == "</s>"
        for why, logprob in zip(told, choice["logprobs"]["token_logprobs"], strict=True):
            log10 = why["log10"] + sum(each["log10"] for each in why["backoffs"])
            assert log10 * math.log(10) == pytest.approx(logprob, abs=1e-5)
        stream = await api.http.post("/v1/completions", json=body | {"explain": True, "stream": True})
        pieces = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
        assert [p["choices"][0]["explanations"][0]["ngram"] for p in pieces[:-1]] == [each["ngram"] for each in told]


async def test_a_score_tells_each_token_and_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        texts = ["the cat sat\n\na zebra", "the dog"]
        told = await ask(api, "scores", model=run_id, text=texts, per_token=True, sources=1)
        for text, each in zip(texts, told["texts"], strict=True):
            tokens = each["per_token"]
            assert len(tokens) == each["tokens"]
            assert sum(token["log10_prob"] for token in tokens) == pytest.approx(each["log10_prob"], rel=1e-5)
            assert sum(token["oov"] for token in tokens) == each["oov"]
            for token in tokens:
                assert text[token["offset"] :].startswith(token["text"].replace("</s>", ""))
        zebra = told["texts"][0]["per_token"][6]
        assert (zebra["text"], zebra["oov"], zebra["explanation"]["ngram"]) == (" zebra", True, ["<unk>"])
        sat = told["texts"][0]["per_token"][2]["explanation"]
        assert sat["sources"] == [{"line": 1, "before": "", "text": "the cat sat", "after": " on the mat"}]
        long = await api.http.post("/v1/scores", json={"model": run_id, "text": "a " * 6_000, "explain": True})
        assert pointers(long) == ["/text"]


# --- caches and mixtures


async def test_a_cache_adapts_to_the_text_so_far(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await job(
            api, TALE + "log log log\nmat mat mat mat\n" * 9, order=2, tune_cache=True, dataset={"validation": 0.4}
        )
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert run["text"]["cache"].keys() == {"decay", "unigram", "bigram"}
        assert run["summary"]["val_perplexity_with_cache"]["last"] < run["summary"]["val_perplexity"]["last"]
        text = "log log log log\n" * 5
        score = await ask(api, "scores", model=run_id, text=[text, text], cache={"unigram": 0.2})
        assert score["with_cache"]["cache"] == run["text"]["cache"] | {"unigram": 0.2}
        assert score["with_cache"]["perplexity"] < score["perplexity"]
        assert score["texts"][0]["with_cache"]["log10_prob"] == score["texts"][1]["with_cache"]["log10_prob"]
        plain, with_cache = [
            (await ask(api, "suggestions", model=run_id, text=text + "the", **more))["suggestions"]
            for more in ({}, {"cache": {"unigram": 0.4}})
        ]
        assert [each["text"] for each in with_cache if each["text"] == "log"]
        p = {each["text"]: each["probability"] for each in plain}
        assert next(each["probability"] for each in with_cache if each["text"] == "log") > p["log"]
        body = {"model": run_id, "prompt": text, "max_tokens": 1, "temperature": 0, "ignore_end": True, "logprobs": 0}
        for more in ({}, {"cache": {"unigram": 0.5, "bigram": 0.4}}):
            (choice,) = (await ask(api, "completions", **body, **more))["choices"]
            assert choice["text"] == ("log" if more else "the")


async def test_models_are_mixed_with_weights_tuned_on_a_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        parts = [await job(api, TALE, order=3), await job(api, OTHER, order=2)]
        await api.http.post("/v1/models/tale/versions", json={"run": parts[0]})
        tuning = "the bird sat on the mat\na cat sang on the roof\nthe dog saw a bird\n" * 3
        models = ["tale", parts[1]]
        mixed = await job(api, tuning, type="mixture", models=models, dataset={"test": 0.3}, tune_cache=True)
        run = (await api.http.get(f"/v1/runs/{mixed}")).json()
        told = run["text"]["parts"]
        assert [each["model"] for each in told] == ["tale:1", parts[1]]
        assert sum(each["weight"] for each in told) == pytest.approx(1)
        assert run["summary"]["val_perplexity"]["last"] < min(each["val_perplexity"] for each in told)
        assert "test_perplexity_with_cache" in run["summary"]
        given = await job(api, tuning, type="mixture", models=models, weights=[0.5, 0.5])
        even = (await api.http.get(f"/v1/runs/{given}")).json()["summary"]["val_perplexity"]["last"]
        assert run["summary"]["val_perplexity"]["last"] < even
        for part in parts:  # the mixture needs them no longer
            found = (await api.http.get(f"/v1/runs/{part}")).json()
            await api.http.delete("/v1/models/tale:1")
            await api.http.delete(f"/v1/jobs/{found['job_id']}")
        api.store.collect()
        body = {"model": mixed, "prompt": "the bird sat on the", "max_tokens": 1, "temperature": 0}
        (choice,) = (await ask(api, "completions", **body, explain=True))["choices"]
        assert choice["text"].strip() in {"roof", "log", "mat"}
        assert choice["explanations"][0]["ngram"][-1] == choice["text"].strip()
        problem(await api.http.get(f"/v1/runs/{mixed}/export?format=arpa"), 409)


async def test_what_cannot_be_mixed_is_refused_where_it_stands(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        words, letters = await counted(api), await counted(api, tokenizer={"kind": "character"})
        network = await trained(api)
        dataset = {"id": (await api.upload(OTHER, "other.txt")).json()["id"]}
        for change, pointer in (
            ({"models": [words, letters]}, "/spec/models"),
            ({"models": [words, network]}, "/spec/models/1"),
            ({"models": [words, "nothing"]}, "/spec/models/1"),
            ({"models": [words]}, "/spec/models"),
            ({"weights": [0.5, 0.6]}, "/spec"),
            ({"weights": [1.0]}, "/spec/weights"),
            ({"dataset": {"sample": "iris"}}, "/spec/dataset"),
        ):
            spec = {"dataset": dataset, "models": [words, words]} | change
            assert pointers(await api.http.post("/v1/jobs", json={"type": "mixture", "spec": spec})) == [pointer]


# --- ARPA files


@pytest.mark.parametrize("tokenizer", ["word", "character"])
async def test_a_model_goes_out_as_an_arpa_file_and_comes_in_the_same(tmp_path: Path, tokenizer: str) -> None:
    async with serving(tmp_path) as api:
        kind = {"kind": tokenizer}
        run_id = await counted(api, tokenizer=kind)
        out = await api.http.get(f"/v1/runs/{run_id}/export?format=arpa")
        assert out.status_code == 200
        assert out.content.startswith(b"\\data\\\nngram 1=")
        back = await job(api, out.content, "model.arpa", type="arpa", tokenizer=kind)
        asked = {"text": "the cat saw a log\nthe dog", "per_token": True}
        first, again = [await ask(api, "scores", model=each, **asked) for each in (run_id, back)]
        assert again["log10_prob"] == pytest.approx(first["log10_prob"], rel=1e-5)
        body = {"prompt": "the", "seed": 4, "max_tokens": 8}
        texts = [(await ask(api, "completions", model=each, **body))["choices"][0]["text"] for each in (run_id, back)]
        assert texts[0] == texts[1]
        assert (await ask(api, "scores", model=back, text="the", explain=True))["texts"][0]["per_token"][0][
            "explanation"
        ]["count"] is None


async def test_an_arpa_file_with_a_fault_names_its_line(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        broken = "\\data\\\nngram 1=2\n\n\\1-grams:\n-1\ta\nmuch\tb\n\n\\end\\\n"
        dataset = (await api.upload(broken, "broken.arpa")).json()["id"]
        spec = {"dataset": {"id": dataset}}
        submitted = await api.http.post("/v1/jobs", json={"type": "arpa", "spec": spec})
        execute(api.store, claim(api), api.settings, lambda: False)
        run = (await api.http.get(f"/v1/runs/{submitted.json()['run_id']}")).json()
        assert (run["status"], "line 6" in run["error"]["message"]) == ("failed", True)
        table = {"type": "arpa", "spec": {"dataset": {"sample": "iris"}}}
        assert pointers(await api.http.post("/v1/jobs", json=table)) == ["/spec/dataset"]


async def test_only_what_has_an_arpa_form_is_written_as_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for run_id in (await counted(api, smoothing={"kind": "add_k"}), await trained(api)):
            problem(await api.http.get(f"/v1/runs/{run_id}/export?format=arpa"), 409)
