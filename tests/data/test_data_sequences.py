"""Rows of unequal length: read, described, scaled by their real steps, padded, and told what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Preprocessor, Upload, Wishes, apply, histograms, prepare, read
from service.data import rows_to_dataset as written
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]

RANDOM = np.random.default_rng(7)
LENGTHS = [3, 1, 5, 2, 4, 3, 1, 2, 5, 4]
ROWS: list[Any] = [
    {"trace": (RANDOM.normal((5, -300), (2, 40), (length, 2))).tolist(), "label": "ab"[at % 2], "load": at / 3}
    for at, length in enumerate(LENGTHS)
]


def lines(rows: list[Any]) -> str:
    return "\n".join(map(json.dumps, rows))


@pytest.fixture
def traces(tmp_path: Path) -> Dataset:
    written(ROWS, tmp_path / "traces")
    return Dataset.open(tmp_path / "traces")


def spec(**more: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({"rows": ROWS, "features": ["trace"], "target": "label"} | more)


def test_lists_of_unequal_length_are_a_sequence_that_comes_back_as_sent(load: Load) -> None:
    data = load(a__jsonl=lines(ROWS))
    column = data.description.columns[0]
    assert (data.description.kind, column.type, column.dtype, column.shape) == (
        "sequence",
        "sequence",
        "float64",
        [5, 2],
    )
    assert column.lengths is not None
    assert column.lengths.model_dump() == {"shortest": 1, "longest": 5, "median": 3, "steps": 30, "features": 2}
    assert data.description.warnings == ["column 'trace' holds sequences: rows of 1 to 5 steps, 3 at the median"]
    assert data.preview() == ROWS
    assert (histograms(data, 4)["trace"].rows, sum(histograms(data, 4)["trace"].counts)) == (10, 60)


def test_a_vector_with_a_number_too_few_is_asked_about(load: Load) -> None:
    data = load(a__jsonl=lines([*[{"v": [1, 2, 3]}] * 11, {"v": [1, 2]}]))
    assert data.description.warnings == [
        "column 'v' holds sequences: rows of 2 to 3 steps, 3 at the median; 1 of 12 rows have not 3: is that meant?"
    ]


def test_flat_lists_and_pieces_of_other_lengths_are_one_column(load: Load) -> None:
    data = load(a__jsonl=lines([{"s": [1, 2]}, {"s": [3, 4]}]), b__jsonl=lines([{"s": [5, 6, 7]}, {"s": [0, 1, 2]}]))
    assert data.preview() == [{"s": [1, 2]}, {"s": [3, 4]}, {"s": [5, 6, 7]}, {"s": [0, 1, 2]}]
    assert (data.description.columns[0].dtype, data.description.columns[0].max) == ("int32", 7)


def test_rows_of_one_length_are_sequences_when_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(lines([{"s": [1, 2], "n": 1}, {"s": [3, 4], "n": 2}]))
    upload = [Upload("rows.jsonl", tmp_path / "rows")]
    column = read(upload, tmp_path / "parsed", wishes=Wishes({"s": "sequence"})).description.columns[0]
    assert (column.type, column.shape, column.lengths and column.lengths.shortest) == ("sequence", [2], 2)
    assert read(upload, tmp_path / "parsed").description.columns[0].type == "array"
    with pytest.raises(InvalidData, match="'n' holds no sequences"):
        read(upload, tmp_path / "parsed", wishes=Wishes({"n": "sequence"}))


def test_a_file_without_sequences_is_written_as_before_there_were_any(load: Load, tmp_path: Path) -> None:
    load(a__jsonl=lines([{"s": [1, 2]}]))
    (parsed,) = tmp_path.glob("parsed-*")
    assert b"lengths" not in parsed.read_bytes()


def test_every_fault_of_a_file_is_told_at_its_row_step_and_number(load: Load) -> None:
    wrong = [[[1, 2], [None, 3]], [], None, [[1, 2, 3]], [["x", 2]], [3], [[1, True]], "a", [[10**400, 1]], [[1, 2]]]
    with pytest.raises(InvalidData) as caught:
        load(
            format="jsonl", a__jsonl=lines([{"s": each} for each in wrong]), b__jsonl=lines([{"s": [[4], [5, 6]]}] * 2)
        )
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        ("/rows/0/s/1/0", "not_a_number"), ("/rows/1/s", "empty_sequence"), ("/rows/2/s", "not_a_list"),
        ("/rows/3/s/0", "ragged_step"), ("/rows/4/s/0/0", "not_a_number"), ("/rows/5/s/0", "not_a_step"),
        ("/rows/6/s/0/1", "not_a_number"), ("/rows/7/s", "not_a_list"), ("/rows/8/s/0/0", "out_of_range"),
        ("/rows/10/s/1", "ragged_step"), ("/rows/11/s/1", "ragged_step"),
    ]  # fmt: skip
    assert caught.value.faults[0].message == "row 1, column 's', step 2, number 1: expected a number, got null"


def test_steps_are_scaled_by_the_training_part_without_its_padding(traces: Dataset) -> None:
    prepared = prepare(traces, spec(validation=0.3), "class")
    part, held = prepared.train, prepared.validation
    assert held is not None
    assert part.lengths is not None
    real = np.concatenate([ROWS[row]["trace"] for row in part.rows])
    for x, lengths, rows in ((part.x, part.lengths, part.rows), (held.x, held.lengths, held.rows)):
        assert lengths is not None
        for row, length, padded in zip(rows, lengths, x, strict=True):
            assert length == LENGTHS[row]
            np.testing.assert_allclose(
                padded[:length], (np.array(ROWS[row]["trace"]) - real.mean(0)) / real.std(0), rtol=1e-5, atol=1e-6
            )
            assert not padded[length:].any()


def test_numbers_folds_and_a_longer_validation_set_are_prepared(traces: Dataset, tmp_path: Path) -> None:
    fold = prepare(traces, spec(target="load", split={"kind": "fold", "folds": 5, "fold": 1}), "number")
    assert fold.validation is not None
    assert (fold.train.y.shape, len(fold.validation.x), fold.outline.layout.timed) == ((8, 1), 2, True)
    written([{"trace": [[0.5, 1.0]] * 7, "label": "a"}] * 3, tmp_path / "longer")
    longer = Dataset.open(tmp_path / "longer")
    prepared = prepare(traces, spec(validation={"id": "ds_" + "0" * 21}), "class", validation=longer)
    assert prepared.validation is not None
    assert (prepared.outline.shape, prepared.train.x.shape, prepared.validation.x.shape) == (
        (7, 2),
        (10, 7, 2),
        (3, 7, 2),
    )
    assert "rows are padded to the longest, 7 steps, and 57% of all steps are padding" in prepared.warnings[0]


def test_whole_numbers_taken_as_they_are_are_ids_of_a_vocabulary(tmp_path: Path) -> None:
    rows: list[Any] = [{"ids": [3, 1], "label": "a"}, {"ids": [2, 0, 4], "label": "b"}]
    written(rows, tmp_path / "ids")
    prepared = prepare(Dataset.open(tmp_path / "ids"), DatasetSpec(rows=rows, preprocess="none"), "class")
    assert (prepared.outline.vocabulary, prepared.train.x.dtype.name) == (5, "int32")
    assert prepared.train.x.tolist() == [[3, 1, 0], [2, 0, 4]]
    with pytest.raises(InvalidData) as caught:
        prepared.table.rows([[4], [0, 5], [-1], [1.5]])
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/1", "/rows/2", "/rows/3"]
    assert "expected whole numbers from 0 to 4" in caught.value.faults[0].message


def test_what_cannot_be_learned_is_refused_at_its_place(traces: Dataset) -> None:
    faults = []
    for wrong in ({"features": ["load", "trace"]}, {"features": ["load"], "target": "trace"}):
        with pytest.raises(InvalidSpec) as caught:
            prepare(traces, spec(**wrong), "class")
        faults += [(fault.pointer, fault.code, fault.hint) for fault in caught.value.faults]
    assert faults == [
        ("/dataset/features/0", "not_a_sequence", "leave it out, or put it into every step"),
        ("/dataset/target", "not_a_target", 'name the column to learn: "target": "..." of the dataset'),
    ]
    assert prepare(traces, spec(features=None), "class").warnings == (
        "columns beside sequences are not learned from: 'load'",
    )


def split(rows: list[Any]) -> list[Any]:
    """The same numbers as two columns, one a list of lists."""
    return [
        {
            "left": [step[0] for step in row["trace"]],
            "right": [step[1:] for step in row["trace"]],
            "label": row["label"],
        }
        for row in rows
    ]


def test_columns_that_are_equally_long_lie_side_by_side(traces: Dataset, tmp_path: Path) -> None:
    whole, rows = prepare(traces, spec(), "class"), split(ROWS)
    written(rows, tmp_path / "split")
    dataset = Dataset.open(tmp_path / "split")
    apart = prepare(dataset, spec(features=None), "class")
    assert np.array_equal(apart.train.x, whole.train.x)
    known = Preprocessor.from_json(json.loads(json.dumps(apart.table.to_json())))
    assert [each["shape"] for each in known.features] == [[-1], [-1, 1]]
    for sent in (rows, [[row["left"], row["right"]] for row in rows]):
        assert all(map(np.array_equal, known.rows(sent), whole.table.rows(ROWS)))
    x = np.array([ROWS[0]["trace"]])
    assert np.array_equal(known.array(x)[0], whole.table.array(x)[0])
    assert all(map(np.array_equal, apply(dataset, known).x(np.arange(10)), known.rows(rows)))
    assert known.encoder.shares(np.ones((3, 2))) == {"left": [1.0] * 3, "right": [[1.0]] * 3}


def test_columns_that_are_not_equally_long_are_refused_by_row(tmp_path: Path) -> None:
    rows = split(ROWS)
    rows[2], rows[5] = rows[2] | {"left": rows[5]["left"]}, rows[5] | {"left": rows[2]["left"]}
    written(rows, tmp_path / "split")
    with pytest.raises(InvalidData) as told:
        prepare(Dataset.open(tmp_path / "split"), spec(features=None), "class")
    assert [fault.pointer for fault in told.value.faults] == ["/rows/2/right", "/rows/5/right"]
    assert told.value.faults[0].message == "row 3, column 'right': expected 3 steps, as in 'left', got 5"
    written([*split(ROWS), rows[2]], tmp_path / "longer")
    with pytest.raises(InvalidSpec, match="the rows of 'right' are not as long as those of 'left'"):
        prepare(Dataset.open(tmp_path / "longer"), spec(features=None), "class")
    written(split(ROWS), tmp_path / "right")
    known = prepare(Dataset.open(tmp_path / "right"), spec(features=None), "class").table
    with pytest.raises(InvalidData) as told:
        known.rows([rows[0], rows[2], [[1.0], [[1.0], [2.0]]], {"left": [1.0]}, [[1.0], [[None]]]])
    assert [(fault.pointer, fault.code) for fault in told.value.faults] == [
        ("/rows/3/right", "missing_column"), ("/rows/1/right", "other_length"), ("/rows/2/right", "other_length"),
        ("/rows/4/right/0/0", "not_a_number"),
    ]  # fmt: skip


def test_rows_that_are_sent_become_what_training_saw(traces: Dataset) -> None:
    prepared = prepare(traces, spec(), "class")
    known = Preprocessor.from_json(json.loads(json.dumps(prepared.table.to_json())))
    assert known == prepared.preprocessor
    assert prepared.train.lengths is not None
    for sent in (ROWS, [row["trace"] for row in ROWS], [[row["trace"]] for row in ROWS]):
        for x, padded, length in zip(known.rows(sent), prepared.train.x, prepared.train.lengths, strict=True):
            assert np.array_equal(x, padded[:length])
    assert known.work([*ROWS[:2], ROWS[2]["trace"], [ROWS[3]["trace"]], {}, 3]) == 3 + 1 + 5 + 2 + 1 + 1
    (one,) = known.array(np.array([ROWS[2]["trace"]]))
    assert np.array_equal(one, prepared.train.x[2])


def test_every_fault_of_rows_that_are_sent_is_told(traces: Dataset) -> None:
    known = prepare(traces, spec(), "class").table
    wrong = [{"trace": [[1, None]]}, [[1, 2], [3]], [], {"trace": [[1, 2]], "trice": 1}, 3]
    with pytest.raises(InvalidData) as caught:
        known.rows(wrong)
    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == {
        ("/rows/0/trace/0/1", "not_a_number"), ("/rows/1/1", "ragged_step"), ("/rows/2", "empty_sequence"),
        ("/rows/3/trice", "unknown_column"), ("/rows/4", "not_a_row"),
    }  # fmt: skip
    with pytest.raises(InvalidData) as caught:
        known.rows([[[1e300, 1]]])
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/rows/0", "out_of_range")]


def test_a_data_set_of_longer_rows_is_applied_to_and_another_is_refused(traces: Dataset, tmp_path: Path) -> None:
    known = prepare(traces, spec(), "class").table
    longer = [{"trace": [[5.0, -300.0]] * length, "label": "b"} for length in (9, 2)]
    written(longer, tmp_path / "longer")
    applied = apply(Dataset.open(tmp_path / "longer"), known)
    part = applied.part(np.arange(2))
    assert part.lengths is not None
    assert (applied.shape, part.x.shape, part.lengths.tolist()) == ((9, 2), (2, 9, 2), [9, 2])
    assert [each.shape for each in applied.x(np.arange(2))] == [(9, 2), (2, 2)]
    written([{"trace": [1.0, 2.0]}, {"trace": [1.0]}], tmp_path / "flat")
    with pytest.raises(InvalidData, match="expected sequences of lists of 2 numbers"):
        apply(Dataset.open(tmp_path / "flat"), known)
