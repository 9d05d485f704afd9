"""A text becomes a network that foretells its letters, and the network's model completes, suggests and scores."""

from __future__ import annotations

import math
from typing import Any

import pytest

from service.client import ApiError, Client

TALE = "the cat sat on the mat\nthe dog sat on the log\nthe cat saw the dog\n" * 60
LAYERS = [
    {"kind": "embedding", "units": 16},
    {"kind": "gru", "units": 32},
    {"kind": "dropout", "rate": 0.1},
    {"kind": "lstm", "units": 32},
]


@pytest.fixture(scope="module")
def dataset(standing: Any) -> str:
    with Client(standing.url) as client:
        return str(client.upload_text(TALE, "tale.txt")["id"])


def job(dataset: str, layers: list[dict[str, Any]] = LAYERS, **spec: Any) -> dict[str, Any]:
    network = {"layers": [*layers, {"kind": "dense", "units": 16, "activation": "softmax"}]}
    given = {
        "dataset": {"id": dataset, "window": 20, "validation": 0.1, "test": 0.1},
        "network": network,
        "optimizer": {"kind": "adam", "learning_rate": 0.02},
        "training": {"epochs": 30, "batch_size": 8},
    }
    return {"type": "train", "spec": given | spec}


@pytest.fixture(scope="module")
def run(standing: Any, dataset: str) -> str:
    with Client(standing.url) as client:
        done = client.wait(client.submit(job(dataset))["id"], timeout_s=60)
        assert done["status"] == "succeeded", done["error"]
        client.publish("letters", done["run_id"])
        return str(done["run_id"])


def test_a_text_is_learned_and_its_scores_are_those_of_letters(standing: Any, run: str) -> None:
    with Client(standing.url) as client:
        series = client.series(run)
        loss, perplexity, bits = (
            series[f"val_{name}"]["values"][-1] for name in ("loss", "perplexity", "bits_per_character")
        )
        assert perplexity == pytest.approx(math.exp(loss), rel=1e-6)
        assert bits == pytest.approx(loss / math.log(2), rel=1e-6)
        assert perplexity < 1.6
        assert series["test_perplexity"]["values"][-1] < 1.6


def test_what_is_left_out_of_the_spec_is_filled_in_for_a_text(standing: Any, run: str) -> None:
    with Client(standing.url) as client:
        spec = client.job(client.run(run)["job_id"])["spec"]
    assert (spec["training"]["stateful"], spec["training"]["shuffle"]) == (True, False)
    assert spec["loss"]["kind"] == "cross_entropy"
    assert spec["metrics"] == ["accuracy", "perplexity", "bits_per_character"]


def test_our_client_completes_suggests_and_scores(standing: Any, run: str) -> None:
    with Client(standing.url) as client:
        (text,) = client.complete("letters", "the dog sat on the", max_tokens=30, temperature=0, stop="\n")
        assert text == " log"
        assert "".join(client.complete_stream("letters", "the dog sat on the", max_tokens=4, temperature=0)) == text
        drawn = {"n": 2, "max_tokens": 9, "seed": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.9}
        many = [client.complete("letters", prompt, **drawn) for prompt in ("", "the cat s")]
        assert many == [client.complete("letters", prompt, **drawn) for prompt in ("", "the cat s")]
        assert [len(each) for two in many for each in two] == [9] * 4
        best = client.suggest("letters", "the dog sat on the ", k=2)
        assert [best[0]["text"], len(best)] == ["l", 2]
        score = client.score("letters", "the cat sat on the mat\n")
        assert (score["tokens"], score["oov"], score["sentences"]) == (23, 0, 1)
        assert score["perplexity"] < client.score("letters", "mat the on sat cat the\n")["perplexity"]
        assert client.score("letters", "the 猫")["oov"] == 1


def test_an_echo_tells_the_same_probabilities_as_a_score(standing: Any, run: str) -> None:
    with Client(standing.url) as client:
        asked = {"model": "letters", "prompt": "the cat", "max_tokens": 0, "echo": True, "logprobs": 2}
        told = client.ask("POST", "/v1/completions", json=asked)
        score = client.score("letters", "the cat")
    logprobs = told["choices"][0]["logprobs"]
    assert logprobs["tokens"] == list("the cat")
    assert sum(logprobs["token_logprobs"]) == pytest.approx(score["log10_prob"] * math.log(10), rel=1e-4)
    assert told["usage"]["prompt_tokens"] == 7


def test_a_network_that_cannot_read_a_text_is_refused_at_the_layer(standing: Any, dataset: str) -> None:
    ahead = [{"kind": "bidirectional", "layer": {"kind": "gru", "units": 8}}]
    for layers, pointer, hint in (
        ([{"kind": "dense", "units": 8}], "/spec/network/layers/0", "begin with an embedding or a recurrent layer"),
        (ahead, "/spec/network/layers/0", "use simple_rnn, lstm or gru"),
        ([{"kind": "gru", "units": 8, "output": "last"}], "/spec/network/layers/0/output", 'leave out "output"'),
    ):
        with Client(standing.url) as client, pytest.raises(ApiError) as caught:
            client.submit(job(dataset, layers))
        fault = caught.value.errors[0]
        assert (fault["pointer"], hint in fault["hint"]) == (pointer, True)


def test_rows_are_refused_by_a_letter_network(standing: Any, run: str) -> None:
    with Client(standing.url) as client, pytest.raises(ApiError, match="text model"):
        client.predict("letters", [[1, 2]])
