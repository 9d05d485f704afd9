"""Several labels, yes or no each: what they are called, what y is, and how answers are told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, LabelsTarget, Preprocessor, apply, prepare
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]
TABLE = "x,red,sex,owns\n" + "1,0,male,yes\n2,1,female,no\n3,1,male,no\n4,,male,yes\n"


def spec(*target: str, **fields: Any) -> DatasetSpec:
    named: Any = list(target) if len(target) > 1 else target[0]
    return DatasetSpec.model_validate({"id": "ds_1", "target": named, **fields})


def test_columns_of_two_values_are_labels_and_the_second_value_is_yes(load: Load) -> None:
    found = prepare(load(a__csv=TABLE), spec("red", "sex", "owns"), "binary")
    assert found.preprocessor.classes == ("red", "sex=male", "owns")
    assert found.outline.outputs == 3
    assert found.train.rows.tolist() == [0, 1, 2], "the row without a target is left out"
    assert found.train.y.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_an_answer_names_the_labels_that_are_likelier_than_not(load: Load) -> None:
    target = prepare(load(a__csv=TABLE), spec("red", "sex", "owns"), "binary").preprocessor
    assert isinstance(target, Preprocessor)
    y = np.array([[0.5, 0.9, 0.1], [0.2, 0.25, 0.0]])
    assert target.answers(y) == [
        {"labels": ["sex=male", "red"], "probabilities": {"sex=male": 0.9, "red": 0.5, "owns": 0.1}},
        {"labels": [], "probabilities": {"sex=male": 0.25, "red": 0.2, "owns": 0.0}},
    ]
    assert target.answers(y[:1], 1) == [{"labels": ["sex=male", "red"], "probabilities": {"sex=male": 0.9}}]
    assert target.answers(np.array([[np.nan, 0.5, 0.1]]))[0]["labels"] == ["sex=male"]


def test_one_column_of_arrays_of_0_and_1_is_as_many_labels(load: Load) -> None:
    tags, packed = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 1]], np.uint8), io.BytesIO()
    np.savez(packed, x=np.arange(3.0), tags=tags)
    found = prepare(load(a__npz=packed.getvalue()), spec("tags"), "binary")
    assert found.preprocessor.classes == ("tags[0]", "tags[1]", "tags[2]")
    assert found.train.y.tolist() == tags.tolist()
    assert found.warnings == ("labels that are the same in every row of the training part: tags[2]",)


def test_labels_come_back_from_json_and_read_other_data_by_their_own_words(load: Load) -> None:
    found = prepare(load(a__csv=TABLE), spec("red", "sex"), "binary").preprocessor
    again = Preprocessor.from_json(json.loads(json.dumps(found.to_json())))
    assert isinstance(again.target, LabelsTarget)
    assert again == found
    applied = apply(load(a__csv="x,owns,sex,red\n5,no,female,1\n6,no,male,1\n7,yes,other,0\n"), again)
    part = applied.part(applied.learnable())
    assert (part.rows.tolist(), part.y.tolist()) == ([0, 1], [[1, 0], [1, 1]]), "a word of neither is left out"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (("red", "x"), "column 'x' has 4 values: a label has two"),
        (("red", "free"), "column 'free' has 1 values"),
        (("red", "pair"), "column 'pair' holds arrays"),
    ],
)
def test_what_is_no_yes_or_no_is_refused(load: Load, target: tuple[str, ...], message: str) -> None:
    rows = [{"x": at, "red": at % 2, "free": "a", "pair": [at % 2, 1]} for at in range(4)]
    data = load(a__jsonl="\n".join(map(json.dumps, rows)))
    with pytest.raises(InvalidSpec, match=message):
        prepare(data, spec(*target), "binary")


def test_classes_of_several_columns_are_pointed_to_labels(load: Load) -> None:
    with pytest.raises(InvalidSpec, match="classes are one column") as caught:
        prepare(load(a__csv=TABLE), spec("red", "sex"), "class")
    assert "binary_cross_entropy" in (caught.value.faults[0].hint or "")


def test_labels_cannot_be_stratified(load: Load) -> None:
    with pytest.raises(InvalidSpec, match="one target of classes"):
        prepare(load(a__csv=TABLE), spec("red", "sex", split={"kind": "stratified"}, validation=0.3), "binary")


def test_lists_of_words_are_told_how_labels_are_sent(load: Load) -> None:
    with pytest.raises(InvalidData, match="expected a number, got 'red'") as caught:
        load(a__jsonl='{"x": 1, "tags": ["red", "big"]}\n{"x": 2, "tags": []}\n')
    assert {fault.hint for fault in caught.value.faults if "target" in (fault.hint or "")}
