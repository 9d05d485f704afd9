"""A model's preprocessor on another data set: the x of the same rows sent, or the row and column at fault."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Preprocessor, TargetKind, apply, prepare
from service.errors import InvalidData

Load = Callable[..., Dataset]
TABLE = "age,city,label\n30,Rome,no\n40,Oslo,yes\n,Rome,no\n60,?,yes\n"


def model(data: Dataset, kind: TargetKind = "class", **fields: Any) -> Preprocessor:
    return prepare(data, DatasetSpec.model_validate({"id": "ds_1", **fields}), kind).table


def npz(**arrays: Any) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def faults(data: Dataset, preprocessor: Preprocessor) -> list[tuple[str, str]]:
    with pytest.raises(InvalidData) as caught:
        apply(data, preprocessor)
    return [(fault.pointer, fault.message) for fault in caught.value.faults]


def test_a_files_rows_are_what_the_same_rows_sent_are(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    other = load(b__csv="id,city,age\n7,Oslo,35\n8,Paris,\n9,NA,41.5\n")
    sent: list[Any] = [{"age": 35, "city": "Oslo"}, {"age": None, "city": "Paris"}, {"age": 41.5, "city": "NA"}]
    np.testing.assert_array_equal(apply(other, preprocessor).x(np.arange(3)), preprocessor.rows(sent))
    np.testing.assert_array_equal(apply(other, preprocessor).x(np.array([2])), preprocessor.rows(sent[2:]))


def test_rows_without_names_are_the_features_in_order(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    lines = load(b__jsonl='[35, "Oslo"]\n[null, "Rome"]\n')
    sent: list[Any] = [[35, "Oslo"], [None, "Rome"]]
    np.testing.assert_array_equal(apply(lines, preprocessor).x(np.arange(2)), preprocessor.rows(sent))


def test_an_id_that_training_had_not_is_named_by_its_row(load: Load) -> None:
    preprocessor = model(load(a__npz=npz(ids=np.array([[1, 3], [0, 4]]), label=np.array([0, 1]))), preprocess="none")
    other = load(b__npz=npz(ids=np.array([[4, 4], [0, 5], [1, 1], [-1, 0]]), label=np.array([0, 1, 0, 1])))
    assert [pointer for pointer, _ in faults(other, preprocessor)] == ["/rows/1/ids", "/rows/3/ids"]
    assert "expected whole numbers from 0 to 4" in faults(other, preprocessor)[0][1]


def test_a_word_among_numbers_is_named_by_row_and_column(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    other = load(b__csv="age,city\n30,Rome\nold,Rome\n20,Oslo\nyoung,Oslo\n")
    assert faults(other, preprocessor) == [
        ("/rows/1/age", "row 2, column 'age': expected a number, got 'old'"),
        ("/rows/3/age", "row 4, column 'age': expected a number, got 'young'"),
    ]


def test_a_date_where_seconds_are_expected_is_told_what_may_be_meant(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    for asked in (
        lambda: preprocessor.rows([["2024-01-31", "Rome"]]),
        lambda: apply(load(b__csv="age,city\n2024-01-31,Rome\n"), preprocessor),
    ):
        with pytest.raises(InvalidData) as caught:
            asked()
        hint = caught.value.faults[0].hint or ""
        assert "send 1706659200" in hint  # date -u -d 2024-01-31 +%s
        assert '"dates": {"age": {"parts": ["time"]}}' in hint


def test_a_number_in_quotes_in_a_request_is_told_to_lose_them(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows([["35.5", "Oslo"], ["old", "Oslo"]])
    assert [fault.hint for fault in caught.value.faults] == ["send it without quotes", "send null for a missing value"]


def test_numbers_written_as_words_are_numbers(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    other = load(b__jsonl='{"age": "35", "city": "Oslo"}\n{"age": "", "city": "Rome"}\n')
    expected = preprocessor.rows([[35, "Oslo"], [None, "Rome"]])
    np.testing.assert_array_equal(apply(other, preprocessor).x(np.arange(2)), expected)


def test_missing_columns_are_told_with_what_may_be_meant(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    with pytest.raises(InvalidData) as caught:
        apply(load(b__csv="agee,town\n1,Rome\n"), preprocessor)
    assert [(fault.pointer, fault.hint) for fault in caught.value.faults] == [
        ("/columns/age", "Did you mean 'agee'?"),
        ("/columns/city", "there are 'agee', 'town'"),
    ]


def test_what_may_not_be_missing_or_is_too_large_is_named(load: Load) -> None:
    preprocessor = model(load(a__csv="x,y\n1,0\n2,1\n"), preprocess="none")
    assert faults(load(b__csv="x\n1\n\nNA\n1e300\n"), preprocessor) == [
        ("/rows/1/x", "row 2, column 'x': expected a number, got none"),
        ("/rows/2/x", "row 3, column 'x': a number is too large after scaling"),
    ]


def test_pictures_come_from_arrays_of_their_shape_or_flat(load: Load) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 4, 3), np.uint8)
    preprocessor = model(load(a__npz=npz(image=images, label=np.arange(6) % 2)), target="label")
    for other in (
        load(b__npz=npz(image=images)), load(c__npz=npz(image=images.reshape(6, 12).astype(np.float64))),
        load(d__csv="\n".join(",".join(map(str, row)) for row in images.reshape(6, 12).tolist())),
        load(e__jsonl="\n".join(str(row) for row in images.tolist())),
    ):  # fmt: skip
        np.testing.assert_array_equal(
            apply(other, preprocessor).x(np.array([1, 5])), preprocessor.rows(images[[1, 5]].tolist())
        )
    assert faults(load(f__npz=npz(image=images[:, :2])), preprocessor)[0][0] == "/columns/image"
    odd = images.astype(np.float64)
    odd[4, 0, 0] = 300
    assert faults(load(g__npz=npz(image=odd)), preprocessor) == [
        ("/rows/4/image", "row 5, column 'image': expected whole numbers from 0 to 255")
    ]


def test_targets_that_are_missing_or_unknown_are_left_out(load: Load) -> None:
    preprocessor = model(load(a__csv=TABLE))
    applied = apply(load(b__csv="age,city,label\n30,Rome,yes\n40,Oslo,?\n50,Rome,maybe\n60,Oslo,no\n"), preprocessor)
    assert applied.learnable().tolist() == [0, 2, 3]
    part = applied.part(applied.learnable())
    assert (part.rows.tolist(), part.y.tolist()) == ([0, 3], [1, 0])
    none = applied.part(np.array([2]))  # a piece of a large file may hold unknown classes alone
    assert (none.x.shape, none.y.shape) == ((0, part.x.shape[1]), (0,))
    with pytest.raises(InvalidData, match="label"):
        apply(load(c__csv="age,city\n30,Rome\n"), preprocessor).learnable()


def test_words_are_no_numbers_to_compare_with(load: Load) -> None:
    preprocessor = model(load(a__csv="x,price\n1,2\n2,4.5\n3,6\n"), "number")
    applied = apply(load(b__csv="x,price\n1,cheap\n2,dear\n"), preprocessor)
    with pytest.raises(InvalidData, match="expected numbers"):
        applied.learnable()
