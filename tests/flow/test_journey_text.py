"""A text becomes a model that goes on with sentences, by our client and by OpenAI's, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.client import ApiError, Client

TALE = "the cat sat on the mat\nthe dog sat on the log\nthe cat saw the dog\n" * 30


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(None, "--workers", "1")


@pytest.fixture(scope="module")
def model(server: Any) -> str:
    with Client(server.url) as client:
        dataset = client.upload_text(TALE, "tale.txt")
        spec = {"dataset": {"id": dataset["id"]}, "order": 5, "smoothing": {"kind": "modified_kneser_ney"}}
        done = client.wait(client.submit({"type": "ngram", "spec": spec})["id"], timeout_s=30)
        assert done["status"] == "succeeded", done["error"]
        client.publish("tale", done["run_id"])
    return "tale"


def test_our_client_completes_suggests_and_scores(server: Any, model: str) -> None:
    with Client(server.url) as client:
        (text,) = client.complete(model, "the dog sat", max_tokens=3, temperature=0)
        assert text.split() == ["on", "the", "log"]
        assert "".join(client.complete_stream(model, "the dog sat", max_tokens=3, temperature=0)) == text
        assert client.suggest(model, "sat on", k=1)[0]["text"] == "the"
        score = client.score(model, "the cat sat on the mat")
        assert score["oov"] == 0
        assert score["perplexity"] < client.score(model, "mat the on sat cat the")["perplexity"]
        with pytest.raises(ApiError, match="nothing"):
            client.complete("nothing")


@pytest.mark.oracle
def test_openais_client_works_unchanged(server: Any, model: str) -> None:
    openai = pytest.importorskip("openai")
    client: Any = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    with client:
        assert [each.id for each in client.models.list()] == [model]
        assert client.models.retrieve(model).id == model
        asked = {"model": model, "prompt": "the dog sat", "max_tokens": 3, "temperature": 0}
        whole = client.completions.create(**asked)
        assert whole.choices[0].text.split() == ["on", "the", "log"]
        assert whole.usage.completion_tokens == 3
        pieces = client.completions.create(**asked, stream=True)
        assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
        scored = client.completions.create(model=model, prompt="the cat", max_tokens=0, echo=True, logprobs=1)
        assert scored.choices[0].logprobs.tokens == ["the", " cat"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.completions.create(model="nothing", prompt="a")
        assert caught.value.code == "not_found"
        assert "nothing" in caught.value.message
