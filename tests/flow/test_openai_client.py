"""OpenAI's own Python client, unchanged, against a server with an n-gram model and a network that read names.txt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Client

pytestmark = pytest.mark.oracle
NAMES = Path(__file__).parents[3] / "shared" / "data" / "names.txt"
JOBS: dict[str, dict[str, Any]] = {
    "ngram": {"type": "ngram", "spec": {"order": 5, "tokenizer": {"kind": "character"}}},
    "gru": {
        "type": "train",
        "spec": {
            "network": {"layers": [{"kind": "gru", "units": 32}, {"kind": "dense", "units": 28}]},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "training": {"epochs": 2, "batch_size": 32},
        },
    },
}


@pytest.fixture(scope="module")
def openai() -> Any:
    return pytest.importorskip("openai")


@pytest.fixture(scope="module")
def client(openai: Any, serve: Callable[..., Any]) -> Iterator[Any]:
    """A client of a server that has both models."""
    if not NAMES.exists():
        pytest.skip("needs names.txt of ../shared/data")
    url = serve().url
    with Client(url) as ours:
        dataset = {"id": ours.upload(NAMES)["id"], "validation": 0.1}
        for name, job in JOBS.items():
            done = ours.wait(ours.submit(job | {"spec": job["spec"] | {"dataset": dataset}})["id"], timeout_s=120)
            assert done["status"] == "succeeded", done["error"]
            ours.publish(name, done["run_id"])
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as theirs:
        yield theirs


@pytest.fixture(params=list(JOBS))
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_models_are_listed(client: Any) -> None:
    assert sorted(each.id for each in client.models.list()) == sorted(JOBS)
    assert client.models.retrieve("gru").id == "gru"


def test_a_prompt_is_continued_whole_and_as_a_stream(client: Any, model: str) -> None:
    asked = {"model": model, "prompt": "ja", "max_tokens": 12, "seed": 7, "stop": "\n"}
    whole = client.completions.create(**asked)
    (choice,) = whole.choices
    assert 0 < len(choice.text) <= 12
    assert choice.text.isalpha()
    assert choice.finish_reason == ("length" if len(choice.text) == 12 else "stop")
    assert client.completions.create(**asked).choices[0].text == choice.text
    *pieces, end, usage = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert "".join(piece.choices[0].text for piece in pieces) == choice.text
    assert {piece.choices[0].finish_reason for piece in pieces} == {None}
    assert end.choices[0].finish_reason == choice.finish_reason
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert whole.usage.prompt_tokens == 2


def test_several_continuations_are_those_of_their_seeds_and_the_best_are_kept(client: Any, model: str) -> None:
    asked = {"model": model, "prompt": ["an", ""], "max_tokens": 6, "seed": 3, "logprobs": 0}
    many = client.completions.create(**asked, n=4).choices
    assert [each.index for each in many] == list(range(8))
    assert len({each.text for each in many[:4]}) > 1
    streamed = dict.fromkeys(range(8), "")
    for piece in client.completions.create(**asked, n=4, stream=True):
        streamed[piece.choices[0].index] += piece.choices[0].text
    assert streamed == {each.index: each.text for each in many}

    def mean(choice: Any) -> float:
        return float(sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs))

    best = client.completions.create(**asked, n=1, best_of=4).choices
    assert [mean(each) for each in best] == pytest.approx([max(map(mean, many[:4])), max(map(mean, many[4:]))])


def test_an_echo_scores_the_prompt_letter_by_letter(client: Any, model: str) -> None:
    asked = {"model": model, "prompt": "emma", "max_tokens": 0, "echo": True, "logprobs": 5}
    (choice,) = client.completions.create(**asked).choices
    told = choice.logprobs
    assert (choice.text, told.tokens, told.text_offset) == ("emma", list("emma"), [0, 1, 2, 3])
    for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert len(top) == 5
        assert logprob <= 0
        assert top.get(token, logprob) == pytest.approx(logprob, abs=1e-5)
        assert logprob <= max(top.values()) + 1e-5
    likelier = client.completions.create(**asked | {"prompt": ["emma", "xqzw"]}).choices
    assert sum(likelier[0].logprobs.token_logprobs) > sum(likelier[1].logprobs.token_logprobs) + 5


def test_no_heat_takes_the_likeliest_letter_every_time(client: Any, model: str) -> None:
    asked = {"model": model, "prompt": "ma", "max_tokens": 5, "temperature": 0, "logprobs": 1}
    (choice,) = client.completions.create(**asked).choices
    assert choice.text == client.completions.create(**asked | {"seed": 5, "top_p": 0.5}).choices[0].text
    for token, top in zip(choice.logprobs.tokens, choice.logprobs.top_logprobs, strict=True):
        assert max(top, key=top.get) == token


def test_errors_are_those_the_client_knows(client: Any, openai: Any, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="nothing", prompt="a")
    assert missing.value.code == "not_found"
    assert "nothing" in missing.value.message
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.completions.create(model=model, prompt="a", temperature=3)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.UnprocessableEntityError) as streamed:
        client.completions.create(model=model, prompt="a", n=3, best_of=2, stream=True)
    assert streamed.value.param == "best_of"
