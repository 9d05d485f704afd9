"""Finding runs: filters, orders by metric, pages."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from service.errors import InvalidSpec, NotFound
from service.storage import Attempt, Job, Run, Store


def external(store: Store, loss: list[float] | None = None, **given: Any) -> str:
    run = store.runs.create_external(**given)
    if loss is not None:
        store.metrics.append(run.id, {"loss": (range(len(loss)), loss)})
    return run.id


def pages(store: Store, limit: int, between: Callable[[], object] = lambda: None, **given: Any) -> list[str]:
    seen: list[str] = []
    after = None
    while True:
        page = store.runs.list(limit=limit, after=after, **given)
        seen += [run.id for run in page.data]
        assert len(page.data) <= limit
        between()
        if page.next is None:
            return seen
        after = page.next


def test_runs_are_listed_newest_first_or_oldest_first(store: Store) -> None:
    made = [external(store) for _ in range(5)]
    assert pages(store, 2) == made[::-1]
    assert pages(store, 2, sort="created_at") == made


def test_runs_are_filtered(store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]) -> None:
    dataset = store.datasets.add(
        name="d", kind="table", rows=1, sha256="a" * 64, blob="b" * 64, bytes=1, description={}
    )
    job = submit(name="n", tags=["t", "u"], dataset_id=dataset.id)
    theirs = external(store, name="n", tags=["u"])
    mine = claim().run_id
    wanted: dict[str, tuple[dict[str, Any], list[str]]] = {
        "status": ({"status": "running"}, [theirs, mine]), "type": ({"type": "train"}, [mine]),
        "tag": ({"tag": "u"}, [theirs, mine]), "other tag": ({"tag": "t"}, [mine]),
        "name": ({"name": "n"}, [theirs, mine]),
        "dataset": ({"dataset_id": dataset.id}, [mine]), "job": ({"job_id": job.id}, [mine]),
        "together": ({"tag": "u", "type": "external"}, [theirs]), "nothing": ({"tag": "v"}, []),
    }  # fmt: skip
    assert {what: [run.id for run in store.runs.list(**given).data] for what, (given, _) in wanted.items()} == {
        what: ids for what, (_, ids) in wanted.items()
    }


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("best.loss", min), ("min.loss", min), ("-min.loss", min), ("max.loss", max), ("-max.loss", max),
        ("-best.loss", min), ("last.loss", lambda loss: loss[-1]), ("-last.loss", lambda loss: loss[-1]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_runs_are_sorted_by_a_metric_and_those_without_it_come_last(
    sort: str, value: Callable[[list[float]], float], limit: int, store: Store
) -> None:
    rng = random.Random(1)
    losses = {}
    for place in range(12):
        loss = None if place % 4 == 0 else [rng.choice([0.5, 1.5, 2.5, 3.5]) for _ in range(3)]
        losses[external(store, loss)] = loss
    newest_first = list(losses)[::-1]
    with_it = [run_id for run_id in newest_first if losses[run_id] is not None]
    sign = -1 if sort.startswith("-") else 1
    expected = sorted(with_it[:: sign * -1], key=lambda run_id: sign * value(losses[run_id] or []))
    expected += [run_id for run_id in newest_first if losses[run_id] is None]
    assert pages(store, limit, sort=sort) == expected


def test_the_best_is_the_same_end_of_a_metric_whichever_way_runs_are_sorted(store: Store) -> None:
    ids = [external(store) for _ in range(2)]
    for run_id, values in zip(ids, ([0.9, 0.1], [0.6, 0.5]), strict=True):  # best 0.9 and 0.6
        store.metrics.append(run_id, {"val_accuracy": ([1, 2], values)})
    assert [run.id for run in store.runs.list(sort="best.val_accuracy").data] == ids[::-1]
    assert [run.id for run in store.runs.list(sort="-best.val_accuracy").data] == ids


def test_filters_and_an_order_by_metric_go_together(store: Store) -> None:
    a, b, c = (external(store, [loss], tags=tags) for loss, tags in ((3.0, ["x"]), (1.0, []), (2.0, ["x"])))
    assert [run.id for run in store.runs.list(sort="best.loss", tag="x").data] == [c, a]
    assert [run.id for run in store.runs.list(sort="best.loss").data] == [b, c, a]


@pytest.mark.parametrize("sort", ["-created_at", "-best.loss", "best.loss"])
def test_pages_never_repeat_or_miss_a_run_while_runs_come_in(sort: str, store: Store) -> None:
    rng = random.Random(2)
    made = [external(store, [rng.random()] if rng.random() < 0.7 else None) for _ in range(25)]
    seen = pages(store, 4, lambda: external(store, [rng.random()]), sort=sort)
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)


@pytest.mark.parametrize("sort", ["", "-", "loss", "best", "best.", "sum.loss", "created_at.x", "-notes", "best.loss;"])
def test_an_unknown_order_is_refused_or_finds_no_such_metric(sort: str, store: Store) -> None:
    external(store, [1.0])
    if sort == "best.loss;":
        assert len(store.runs.list(sort=sort).data) == 1
        return
    with pytest.raises(InvalidSpec) as error:
        store.runs.list(sort=sort)
    assert error.value.faults[0].code == "unknown_sort"


def test_the_cursor_of_another_order_is_refused(store: Store) -> None:
    for _ in range(3):
        external(store, [1.0])
    for sort, other in (
        ("-created_at", "best.loss"), ("best.loss", "-best.loss"), ("best.loss", "best.norm"), ("name", "-created_at"),
    ):  # fmt: skip
        cursor = store.runs.list(limit=1, sort=sort).next
        assert len(store.runs.list(sort=sort, after=cursor).data) == 2
        with pytest.raises(InvalidSpec):
            store.runs.list(sort=other, after=cursor)


def test_a_list_leaves_out_the_reports_and_nothing_else(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]
) -> None:
    submit()
    run = store.runs.finish(claim(), "succeeded", report={"confusion": [[1]]}, receipt={"a": 1})
    (listed,) = store.runs.list().data
    assert listed.report == {}
    assert run.report == {"confusion": [[1]]}
    assert [field for field in Run.__dataclass_fields__ if getattr(listed, field) != getattr(run, field)] == ["report"]


def test_a_run_is_patched_and_found_by_its_new_tags(store: Store) -> None:
    run_id = external(store, tags=["old"], name="n")
    run = store.runs.patch(run_id, tags=["new", "new"], notes="worth a look")
    assert (run.tags, run.notes, run.name) == (("new",), "worth a look", "n")
    assert [each.id for each in store.runs.list(tag="new").data] == [run_id]
    assert store.runs.list(tag="old").data == ()
    assert store.runs.patch(run_id, tags=[], name="m").tags == ()
    with pytest.raises(NotFound):
        store.runs.patch("run_none", notes="x")
