"""A text becomes a model that goes on with sentences, through our client."""

from __future__ import annotations

from typing import Any

import pytest

from service.client import ApiError, Client

TALE = "the cat sat on the mat\nthe dog sat on the log\nthe cat saw the dog\n" * 30


@pytest.fixture(scope="module")
def model(standing: Any) -> str:
    with Client(standing.url) as client:
        dataset = client.upload_text(TALE, "tale.txt")
        spec = {"dataset": {"id": dataset["id"]}, "order": 5, "smoothing": {"kind": "modified_kneser_ney"}}
        done = client.wait(client.submit({"type": "ngram", "spec": spec})["id"], timeout_s=30)
        assert done["status"] == "succeeded", done["error"]
        client.publish("tale", done["run_id"])
    return "tale"


def test_our_client_completes_suggests_and_scores(standing: Any, model: str) -> None:
    with Client(standing.url) as client:
        (text,) = client.complete(model, "the dog sat", max_tokens=3, temperature=0)
        assert text.split() == ["on", "the", "log"]
        assert "".join(client.complete_stream(model, "the dog sat", max_tokens=3, temperature=0)) == text
        assert client.suggest(model, "sat on", k=1)[0]["text"] == "the"
        score = client.score(model, "the cat sat on the mat")
        assert score["oov"] == 0
        assert score["perplexity"] < client.score(model, "mat the on sat cat the")["perplexity"]
        with pytest.raises(ApiError, match="nothing"):
            client.complete("nothing")
