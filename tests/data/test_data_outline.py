"""The spec of the data against the columns: choices by rule, every fault at its place, and shapes that come true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service.data import Dataset, DatasetSpec, Outline, TargetKind, outline, prepare
from service.data.choice import default_target
from service.errors import InvalidSpec

Load = Callable[..., Dataset]

TABLE = "age,city,note,label\n" + "".join(
    f"{n % 7},{'abc'[n % 3]},{'long words ' * 12}{n},{n % 2}\n" for n in range(60)
)


def spec(**fields: object) -> DatasetSpec:
    return DatasetSpec.model_validate({"id": "ds_1", **fields})


def outlined(data: Dataset, kind: TargetKind = "class", **fields: object) -> Outline:
    return outline(data.description, spec(**fields), kind)


def test_a_column_alone_is_told_that_it_is(load: Load) -> None:
    with pytest.raises(InvalidSpec) as caught:
        outlined(load(a__csv="a\nx\ny\n"))
    assert "'a' is the only column" in (caught.value.faults[0].hint or "")


def test_texts_alone_are_told_what_they_may_be(load: Load) -> None:
    months = "".join(f"{1900 + at // 12}-{at % 12 + 1:02},{at}\n" for at in range(1200))
    with pytest.raises(InvalidSpec, match="no column is left") as caught:
        outlined(load(a__csv="month,n\n" + months), "number")
    assert "'month' is free text; types=month:date" in (caught.value.faults[0].hint or "")


def test_one_class_is_told_alike_whatever_learns_it(load: Load) -> None:
    data = load(a__csv="a,b\n1,x\n2,x\n")
    kinds: tuple[TargetKind, ...] = ("class", "binary")
    for kind in kinds:
        with pytest.raises(InvalidSpec, match="one class only"):
            outlined(data, kind)


def test_what_is_not_finite_is_refused_with_what_to_do(load: Load, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([[1.0, np.nan]] * 4), y=[0, 1, 0, 1])
    with pytest.raises(InvalidSpec, match="4 values that are not finite") as caught:
        outlined(load(a__npz=(tmp_path / "a.npz").read_bytes()))
    assert "nan_to_num" in (caught.value.faults[0].hint or "")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], "b"),
        (["label", "a"], "label"),
        (["Species", "a"], "Species"),
        (["y", "target", "a"], "target"),
        (["class", "label", "z"], "label"),
    ],
)
def test_the_target_by_default_is_a_known_name_or_the_last_column(names: list[str], expected: str) -> None:
    assert default_target(names) == expected


def test_the_resolved_spec_names_features_and_target(load: Load) -> None:
    found = outlined(load(a__csv=TABLE))
    assert found.spec.target == "label"
    assert found.spec.features == ["age", "city"]
    assert found.warnings == ("free text is not learned from: 'note'",)
    assert DatasetSpec.model_validate(found.spec.model_dump()) == found.spec


def test_features_keep_the_order_in_which_they_are_named(load: Load) -> None:
    found = outlined(load(a__csv=TABLE), features=["city", "age"])
    assert found.spec.features == ["city", "age"]
    assert [slot.start for slot in found.layout.slots] == [0, 3]


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("class", {"target": "labl"}, [("/dataset/target", "unknown_column", "Did you mean 'label'?")]),
        (
            "class",
            {"features": ["age", "cty", "label", "note"]},
            [
                ("/dataset/features/1", "unknown_column", "Did you mean 'city'?"),
                ("/dataset/features/2", "target_as_feature", None),
                ("/dataset/features/3", "text", None),
            ],
        ),
        (
            "class",
            {"target": "note"},
            [("/dataset/target", "not_a_target", 'name the column to learn: "target": "..." of the dataset')],
        ),
        ("number", {"target": "city"}, [("/dataset/target", "not_numbers", "use the loss cross_entropy for classes")]),
        (
            "binary",
            {"target": "city"},
            [("/dataset/target", "not_two_classes", "use the loss cross_entropy with a softmax")],
        ),
        (
            "class",
            {"target": ["label", "city"]},
            [("/dataset/target", "many_columns", "yes or no for each of them is the loss binary_cross_entropy")],
        ),
        ("distribution", {"target": "age"}, [("/dataset/target", "one_column", None)]),
        ("class", {"column": "note"}, [("/dataset/column", "not_text", None)]),
        ("class", {"window": 20}, [("/dataset/window", "not_text", None)]),
        (
            "class",
            {"preprocess": "none"},
            [
                (
                    "/dataset/features",
                    "words",
                    'use "preprocess": "auto", or name the columns to learn from in "features"',
                )
            ],
        ),
    ],
)
def test_each_fault_has_its_place(
    load: Load, kind: TargetKind, fields: dict[str, object], expected: list[tuple[str, str, str | None]]
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        outlined(load(a__csv=TABLE), kind, **fields)
    assert [(fault.pointer, fault.code, fault.hint) for fault in caught.value.faults] == expected


def test_numbers_with_fractions_are_no_classes(load: Load) -> None:
    data = load(a__csv="a,b\n1,0.5\n2,1.5\n")
    with pytest.raises(InvalidSpec, match="numbers with fractions"):
        outlined(data)


def test_one_class_is_nothing_to_learn(load: Load) -> None:
    with pytest.raises(InvalidSpec, match="one class only"):
        outlined(load(a__csv="a,b\n1,0\n2,0\n"))


def test_a_text_has_no_columns_to_learn(load: Load) -> None:
    with pytest.raises(InvalidSpec) as caught:
        outlined(load(a__txt="hello\n"))
    assert caught.value.faults[0].pointer == "/dataset"


def test_parts_that_leave_no_row_are_refused(load: Load) -> None:
    with pytest.raises(InvalidSpec, match="no row is left"):
        outlined(load(a__csv="a,b\n1,0\n2,1\n"), validation=0.6, test=0.3)


def test_a_column_without_values_is_left_out_by_default_and_refused_by_name(load: Load) -> None:
    data = load(a__csv="a,e,b\n1,,0\n2,?,1\n")
    found = outlined(data)
    assert found.spec.features == ["a"]
    assert "columns without any value" in found.warnings[0]
    with pytest.raises(InvalidSpec, match="no value in any row"):
        outlined(data, features=["e"])


def test_missing_numbers_cannot_be_taken_as_they_are(load: Load) -> None:
    with pytest.raises(InvalidSpec) as caught:
        outlined(load(a__csv="a,b\n1,0\n,1\n"), preprocess="none", features=["a"])
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/dataset/features/0", "missing_values")]


def test_a_validation_set_of_other_columns_is_refused(load: Load) -> None:
    data = load(a__csv="a,b\n1,x\n2,y\n1,x\n").description
    other = load(a__csv="a,c\nno,x\nyes,y\nno,x\n").description
    with pytest.raises(InvalidSpec) as caught:
        outline(data, spec(validation={"id": "ds_2"}), "class", validation=other)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        ("/dataset/validation", "other_type"),
        ("/dataset/validation", "unknown_column"),
    ]


CASES: list[tuple[TargetKind, dict[str, object]]] = [
    ("class", {"validation": 0.2, "test": 0.1}),
    ("class", {"target": "city", "features": ["age", "label"]}),
    ("binary", {"validation": 0.25}),
    ("number", {"target": ["age", "label"], "validation": 0.2}),
    ("number", {"target": "age", "features": ["label"], "preprocess": "none"}),
]


@pytest.mark.parametrize(("kind", "fields"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_outlined_is_what_is_prepared(load: Load, kind: TargetKind, fields: dict[str, Any], dtype: Any) -> None:
    data = load(a__csv=TABLE)
    found = outline(data.description, spec(**fields), kind, dtype=dtype)
    prepared = prepare(data, spec(**fields), kind, dtype=dtype)
    assert prepared.outline == found
    sizes = [0 if part is None else len(part.x) for part in (prepared.train, prepared.validation, prepared.test)]
    assert sizes == [found.rows, found.validation_rows, found.test_rows]
    assert prepared.train.x.shape[1:] == found.shape == prepared.table.shape
    assert prepared.train.x.dtype == found.dtype == prepared.table.dtype
    assert prepared.table.outputs == found.outputs
    assert prepared.preprocessor.classes == found.classes
    total = sum(p.x.nbytes + p.y.nbytes for p in (prepared.train, prepared.validation, prepared.test) if p)
    assert total <= found.bytes
    assert prepared.train.y.dtype == (np.int32 if kind == "class" else np.dtype(dtype))


BAD: list[tuple[dict[str, object], tuple[object, ...], str]] = [
    ({}, (), "one_source"),
    ({"id": "ds_1", "sample": "iris"}, (), "one_source"),
    ({"sample": "irs"}, ("sample",), "literal_error"),
    ({"id": "../etc"}, ("id",), "string_pattern_mismatch"),
    ({"id": "ds_1", "validation": "0.1"}, ("validation", "one"), "float_type"),
    ({"id": "ds_1", "validation": True}, ("validation", "one"), "float_type"),
    ({"id": "ds_1", "validation": float("nan")}, ("validation", "one"), "finite_number"),
    ({"id": "ds_1", "validation": 0.95}, ("validation", "one"), "less_than_equal"),
    ({"id": "ds_1", "validation": [0.1]}, ("validation",), "fraction_or_reference"),
    ({"id": "ds_1", "test": {"id": "x"}}, ("test", "object", "id"), "string_pattern_mismatch"),
    ({"id": "ds_1", "target": []}, ("target", "many"), "too_short"),
    ({"id": "ds_1", "features": ["a", "a"]}, (), "twice"),
    ({"id": "ds_1", "validation": 0.6, "test": 0.6}, (), "nothing_left"),
    ({"id": "ds_1", "rowz": []}, ("rowz",), "extra_forbidden"),
    ({"rows": [1]}, ("rows", 0), "row"),
    ({"rows": []}, ("rows",), "too_short"),
    ({"id": "ds_1", "split_seed": 1.0}, ("split_seed",), "int_type"),
    ({"id": "ds_1", "preprocess": "all"}, ("preprocess",), "literal_error"),
]


@pytest.mark.parametrize(("given", "place", "kind"), BAD)
def test_a_spec_that_says_too_little_or_too_much_is_one_fault(
    given: dict[str, object], place: tuple[object, ...], kind: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetSpec.model_validate(given)
    assert [(error["loc"], error["type"]) for error in caught.value.errors()][:1] == [(place, kind)]


def test_a_spec_survives_json() -> None:
    full = {"rows": [{"a": 1}, [2]], "features": ["a"], "target": ["b"], "validation": {"id": "ds_2"}, "test": 0.5}
    found = DatasetSpec.model_validate(full)
    assert DatasetSpec.model_validate_json(found.model_dump_json()) == found
