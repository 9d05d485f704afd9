"""Rows as callers send them: accepted in every sensible form, refused with every fault at its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Preprocessor, TargetKind, prepare
from service.errors import InvalidData

Load = Callable[..., Dataset]

TABLE = "age,city,label\n30,Rome,no\n40,Oslo,yes\n50,Rome,no\n60,?,yes\n"


def model(data: Dataset, kind: TargetKind = "class", **fields: Any) -> Preprocessor:
    return prepare(data, DatasetSpec.model_validate({"id": "ds_1", **fields}), kind).table


def faults(preprocessor: Preprocessor, rows: list[Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows(rows)
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def test_every_fault_of_every_row_is_told_at_its_place(load: Load) -> None:
    rows: list[Any] = [
        {"age": "30", "city": "Rome"},
        {"age": 30, "city": ["Rome"]},
        {"age": True, "city": "Rome"},
        {"age": 30, "city": "Rome"},
        {"age": float("nan"), "city": "Rome"},
        {"age": 10**400, "city": {}},
    ]
    assert faults(model(load(a__csv=TABLE)), rows) == [
        ("/rows/0/age", "not_a_number"),
        ("/rows/2/age", "not_a_number"),
        ("/rows/4/age", "not_finite"),
        ("/rows/5/age", "not_finite"),
        ("/rows/1/city", "not_a_word"),
        ("/rows/5/city", "not_a_word"),
    ]


def test_names_must_be_there_and_known(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    rows: list[Any] = [{"age": 30}, {"age": 30, "city": "Rome", "agee": 1}, [30], [30, "Rome", "no"], 30, None]
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows(rows)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        ("/rows/0/city", "missing_column"),
        ("/rows/1/agee", "unknown_column"),
        ("/rows/2", "wrong_length"),
        ("/rows/3", "wrong_length"),
        ("/rows/4", "not_a_row"),
        ("/rows/5", "not_a_row"),
    ]
    assert caught.value.faults[1].hint == "Did you mean 'age'?"
    assert caught.value.faults[2].message == "row 3 (index 2): expected 2 values, got 1"
    assert caught.value.faults[2].hint == "an array has the columns age, city in this order"


def test_a_row_may_carry_the_target_and_a_pointer_is_escaped(load: Load) -> None:
    preprocessor = model(load(a__csv="a/b,label\n1,x\n2,y\n"))
    assert preprocessor.rows([{"a/b": 1, "label": "x"}]).shape == (1, 1)
    assert faults(preprocessor, [{"a/b": "one"}]) == [("/rows/0/a~1b", "not_a_number")]
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows([{"a/b": "one"}], "/inputs")
    assert caught.value.faults[0].pointer == "/inputs/0/a~1b"


def test_no_rows_are_a_fault(load: Load) -> None:
    with pytest.raises(InvalidData):
        model(load(a__csv=TABLE)).rows([])


def test_null_is_missing_and_an_unknown_word_is_no_known_one(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    x = preprocessor.rows([{"age": None, "city": None}, {"age": 45, "city": "Paris"}, {"age": 45, "city": "?"}])
    # columns: age, Rome, Oslo, missing; the mean age is 45
    assert x.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_true_and_numbers_count_as_the_words_of_a_csv(load: Load) -> None:
    preprocessor = model(load(a__csv="alone,cabin,label\nTrue,12,x\nFalse,B7,y\nTrue,12,x\nFalse,B7,y\n"))
    expected = preprocessor.rows([["True", "12"], ["False", "B7"]])
    assert preprocessor.rows([[True, 12], [False, "B7"]]).tolist() == expected.tolist()
    assert expected.sum() == 4


def test_a_number_beyond_the_type_is_refused(load: Load) -> None:
    preprocessor = model(load(a__csv="a,label\n1,x\n2,y\n"), preprocess="none")
    assert faults(preprocessor, [[1.0], [1e300]]) == [("/rows/1", "too_large")]
    assert faults(preprocessor, [[None]]) == [("/rows/0/a", "not_a_number")]


def test_an_id_beyond_the_vocabulary_is_refused_however_it_is_sent(load: Load) -> None:
    preprocessor = model(
        load(a__json=json.dumps([{"t": [1, 3, 0], "label": 0}, {"t": [2, 4, 1], "label": 1}])), preprocess="none"
    )
    for bad in (5, 1_000_000, -1):
        assert faults(preprocessor, [[4, 0, 1], [bad, 0, 1]]) == [("/rows/1", "out_of_range")]
        assert faults(preprocessor, [{"t": [0, bad, 1]}]) == [("/rows/0/t", "out_of_range")]
        for kind in ("<i4", "<i8", "<f4"):
            with pytest.raises(InvalidData, match="out of range") as caught:
                preprocessor.array(np.array([[4, 0, 1], [4, bad, 1]], kind))
            assert [(each.pointer, each.hint) for each in caught.value.faults] == [
                ("/rows/1", "expected whole numbers from 0 to 4, as in training")
            ]
    assert preprocessor.array(np.array([[4, 0, 1]])).tolist() == preprocessor.rows([[4, 0, 1]]).tolist() == [[4, 0, 1]]


IMAGES = json.dumps([{"image": [[0] * 8] * 8, "label": 0}, {"image": [[16] * 8] * 8, "label": 1}])


def test_a_wrong_shape_tells_expected_and_got(load: Load) -> None:
    preprocessor = model(load(a__json=IMAGES))
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows([{"image": [[0] * 8] * 8}, {"image": [[0] * 8] * 7}])
    (fault,) = caught.value.faults
    assert fault.pointer == "/rows/1/image"
    assert "expected shape (8, 8), got (7, 8)" in fault.message


def test_an_image_is_taken_nested_flat_with_a_channel_or_by_name(load: Load) -> None:
    preprocessor = model(load(a__json=IMAGES))
    image = np.arange(64).reshape(8, 8) % 17
    forms: list[Any] = [image, image.reshape(8, 8, 1), image.reshape(64), image[None]]
    expected = image.astype(np.uint8).reshape(1, 8, 8, 1)
    for form in forms:
        assert np.array_equal(preprocessor.rows([form.tolist()]), expected)
        assert np.array_equal(preprocessor.array(form[None]), expected)
        assert np.array_equal(preprocessor.array(form[None].astype(np.float32)), expected)
    assert np.array_equal(preprocessor.rows([{"image": image.tolist(), "label": 3}]), expected)
    assert np.array_equal(preprocessor.rows([{"image": image.tolist()}] * 3), np.repeat(expected, 3, 0))
    assert np.array_equal(preprocessor.rows([image.astype(float).tolist()]), expected)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ([[0] * 8] * 7 + [[0] * 7], "wrong_shape"),
        ([[0] * 8] * 7 + [[0] * 7 + [256]], "out_of_range"),
        ([[0] * 8] * 7 + [[0] * 7 + [-1]], "out_of_range"),
        ([[0] * 8] * 7 + [[0] * 7 + [0.5]], "out_of_range"),
        ([[0] * 8] * 7 + [[0] * 7 + [float("nan")]], "out_of_range"),
        ([[0] * 8] * 7 + [[0] * 7 + [True]], "not_a_number"),
        ([[0] * 8] * 7 + [[0] * 7 + ["1"]], "not_a_number"),
        ([[0] * 8] * 7 + [[0] * 7 + [None]], "not_a_number"),
        ([256] * 64, "out_of_range"),
        ([0] * 63 + [True], "not_a_number"),
        ([0] * 63, "wrong_shape"),
        ([], "wrong_shape"),
    ],
)
def test_an_image_that_is_none_is_refused(load: Load, image: list[Any], code: str) -> None:
    preprocessor = model(load(a__json=IMAGES))
    assert faults(preprocessor, [image, {"image": image}]) == [("/rows/0", code), ("/rows/1/image", code)]


def test_an_array_at_hand_must_fit(load: Load) -> None:
    images, table = model(load(a__json=IMAGES)), model(load(a__csv="a,b,label\n1,2,x\n2,3,y\n"))
    assert table.array(np.array([[1, 2]])).tobytes() == table.rows([[1, 2]]).tobytes()
    for preprocessor, wrong in (
        (images, np.zeros((1, 7, 8))),
        (images, np.full((1, 8, 8), 0.5)),
        (images, np.zeros((1, 8, 8), complex)),
        (table, np.zeros((1, 3))),
        (table, np.array([[1.0, np.nan]])),
        (model(load(a__csv=TABLE)), np.zeros((1, 2))),
    ):
        with pytest.raises(InvalidData):
            preprocessor.array(wrong)


def test_answers_name_the_classes_likeliest_first(load: Load) -> None:
    preprocessor = model(load(a__csv="a,label\n1,cat\n2,dog\n3,ant\n4,cat\n"))
    y = np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]])  # ant, cat, dog
    assert preprocessor.answers(y) == [
        {"label": "cat", "probability": 0.5, "probabilities": {"cat": 0.5, "ant": 0.25, "dog": 0.25}},
        {"label": "dog", "probability": 0.75, "probabilities": {"dog": 0.75, "ant": 0.125, "cat": 0.125}},
    ]
    assert preprocessor.answers(y, top_k=1)[1] == {"label": "dog", "probability": 0.75, "probabilities": {"dog": 0.75}}


def test_answers_of_yes_or_no_name_both(load: Load) -> None:
    preprocessor = model(load(a__csv="a,label\n1,no\n2,yes\n"), "binary")
    assert preprocessor.answers(np.array([[0.25], [0.5]])) == [
        {"label": "no", "probability": 0.75, "probabilities": {"no": 0.75, "yes": 0.25}},
        {"label": "yes", "probability": 0.5, "probabilities": {"yes": 0.5, "no": 0.5}},
    ]


def test_an_answer_that_is_no_number_is_null(load: Load) -> None:
    preprocessor = model(load(a__csv="a,p\n1,1\n2,2\n"), "number")
    assert preprocessor.answers(np.array([[np.nan]])) == [{"value": None}]


def test_a_preprocessor_of_another_version_is_refused(load: Load) -> None:
    saved = model(load(a__csv=TABLE)).to_json()
    with pytest.raises(InvalidData, match="version 99"):
        Preprocessor.from_json(saved | {"version": 99})


def test_features_tell_what_a_row_consists_of(load: Load) -> None:
    assert model(load(a__csv=TABLE)).features == [
        {"name": "age", "type": "number", "shape": []},
        {"name": "city", "type": "category", "shape": []},
    ]
    assert model(load(a__json=IMAGES)).features == [{"name": "image", "type": "image", "shape": [8, 8]}]
