"""The filter language: it finds what MLflow's would, says where a fault is, and pages stay right."""

from __future__ import annotations

import math
import random
import re
from contextlib import suppress
from typing import Any

import pytest

from service.errors import InvalidSpec
from service.storage import Store, run_list
from service.storage.bound import bound
from service.storage.clause import Clause
from service.storage.filter import parse

RUNS: list[dict[str, Any]] = [
    {"name": "a", "spec": {"optimizer": {"kind": "adam", "rate": 0.1}}, "tags": ["team=x", "demo"],
     "loss": [3.0, 1.0, 2.0]},
    {"name": "B", "spec": {"optimizer": {"kind": "sgd", "rate": 0.01}}, "tags": ["team=y"], "loss": [2.0, 0.5]},
    {"name": "c%", "spec": {"optimizer": {"kind": "Adam", "rate": 1}}, "tags": ["teams=x"], "loss": [1.0, math.nan]},
    {"name": None, "spec": {"optimizer": {"kind": "adamw"}, "note": "it's"}, "tags": [], "loss": []},
    {"name": "e", "spec": {"rate": "high"}, "tags": ["team=x=y", "mlflow.user=me"], "loss": [math.inf]},
]  # fmt: skip


@pytest.fixture
def filled(store: Store) -> Store:
    """The runs above; e has failed, c% has succeeded."""
    for each in RUNS:
        run = store.runs.create_external(name=each["name"], spec=each["spec"], tags=each["tags"])
        if each["loss"]:
            store.metrics.append(run.id, {"val loss": (range(len(each["loss"])), each["loss"])})
        for name, status in (("e", "failed"), ("c%", "succeeded")):
            if each["name"] == name:
                store.runs.end_external(run.id, status)  # type: ignore[arg-type]
    return store


FOUND: dict[str, str] = {
    "": "-ecBa", "  ": "-ecBa", "metrics.`val loss` > 0.5": "ea", 'metric."val loss" <= 2': "Ba",
    "metrics.`val loss` != 2": "eB", "last.`val loss` = 2": "a", "first.`val loss` = 1.0": "c",
    "min.`val loss` < 1": "B",
    "max.`val loss` >= 2e0": "Ba", "best.`val loss` = 1": "ca",
    "metrics.other < 1": "",
    "params.optimizer = 'adam'": "a", "params.optimizer != 'adam'": "-cB", "param.optimizer.kind LIKE 'ad%'": "-a",
    "parameters.`optimizer` ILIKE 'AD%'": "-ca", "params.optimizer LIKE 'a_am'": "a",
    "spec.optimizer.rate > 0.05": "ca",
    "params.optimizer.rate = 1": "c", "params.optimizer.rate = '1'": "c", "params.optimizer.rate = '1.0'": "",
    "params.optimizer IN ('sgd', 'adamw')": "-B", "params.optimizer not in ('sgd','adamw')": "ca",
    "params.note = 'it''s'": "-", 'params.note = "it\'s"': "-", "params.optimizer IS NULL": "e",
    "params.optimizer.rate is not null": "cBa", "params.rate = 'high'": "e",
    "tags.team = 'x'": "a", "tag.team != 'x'": "eB", "tags.team LIKE 'x%'": "ea", "tags.`team` IN ('x', 'y')": "Ba",
    "tags.demo = ''": "a", "tags.demo IS NOT NULL": "a", "tags.team IS NULL": "-c", "tags.mlflow.user = 'me'": "e",
    "user_id = 'me'": "e", "tags.mlflow.runName = 'a'": "a", "tags.mlflow.runName IS NULL": "-",
    "attributes.status = 'FINISHED'": "c", "status = 'succeeded'": "c", "run.status != 'RUNNING'": "ec",
    "attr.status IN ('FAILED', 'RUNNING')": "-eBa", "status like 'F%'": "ec", "status ilike 'run%'": "-Ba",
    "run_name = 'a'": "a", "attributes.`Run name` LIKE 'B'": "B", "run_name ilike 'b'": "B", "run_name = 'c%'": "c",
    "start_time > 0": "-ecBa", "attributes.created < 1": "", "end_time > 0": "ec", "dataset.name = 'x'": "",
    "type = 'external' AND status = 'RUNNING' and tags.team = 'y'": "B",
    "params.optimizer = 'adam' and\n metrics.`val loss` > 3": "",
}  # fmt: skip


@pytest.mark.parametrize(("few", "some"), [(200, 5_000), (0, 5_000), (0, 1), (-1, -1)])
def test_a_filter_finds_what_it_says_however_many_runs_there_are(
    filled: Store, few: int, some: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are looked up, or their order is walked with a list, or without one."""
    monkeypatch.setattr(run_list, "_FEW", few)
    monkeypatch.setattr(run_list, "_SOME", some)
    sorts = ("-created_at", "best.val loss", "-spec.optimizer.rate", "spec.optimizer", "name", "-started_at")
    for place, sort in enumerate(sorts):
        whole = "".join((run.name or "-")[0] for run in filled.runs.list(sort=sort).data)
        assert sorted(whole) == sorted("-ecBa")
        for text, names in list(FOUND.items())[place :: len(sorts) if few != 0 else 3]:
            found = "".join((run.name or "-")[0] for run in filled.runs.list(filter=text, sort=sort).data)
            assert found == "".join(each for each in whole if each in names), (text, sort)


def test_runs_are_sorted_by_fields_of_their_specs(filled: Store) -> None:
    def names(sort: str) -> str:
        return "".join((run.name or "-")[0] for run in filled.runs.list(sort=sort).data)

    assert names("spec.optimizer.rate") == "Bac" + "e-"
    assert names("-spec.optimizer.rate") == "caB" + "e-"
    assert names("spec.optimizer") == "ca-Be"
    assert names("-name") == "ecaB-"
    assert names("first.val loss") == "cBae-"


def test_bounds_find_what_they_say(filled: Store) -> None:
    def names(**given: list[str]) -> str:
        return "".join((run.name or "-")[0] for run in filled.runs.list(**given).data)  # type: ignore[arg-type]

    assert names(metrics=["val loss>0.5", "best.val loss<=1"]) == "a"
    assert names(specs=["optimizer=adam"]) == "a"
    assert names(specs=["optimizer.rate>=0.1", "optimizer!=adam"]) == "c"
    assert bound("a.b=c=d", "param", "") == Clause("param", "a.b", "=", "c=d")
    for text in ("", "loss", "loss>", "loss>x", ">1", "best.unknown>1", "loss==1"):
        with pytest.raises(InvalidSpec):
            bound(text, "metric", "/query/metric")
    for text in ("optimizer>adam", "optimizer==adam", "optimizer<>adam"):
        with pytest.raises(InvalidSpec):
            bound(text, "param", "/query/spec")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("loss > 1", [(1, "unknown_attribute")]), ("metrics.loss", [(13, "expected_operator")]),
        ("metrics.loss >", [(15, "expected_value")]), ("metrics.loss > abc", [(16, "expected_value")]),
        ("metrics.loss == 1", [(14, "expected_operator")]), ("metric.loss > '1'", [(13, "wrong_type")]),
        ("metrics.loss like 1", [(14, "wrong_operator")]), ("metrics. > 1", [(9, "expected_key")]),
        ("metrix.loss > 1", [(1, "unknown_entity")]), ("status = 'DONE'", [(8, "unknown_status")]),
        ("tags.team > 'a'", [(11, "wrong_operator")]), ("tags.team = 5", [(11, "wrong_type")]),
        ("metrics.loss > 1 or metrics.loss < 0", [(18, "expected_and")]), ("status in ()", [(11, "expected_list")]),
        ("status IN ('a'", [(11, "expected_list")]), ("metrics.loss > 1 and", [(21, "expected_name")]),
        ("best.thing > 1", [(1, "no_direction")]), ("start_time = 'x'", [(12, "wrong_type")]),
        ("datasets.size = 'x'", [(1, "unknown_key")]), ("tags.a = 'unfinished", [(10, "expected_value")]),
        ("a = 1 and 'x and y' = 2 and metrics.b > 1 and c = 3",
         [(1, "unknown_attribute"), (11, "expected_name"), (47, "unknown_attribute")]),
    ],
)  # fmt: skip
def test_every_fault_is_told_with_its_place(text: str, told: list[tuple[int, str]]) -> None:
    with pytest.raises(InvalidSpec) as error:
        parse(text)
    found = [re.match(r"at character (\d+): \S", fault.message) for fault in error.value.faults]
    assert [
        (int(each.group(1)), fault.code) for each, fault in zip(found, error.value.faults, strict=True) if each
    ] == told


def test_hints_say_what_was_meant() -> None:
    wanted = {"metrix.a > 1": "metric", "statu = 'x'": "status", "status = 'FINISH'": "FINISHED", "tags.a = b": "'b'",
              "metrics.a == 1": "=", "tags.a = 'b": "twice",
              "metrics.a > 1 or status = 'x'": "in ('a', 'b')"}  # fmt: skip
    for text, word in wanted.items():
        with pytest.raises(InvalidSpec) as error:
            parse(text)
        assert word in (error.value.faults[0].hint or ""), text


def test_a_filter_has_its_limits() -> None:
    for text in ("metrics.a > 1" + " " * 4_000, " and ".join(["metrics.a > 1"] * 51)):
        with pytest.raises(InvalidSpec):
            parse(text)
    assert len(parse(" and ".join(["metrics.a > 1"] * 50))) == 50


def test_what_a_filter_says_never_becomes_sql(filled: Store) -> None:
    for evil in ("x' OR '1'='1", "'; DROP TABLE runs; --", "%", "\\", '"', "`"):
        quoted = evil.replace("'", "''")
        for text in (f"params.a = '{quoted}'", f"tags.`{evil.replace('`', '``')}` = 'a'", f"run_name = '{quoted}'"):
            assert filled.runs.list(filter=text).data == ()
    with suppress(InvalidSpec):  # PostgreSQL has no such text
        assert filled.runs.list(filter="params.a = '\x00'").data == ()
    assert len(filled.runs.list().data) == 5


def test_pages_of_a_filtered_order_never_repeat_or_miss_a_run_while_runs_come_in(store: Store) -> None:
    rng, made = random.Random(3), []

    def external() -> str:
        run = store.runs.create_external(spec={"rate": rng.choice([0.1, 0.2, 0.3])}, tags=[rng.choice(["a", "b"])])
        if rng.random() < 0.8:
            store.metrics.append(run.id, {"loss": ([1], [rng.choice([1.0, 2.0, 3.0])])})
        return run.id

    made = [external() for _ in range(30)]
    for sort in ("-best.loss", "spec.rate", "-created_at"):
        for given in ({"filter": "tags.a is not null and params.rate > 0.15"}, {"tag": "a", "specs": ["rate>0.15"]}):
            there = [run.id for run in store.runs.list(limit=1000, **given).data]
            seen, after = [], None
            while True:
                page = store.runs.list(sort=sort, limit=7, after=after, **given)
                seen += [run.id for run in page.data]
                external()
                after = page.next
                if after is None:
                    break
            assert len(seen) == len(set(seen))
            assert set(there) <= set(seen)
    assert len(made) == 30


MLFLOW = (
    "metrics.loss > 0.5", "metric.`val loss` <= 2", 'metrics."val loss" != 1e-3', "metrics.`m/x` >= -1.5",
    "params.optimizer = 'adam'", "param.`a b` LIKE 'ad%'", 'parameters."a" ILIKE "x"',
    "params.a != 'b' and tags.c = 'd'",
    "params.optimizer.kind = 'sgd' AND metrics.loss < 3", "tags.mlflow.source.type = 'LOCAL'", "tags.a IS NULL",
    "params.b is not null", "attributes.status = 'FINISHED'", "status != 'RUNNING'", "attribute.run_id IN ('a','b')",
    "run_id NOT IN ('a')", "run_name LIKE 'x%'", "attributes.`Run name` = 'x'", "attr.created > 5", "start_time <= 10",
    "attributes.end_time < 1", "datasets.name = 'x'", "dataset.digest LIKE 'a%'", "user_id = 'me'",
)  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("text", MLFLOW)
def test_a_filter_is_read_as_mlflow_reads_it(text: str) -> None:
    utils = pytest.importorskip("mlflow.utils.search_utils").SearchUtils
    theirs = [
        (each["type"], utils.translate_key_alias(each["key"]), each["comparator"].upper(), each["value"])
        for each in utils.parse_search_filter(text)
    ]
    ours = [(each.entity, each.key, each.operator, each.value) for each in parse(text)]
    for (entity, *mine), (kind, *other) in zip(ours, theirs, strict=True):
        value = float(other[-1]) if isinstance(mine[-1], float) else other[-1]
        assert [{"param": "parameter"}.get(entity, entity), *mine] == [kind, *other[:-1], value]
