"""The registry: loads once, follows aliases, forgets by bytes, serves many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_models import opened, points_model, publish, text_model

from service.errors import Conflict, InvalidSpec, NotFound
from service.serving import Registry, predict
from service.storage import Store

LEFT, RIGHT = np.array([[9.0, 9.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [9.0, 9.0]])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def test_a_model_is_loaded_once_whatever_it_is_called(tmp_path: Path, store: Store) -> None:
    run_id = publish(store, points_model(tmp_path, LEFT))
    store.models.add_version("sides", run_id)
    store.models.set_alias("sides", "live", 1)
    registry = Registry(store, 1_000_000)
    found = [registry.get(ref) for ref in (run_id, f"{run_id}@latest", "sides", "sides:1", "sides@live")]
    assert len({id(each.model) for each in found}) == 1
    assert len(registry) == 1
    assert [each.id for each in found] == [run_id, run_id, "sides:1", "sides:1", "sides:1"]


def test_an_alias_that_moves_is_followed_by_the_next_request(tmp_path: Path, store: Store) -> None:
    for weights in (LEFT, RIGHT):
        store.models.add_version("sides", publish(store, points_model(tmp_path, weights)))
    registry = Registry(store, 1_000_000)
    for version, label in ((1, "left"), (2, "right"), (1, "left")):
        store.models.set_alias("sides", "live", version)
        served = registry.get("sides@live")
        assert served.id == f"sides:{version}"
        assert predict(served, [[1.0, 1.0]])[0]["label"] == label


def test_what_is_not_there_is_told(tmp_path: Path, store: Store) -> None:
    registry = Registry(store, 1_000_000)
    for ref in ("nothing", "nothing:1", "nothing@live", "run_nothing", "run_nothing@best", "sides:x"):
        with pytest.raises(NotFound):
            registry.get(ref)
    queued = store.jobs.submit(type="train", spec={}).run_ids[0]
    with pytest.raises(Conflict):
        registry.get(queued)


def test_a_network_takes_no_text_and_a_text_model_no_rows(tmp_path: Path, store: Store) -> None:
    registry = Registry(store, 1_000_000)
    network = registry.get(publish(store, points_model(tmp_path, LEFT)))
    text = registry.get(publish(store, text_model("a b\n" * 5), "ngram"))
    with pytest.raises(InvalidSpec, match="takes rows"):
        network.text()
    with pytest.raises(InvalidSpec, match="text model"):
        predict(text, [[1.0, 2.0]])


def test_models_are_let_go_by_bytes_and_the_least_used_first(tmp_path: Path, store: Store) -> None:
    runs = [publish(store, points_model(tmp_path, LEFT + i)) for i in range(4)]
    size = Registry(store, 0).get(runs[0]).bytes
    registry = Registry(store, 2 * size)
    first = registry.get(runs[0])
    registry.get(runs[1])
    assert registry.get(runs[0]).model is first.model  # used again: the other one goes first
    registry.get(runs[2])
    assert (len(registry), registry.bytes) == (2, 2 * size)
    assert registry.get(runs[0]).model is first.model
    registry.get(runs[1])
    registry.get(runs[3])
    assert registry.get(runs[0]).model is not first.model


def test_many_small_models_stay_where_one_large_one_must_go(tmp_path: Path, store: Store) -> None:
    small = [publish(store, points_model(tmp_path, LEFT + i)) for i in range(30)]
    size = Registry(store, 0).get(small[0]).bytes
    registry = Registry(store, 31 * size)
    for run_id in small:
        registry.get(run_id)
    assert (len(registry), registry.bytes) == (30, 30 * size)
    registry.get(publish(store, text_model("a b c d e f g\n" * 50, order=3), "ngram"))  # as large as many of them
    assert len(registry) < 20
    assert registry.bytes <= 31 * size or len(registry) == 1


def test_the_memory_that_a_model_works_in_counts(tmp_path: Path, store: Store) -> None:
    runs = [publish(store, points_model(tmp_path, LEFT + i)) for i in range(3)]
    registry = Registry(store, 10_000)
    busy = registry.get(runs[0])
    alone = registry.bytes
    predict(busy, [[1.0, 2.0]] * 256)
    assert registry.bytes > alone + 256 * 2 * 4
    registry.get(runs[1])
    registry.get(runs[2])
    assert registry.get(runs[0]).model is not busy.model
    assert busy.rows().network(np.ones((1, 2), np.float32)).shape == (1, 2)  # whoever holds it goes on


def test_a_file_that_is_gone_is_not_remembered(tmp_path: Path, store: Store) -> None:
    run_id = publish(store, points_model(tmp_path, LEFT))
    path = store.blobs.path(store.models.resolve(run_id).blob)
    content = path.read_bytes()
    path.unlink()
    registry = Registry(store, 1_000_000)
    with pytest.raises(NotFound):
        registry.get(run_id)
    path.write_bytes(content)
    assert registry.get(run_id).id == run_id


def test_many_threads_get_one_model_and_the_same_answers(tmp_path: Path, store: Store) -> None:
    run_id = publish(store, points_model(tmp_path, np.eye(2)))
    registry = Registry(store, 1_000_000)
    rows = np.random.default_rng(0).normal(size=(200, 2)).tolist()
    alone = predict(Registry(store, 1_000_000).get(run_id), rows)
    answers: list[object] = []
    models = set()
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        served = registry.get(run_id)
        models.add(id(served.model))
        answers.extend(predict(served, rows) == alone for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 1
    assert answers == [True] * 160
