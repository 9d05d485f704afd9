"""Splits: decided by seed and row, the same everywhere, nothing lost and nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Dataset, DatasetSpec, outline, prepare, rows_to_dataset
from service.data.split import Ids, Parts, cut, hashed, part_sizes, split_rows, split_sizes, splitmix64
from service.errors import InvalidSpec


def split(ids: Ids, validation: float, test: float, seed: int) -> Parts:
    return cut(ids, hashed(ids, seed), validation, test)


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 0.5), st.floats(0, 0.45), st.integers(0, 2**63 - 1))
def test_every_row_lands_in_exactly_one_part(rows: int, validation: float, test: float, seed: int) -> None:
    parts = split(np.arange(rows), validation, test, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert tuple(map(len, parts)) == part_sizes(rows, validation, test)
    assert all((np.diff(part) > 0).all() for part in parts)


def test_without_fractions_nothing_moves() -> None:
    ids = np.array([3, 5, 9])
    train, validation, test = split(ids, 0.0, 0.0, 7)
    assert train is ids
    assert not len(validation)
    assert not len(test)


def test_the_same_seed_keeps_the_same_rows_aside_and_another_seed_others() -> None:
    ids = np.arange(1000)
    assert split(ids, 0.1, 0.1, 7)[1].tolist() == split(ids, 0.1, 0.1, 7)[1].tolist()
    assert split(ids, 0.1, 0.1, 7)[1].tolist() != split(ids, 0.1, 0.1, 8)[1].tolist()


def test_another_validation_part_leaves_the_test_rows_as_they_are() -> None:
    ids = np.arange(1000)
    assert split(ids, 0.1, 0.2, 7)[2].tolist() == split(ids, 0.3, 0.2, 7)[2].tolist()


@pytest.mark.parametrize(
    ("rows", "validation", "test", "sizes"),
    [
        (4, 0.1, 0.0, (3, 1, 0)),
        (4, 0.1, 0.1, (2, 1, 1)),
        (2, 0.1, 0.1, (1, 0, 1)),
        (1, 0.1, 0.1, (1, 0, 0)),
        (30, 0.01, 0.0, (29, 1, 0)),
        (100, 0.104, 0.0, (90, 10, 0)),
    ],
)
def test_a_part_that_is_asked_for_has_a_row_as_long_as_one_is_left_to_train_on(
    rows: int, validation: float, test: float, sizes: tuple[int, int, int]
) -> None:
    assert part_sizes(rows, validation, test) == sizes


def test_a_part_without_a_row_is_told(tmp_path: Path) -> None:
    dataset, _ = table(tmp_path, rows=2)
    spec = DatasetSpec.model_validate(
        {"id": "ds_x", "target": "n", "features": ["part"], "validation": 0.1, "test": 0.1}
    )
    found = outline(dataset.description, spec, "number")
    assert (found.rows, found.validation_rows, found.test_rows) == (1, 0, 1)
    assert found.warnings == ("the validation part has no row, and no scores: there are too few rows",)


def test_ranks_are_splitmix64() -> None:
    # Reference output of splitmix64 for seed 1234567, from Vigna's C implementation (prng.di.unimi.it/splitmix64.c)
    first = int(splitmix64(np.array([1234567], np.uint64))[0])
    assert first == 6457827717110365317


def table(folder: Path, rows: int = 103) -> tuple[Dataset, list[dict[str, Any]]]:
    """Rows with an unordered date, a part and a class of which one in eight is rare."""
    chance = np.random.default_rng(5)
    days = chance.permutation(rows)
    given = [
        {"day": f"2026-01-{day:03d}", "n": float(day), "part": ["a", "b", "c"][at % 3],
         "kind": "rare" if at % 8 == 0 else "common"}
        for at, day in enumerate(days.tolist())
    ]  # fmt: skip
    rows_to_dataset(given, folder / "table")
    return Dataset.open(folder / "table"), given


def parts(folder: Path, **said: Any) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The rows, and which of them each part has; the sizes told beforehand are those."""
    dataset, given = table(folder)
    spec = DatasetSpec.model_validate({"id": "ds_x", "target": "kind", **said})
    found = [part.tolist() for part in split_rows(dataset, spec, np.arange(dataset.rows))]
    assert sorted([*found[0], *found[1], *found[2]]) == list(range(dataset.rows))
    assert split_sizes(dataset.description, spec, dataset.rows) == tuple(map(len, found))
    return given, found


def test_a_stratified_split_has_the_same_share_of_every_class_in_each_part(tmp_path: Path) -> None:
    given, found = parts(tmp_path, split={"kind": "stratified"}, validation=0.2, test=0.3)
    rare = sum(row["kind"] == "rare" for row in given) / len(given)
    for part in found:
        assert abs(sum(given[at]["kind"] == "rare" for at in part) - rare * len(part)) <= 1


@pytest.mark.parametrize("column", ["day", "n"])
def test_an_ordered_split_trains_on_the_past_and_tests_on_the_future(tmp_path: Path, column: str) -> None:
    given, found = parts(tmp_path, split={"kind": "ordered", "column": column}, validation=0.2, test=0.3)
    train, validation, test = ([given[at]["n"] for at in part] for part in found)
    assert max(train) < min(validation)
    assert max(validation) < min(test)


def test_without_a_column_the_files_own_order_counts(tmp_path: Path) -> None:
    _, found = parts(tmp_path, split={"kind": "ordered"}, validation=0.2, test=0.3)
    assert [*found[0], *found[1], *found[2]] == list(range(103))


def test_a_column_says_where_a_row_belongs_and_is_no_feature(tmp_path: Path) -> None:
    how = {"kind": "by_column", "column": "part", "validation": "b", "test": "c"}
    given, found = parts(tmp_path, split=how)
    assert [{given[at]["part"] for at in part} for part in found] == [{"a"}, {"b"}, {"c"}]
    dataset, _ = table(tmp_path)
    prepared = prepare(dataset, DatasetSpec.model_validate({"id": "ds_x", "target": "kind", "split": how}), "class")
    assert prepared.outline.spec.features is not None
    assert "part" not in prepared.outline.spec.features
    assert prepared.test is not None
    assert prepared.test.rows.tolist() == found[2]


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(2, 12), st.floats(0, 0.5))
def test_the_folds_score_every_row_once_and_leave_the_test_part_alone(rows: int, folds: int, test: float) -> None:
    ids, seen, tested = np.arange(rows), list[int](), set[tuple[int, ...]]()
    for fold in range(folds):
        how = {"kind": "fold", "folds": folds, "fold": fold}
        spec = DatasetSpec.model_validate({"id": "ds_x", "test": test, "split": how})
        train, held, last = split_rows(NO_COLUMNS, spec, ids)
        assert sorted([*train.tolist(), *held.tolist(), *last.tolist()]) == ids.tolist()
        seen += held.tolist()
        tested.add(tuple(last.tolist()))
    assert len(tested) == 1
    assert sorted([*seen, *tested.pop()]) == ids.tolist()


def test_stratified_folds_have_the_same_share_of_every_class_to_a_row(tmp_path: Path) -> None:
    folds = [
        parts(tmp_path, test=0.1, split={"kind": "fold", "folds": 4, "fold": fold, "stratified": True})
        for fold in range(4)
    ]
    given, (_, _, last) = folds[0]
    kinds = [Counter(given[at]["kind"] for at in held) for _, (_, held, _) in folds]
    for kind in kinds[0]:
        counts = [found[kind] for found in kinds]
        assert max(counts) - min(counts) <= 1
    seen = [at for _, (_, held, _) in folds for at in held]
    assert sorted([*seen, *last]) == list(range(len(given))), "every row is held back once, the test part never"


NO_COLUMNS: Any = None


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"split": {"kind": "ordered", "column": "date"}}, "/dataset/split/column"),
        ({"split": {"kind": "by_column", "column": "par"}}, "/dataset/split/column"),
        ({"split": {"kind": "stratified"}, "target": "n"}, "/dataset/split/kind"),
        (
            {"split": {"kind": "fold", "folds": 3, "fold": 1, "stratified": True}, "target": "n"},
            "/dataset/split/stratified",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused_at_its_place(tmp_path: Path, said: dict[str, Any], pointer: str) -> None:
    dataset, _ = table(tmp_path)
    spec = DatasetSpec.model_validate({"id": "ds_x", "target": "kind"} | said)
    with pytest.raises(InvalidSpec) as caught:
        outline(dataset.description, spec, "number" if spec.target == "n" else "class")
    assert pointer in [fault.pointer for fault in caught.value.faults]


@pytest.mark.parametrize(
    "said",
    [
        {"split": {"kind": "fold", "folds": 5, "fold": 5}},
        {"split": {"kind": "fold", "folds": 5, "fold": 1}, "validation": 0.1},
        {"split": {"kind": "by_column", "column": "a", "test": "x"}, "test": 0.1},
    ],
)
def test_a_split_that_contradicts_the_spec_is_no_spec(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"fold|leave"):
        DatasetSpec.model_validate({"id": "ds_x"} | said)
