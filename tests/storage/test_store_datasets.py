"""Data sets: one row per content, kept as long as something refers to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.errors import Conflict, InvalidSpec, NotFound
from service.storage import DatasetRow, Idempotency, Job, Store


def add(store: Store, sha256: str = "a" * 64, **given: Any) -> DatasetRow:
    row: dict[str, Any] = {"name": "iris", "kind": "table", "rows": 150, "bytes": 9, "description": {"columns": []}}
    return store.datasets.add(sha256=sha256, **(row | {"blob": sha256[::-1]} | given))


def test_a_data_set_is_kept_as_given(store: Store) -> None:
    row = add(store, description={"columns": [{"name": "x", "mean": 0.5}], "warnings": ["w"]})
    assert row.id.startswith("ds_")
    assert store.datasets.get(row.id) == row
    assert (row.name, row.kind, row.rows, row.bytes) == ("iris", "table", 150, 9)
    assert row.description == {"columns": [{"name": "x", "mean": 0.5}], "warnings": ["w"]}


def test_the_same_content_is_the_same_data_set(store: Store) -> None:
    row = add(store)
    assert add(store, name="another name") == row
    assert add(store, "b" * 64).id != row.id
    assert len(store.datasets.list().data) == 2
    assert store.datasets.find("a" * 64) == row
    assert store.datasets.find("c" * 64) is None


def test_a_key_used_again_gives_the_same_data_set_or_is_refused(store: Store) -> None:
    row = add(store, idempotency_key=Idempotency("k", "1"))
    assert add(store, idempotency_key=Idempotency("k", "1")) == row
    with pytest.raises(InvalidSpec):
        add(store, "b" * 64, idempotency_key=Idempotency("k", "2"))
    assert len(store.datasets.list().data) == 1


def test_a_key_whose_data_set_was_deleted_makes_no_second_one(store: Store) -> None:
    key = Idempotency("k", "1")
    store.datasets.delete(add(store, idempotency_key=key).id)
    for anew in range(2):
        with pytest.raises(Conflict, match="has been deleted"):
            add(store, idempotency_key=key)
        assert len(store.datasets.list().data) == anew
        add(store)


def test_a_data_set_that_a_job_refers_to_is_not_deleted(store: Store, submit: Callable[..., Job]) -> None:
    row = add(store)
    job = submit(dataset_id=row.id)
    with pytest.raises(Conflict):
        store.datasets.delete(row.id)
    store.jobs.request_stop(job.id, "cancel")
    with pytest.raises(Conflict):
        store.datasets.delete(row.id)
    store.jobs.delete(job.id)
    store.datasets.delete(row.id)
    for verb in (store.datasets.get, store.datasets.delete):
        with pytest.raises(NotFound):
            verb(row.id)


def test_data_sets_are_listed_newest_first_and_filtered(store: Store) -> None:
    rows = [add(store, digit * 64, kind=kind, name=name) for digit, kind, name in ("1ta", "2ia", "3tb", "4tb")]
    assert store.datasets.list().data == tuple(rows[::-1])
    assert store.datasets.list(kind="t", name="b").data == (rows[3], rows[2])
    first = store.datasets.list(limit=3)
    assert (first.data, first.next is None) == (tuple(rows[:0:-1]), False)
    assert store.datasets.list(limit=3, after=first.next).data == (rows[0],)


def test_a_data_set_that_serves_for_validation_alone_is_kept_and_its_user_named(
    store: Store, submit: Callable[..., Job]
) -> None:
    row = add(store)
    job = submit(spec={"dataset": {"validation": {"id": row.id}}})
    with pytest.raises(Conflict, match=job.id):
        store.datasets.delete(row.id)
