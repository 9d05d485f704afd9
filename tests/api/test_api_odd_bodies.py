"""Bodies that are almost right: whatever stands in them, the answer is an answer or a problem, never a crash."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from api_server import problem, serving, train_spec
from test_api_models import SETOSA, counted, trained

pytestmark = pytest.mark.anyio
ROUNDS = int(os.environ.get("ODD_BODIES", "300"))


def _mutated(document: Any, dice: random.Random) -> Any:
    """The document with one value, somewhere, that is another one, or gone, or twice as deep."""
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        1e308,
        10**30,
        "",
        "x" * 300,
        "\x00",
        "../..",
        [],
        {},
        [[]],
        {"kind": "dense"},
        {"kind": 1},
        "é",
    ]
    if isinstance(document, dict) and document and dice.random() < 0.85:
        name = dice.choice(list(document))
        rest = {each: value for each, value in document.items() if each != name}
        return rest if dice.random() < 0.1 else rest | {name: _mutated(document[name], dice)}
    if isinstance(document, list) and document and dice.random() < 0.85:
        at = dice.randrange(len(document))
        return [*document[:at], _mutated(document[at], dice), *document[at + 1 :]]
    return dice.choice(odd)


BODIES: dict[str, Any] = {
    "/v1/plans": {"type": "train", "name": "n", "tags": ["t"], "spec": train_spec(
        dataset={"sample": "iris", "target": "species", "features": ["petal_width"], "validation": 0.1},
        training={"epochs": 2, "batch_size": 16, "seed": 1, "early_stopping": {"monitor": "val_loss", "patience": 1}},
        metrics=["accuracy"])},
    "/v1/jobs": {"type": "ngram", "spec": {
        "dataset": {"rows": [{"text": "a b"}, {"text": "b a"}], "column": "text"}, "order": 2, "prune": [0, 0],
        "tokenizer": {"kind": "word"}, "smoothing": {"kind": "modified_kneser_ney"}}},
    "/v1/completions": {"model": "tale", "prompt": ["a"], "stop": ["b"], "n": 1, "stream_options": {}},
    "/v1/models/flowers/predict": {"rows": [[1, 2, 3, 4], SETOSA], "top_k": 2},
    "/v1/suggestions": {"model": "tale", "text": "the", "prefix": "c", "k": 2},
    "/v1/models/flowers/versions": {"run": "run_x", "note": "n"},
    "/v1/metrics/query": {"runs": ["run_x"], "names": ["loss"], "max_points": 10, "reduce": "mean"},
    "/v1/scores": {"model": "tale", "text": ["a"]},
}  # fmt: skip


@pytest.mark.parametrize("path", BODIES)
async def test_no_odd_body_is_answered_by_anything_but_a_problem_or_an_answer(tmp_path: Path, path: str) -> None:
    dice = random.Random(path)
    async with serving(tmp_path) as api:
        for name, run_id in (("flowers", await trained(api)), ("tale", await counted(api))):
            assert (await api.http.post(f"/v1/models/{name}/versions", json={"run": run_id})).status_code == 201
        for _ in range(ROUNDS):
            body = _mutated(BODIES[path], dice)
            answer = await api.http.post(path, json=body)
            if answer.status_code >= 400:
                problem(answer, answer.status_code)
            assert answer.status_code < 500, (body, answer.text)
