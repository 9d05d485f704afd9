"""Finding the best of many runs: filtered and sorted, in 10,000 and in 100,000 runs with their specs and metrics."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import insert

from service import storage
from service.storage import Store, params
from service.storage.tables import run_params, run_tags, runs, series

pytestmark = pytest.mark.benchmark
METRICS = [f"{part}_{what}" for part in ("train", "val", "test", "batch") for what in ("loss", "accuracy")]
CHUNK = 5_000
LIMITS = [(10_000, 0.010), (100_000, 0.030)]
QUESTIONS: dict[str, dict[str, Any]] = {
    "newest": {}, "best": {"sort": "-best.val_accuracy"}, "last": {"sort": "-last.val_loss"},
    "best of succeeded": {"sort": "-best.val_accuracy", "status": "succeeded"},
    "best of failed": {"sort": "-best.val_accuracy", "status": "failed"},
    "best of a tag": {"sort": "best.val_loss", "tag": "team=7"},
    "best with adam": {"sort": "-best.val_accuracy", "specs": ["optimizer=adam"]},
    "best with a bound": {"sort": "-best.val_accuracy", "metrics": ["val_loss<0.2"]},
    "by a field": {"sort": "spec.optimizer.learning_rate", "filter": "metrics.val_accuracy > 0.5"},
    "filter, common": {
        "sort": "-best.val_accuracy",
        "filter": "metrics.val_accuracy > 0.5 and params.optimizer = 'adam' and attributes.status = 'FINISHED'",
    },
    "filter, rare": {"sort": "-best.val_accuracy", "filter": "metrics.val_accuracy > 0.99 and tags.team = '7'"},
    "filter, one": {"sort": "best.val_loss", "filter": "params.training.seed = 77"},
}  # fmt: skip


def filled(folder: Path, count: int) -> Store:
    """Runs with eight metrics and a dozen parameters each, as after months of use."""
    store, rng = storage.open(f"sqlite:///{folder / 'store.db'}", folder), random.Random(0)
    indexes = series.indexes | run_params.indexes
    with store._database.write() as connection:  # made anew behind the rows, which is faster
        for index in indexes:
            index.drop(connection)
    for start in range(1, count + 1, CHUNK):
        keys = range(start, min(start + CHUNK, count + 1))
        specs = {key: spec(rng, key) for key in keys}
        rows = [
            {"key": key, "id": f"run_{key}", "type": "train", "status": rng.choice(["succeeded"] * 9 + ["failed"]),
             "urgency": 0, "place": key, "token": 1, "attempt": 1, "losses": 0, "cpus": 1, "memory_bytes": 0,
             "revision": 1, "step": 5, "created_at": key, "notes": "", "tags": [f"team={key % 100}"],
             "spec": specs[key], "report": {}}
            for key in keys
        ]  # fmt: skip
        values = [
            {"run_key": key, "name": name, "n": 5, "nonfinite": 0, "first_step": 1, "last_step": 5, "min_step": 1,
             "max_step": 5, "first": 0.5, "last": rng.random(), "min": rng.random() / 2, "max": rng.random(),
             "sum": 1.0, "tail_n": 5, "tail": bytes(120)}
            for key in keys for name in METRICS
        ]  # fmt: skip
        fields = [
            {"run_key": key, "name": name, "text": text, "number": params.number(text)}
            for key in keys
            for name, text in params.params(specs[key]).items()
        ]
        with store._database.write() as connection:
            connection.execute(insert(runs), rows)
            connection.execute(insert(series), values)
            connection.execute(insert(run_tags), [{"tag": f"team={key % 100}", "run_key": key} for key in keys])
            connection.execute(insert(run_params), fields)
    with store._database.write() as connection:
        for index in indexes:
            index.create(connection)
    return store


def spec(rng: random.Random, seed: int) -> dict[str, Any]:
    optimizer = {"kind": rng.choice(["adam", "sgd", "rmsprop"]), "learning_rate": rng.choice([0.1, 0.01, 0.001])}
    layers = [{"kind": "dense", "units": rng.choice([32, 64, 128])}] * 2
    return {"network": {"layers": layers}, "optimizer": optimizer, "training": {"epochs": 5, "seed": seed}}


@pytest.fixture(scope="module", params=LIMITS, ids=lambda limit: f"{limit[0]}")
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, int, float]]:
    count, limit_s = request.param
    store = filled(tmp_path_factory.mktemp("many"), count)
    yield store, count, limit_s
    store.close()


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_page_of_many_runs(many: tuple[Store, int, float], what: str) -> None:
    store, count, limit_s = many
    taken = []
    for place in range(12):
        start = time.perf_counter()
        page = store.runs.list(**QUESTIONS[what])
        taken.append(time.perf_counter() - start)
        assert len(page.data) == (1 if what == "filter, one" else min(20, len(page.data)))
        assert place or page.data
    p50 = median(taken[1:])
    print(f"\n{count:>7,} runs, {what:20} p50 {p50 * 1e3:6.2f} ms (limit {limit_s * 1e3:.0f})", end="")
    assert p50 <= limit_s
