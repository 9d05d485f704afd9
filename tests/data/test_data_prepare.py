"""Preparation: found in the training part only, and what training saw is what a prediction computes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Dataset, DatasetSpec, Prepared, Preprocessor, TargetKind, prepare, rows_to_dataset
from service.data.split import cut, hashed
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]


def prepared(data: Dataset, kind: TargetKind = "class", **fields: Any) -> Prepared:
    return prepare(data, DatasetSpec.model_validate({"id": "ds_1", **fields}), kind)


def stored(found: Prepared) -> Preprocessor:
    """As a model has it: through JSON and back."""
    return Preprocessor.from_json(json.loads(json.dumps(found.preprocessor.to_json())))


def test_numbers_are_scaled_to_mean_zero_and_deviation_one(load: Load) -> None:
    x = prepared(load(a__csv="v,label\n1,0\n3,1\n5,0\n7,1\n")).train.x
    # mean 4, squares (9+1+1+9)/4 = 5
    assert x.dtype == np.float32
    assert x[:, 0].tolist() == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5])


def test_a_missing_number_is_the_mean_and_told_apart(load: Load) -> None:
    x = prepared(load(a__csv="v,label\n1,0\n,1\n3,0\n")).train.x
    assert x.tolist() == [[-1, 0], [0, 1], [1, 0]]


def test_a_column_that_never_changes_is_zero(load: Load) -> None:
    x = prepared(load(a__csv="v,w,label\n0.1,1,0\n0.1,2,1\n0.1,3,0\n")).train.x
    assert x[:, 0].tolist() == [0, 0, 0]


def test_categories_are_one_slot_each_and_missing_is_one_too(load: Load) -> None:
    x = prepared(load(a__csv="c,label\nx,0\ny,1\n?,0\nx,1\n")).train.x
    assert x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_rare_categories_share_a_slot(load: Load) -> None:
    words = [f"w{n}" for n in range(300) for _ in range(3)] + ["w0", "w299"]
    found = prepared(load(a__csv="c,label\n" + "".join(f"{word},{n % 2}\n" for n, word in enumerate(words))))
    x = found.train.x
    assert x.shape[1] == 257
    assert (x.sum(axis=1) == 1).all()
    # w0 and w299 occur four times and have slots; of the others the first 254 have too; 44 words share one
    assert x[:, 256].sum() == 44 * 3
    unknown = found.table.rows([["never seen"]])
    assert unknown[0].nonzero()[0].tolist() == [256]


def test_scaling_and_categories_are_found_in_the_training_part_only(load: Load) -> None:
    rows: list[list[Any]] = [[n, "odd" if n % 2 else "even", n % 2] for n in range(100)]
    data = load(a__json=json.dumps(rows))
    fields: dict[str, Any] = {"validation": 0.3, "test": 0.2, "split_seed": 3}
    found = prepared(data, "class", **fields)
    kept = found.train.rows
    assert len(kept) == 50
    assert found.train.x[:, 0].tolist() == pytest.approx(((kept - kept.mean()) / kept.std()).tolist(), rel=1e-6)
    changed = [row if n in set(kept.tolist()) else [row[0] * 1000, "never", row[2]] for n, row in enumerate(rows)]
    other = prepared(load(a__json=json.dumps(changed)), "class", **fields)
    assert other.train.x[:, :3].tobytes() == found.train.x[:, :3].tobytes()
    assert other.validation is not None
    assert (other.validation.x[:, 1:] == 0).all()  # a word that training never saw


def test_images_stay_bytes_with_a_scale_and_a_channel(load: Load) -> None:
    rows = [{"image": [[0, 16], [8, n]], "label": n % 2} for n in range(4)]
    found = prepared(load(a__json=json.dumps(rows)))
    assert found.train.x.dtype == np.uint8
    assert found.train.x.shape == (4, 2, 2, 1)
    assert (found.scale, found.offset) == (1 / 16, 0)  # the largest value is 16: these pixels go from 0 to 16
    rows[0]["image"] = [[255, 0], [0, 0]]
    assert prepared(load(a__json=json.dumps(rows))).scale == 1 / 255
    assert prepared(load(a__json=json.dumps(rows)), preprocess="none").scale == 1


def test_all_rows_of_an_image_data_set_are_not_copied(load: Load) -> None:
    data = load(a__json=json.dumps([{"image": [[0, 1], [2, n]], "label": n % 2} for n in range(4)]))
    assert np.shares_memory(prepared(data).train.x, data.column("image").values)


def test_series_get_one_scale_for_all_their_numbers(load: Load) -> None:
    rows = [{"s": [[1.5, 2.0], [3.0, 4.0]], "label": 0}, {"s": [[5.0, 6.0], [7.0, 8.5]], "label": 1}]
    found = prepared(load(a__json=json.dumps(rows)))
    seen = found.train.x * found.scale + found.offset
    assert found.train.x.shape == (2, 2, 2)
    assert seen.mean() == pytest.approx(0, abs=1e-6)
    assert seen.std() == pytest.approx(1)


def test_tokens_stay_whole_numbers_with_their_vocabulary(load: Load) -> None:
    data = load(a__json=json.dumps([{"t": [1, 300, 7], "label": 0}, {"t": [2, 5, 8], "label": 1}]))
    found = prepared(data, preprocess="none")
    assert found.train.x.dtype == np.int32
    assert found.outline.vocabulary == found.preprocessor.vocabulary == 301


def test_several_kinds_of_columns_make_one_vector(load: Load) -> None:
    rows = [
        {"n": n, "v": [n, 2 * n + 0.5], "i": [[0, 255], [n, 4]], "c": "ab"[n % 2], "label": n % 2} for n in range(6)
    ]
    found = prepared(load(a__json=json.dumps(rows)))
    assert found.outline.shape == (1 + 2 + 4 + 2,)
    assert found.train.x[:, 3:7].max() == 1.0


@pytest.mark.parametrize("labels", [["no", "yes", "no", "yes"], [0, 1, 0, 1], [5, 7, 5, 7]])
def test_two_classes_are_zero_and_one(load: Load, labels: list[object]) -> None:
    found = prepared(load(a__json=json.dumps([{"a": n, "label": label} for n, label in enumerate(labels)])), "binary")
    assert found.train.y.tolist() == [[0], [1], [0], [1]]
    assert found.outline.classes == (str(labels[0]), str(labels[1]))


def test_classes_are_numbered_in_order(load: Load) -> None:
    numbers = prepared(load(a__csv="a,label\n1,10\n2,9\n3,10\n4,-1\n"))
    assert numbers.outline.classes == ("-1", "9", "10")
    assert numbers.train.y.tolist() == [2, 1, 2, 0]
    words = prepared(load(a__csv="a,label\n1,pear\n2,fig\n3,pear\n"))
    assert words.outline.classes == ("fig", "pear")
    assert words.train.y.tolist() == [1, 0, 1]


def test_rows_without_a_target_are_left_out_with_a_warning(load: Load) -> None:
    found = prepared(load(a__csv="a,label\n1,x\n2,\n3,y\n"))
    assert found.train.rows.tolist() == [0, 2]
    assert found.warnings == ("1 rows without a target are left out",)


def test_numbers_to_learn_are_scaled_and_answers_are_in_their_own_units(load: Load) -> None:
    found = prepared(load(a__csv="a,p,q\n1,100,1\n2,200,3\n3,300,5\n"), "number", target=["p", "q"])
    assert found.train.y.std(axis=0).tolist() == pytest.approx([1, 1])
    answers = stored(found).answers(found.train.y)
    assert answers[0]["values"] == pytest.approx({"p": 100, "q": 1}, rel=1e-6)
    raw = prepared(load(a__csv="a,p\n1,100\n2,200\n"), "number", preprocess="none")
    assert raw.train.y.tolist() == [[100], [200]]
    assert raw.table.answers(np.array([[150.0]])) == [{"value": 150.0}]


def test_a_distribution_must_be_one(load: Load) -> None:
    found = prepared(load(a__csv="a,p,q\n1,0.25,0.75\n2,1,0\n"), "distribution", target=["p", "q"])
    assert found.train.y.tolist() == [[0.25, 0.75], [1, 0]]
    assert found.table.answers(np.array([[0.2, 0.8]]))[0]["label"] == "q"
    with pytest.raises(InvalidData, match="row 2"):
        prepared(load(a__csv="a,p,q\n1,0.5,0.5\n2,0,0.5\n3,1,0.5\n"), "distribution", target=["p", "q"])


@pytest.mark.parametrize(
    ("rows", "told", "hint"),
    [
        ("1,0.25,0.75\n2,1,0.9\n", "sum to 1.45", None),
        ("1,0.25,-0.5\n2,1,1\n", "'q' goes from -0.5", "0 or more"),
        ("1,1,1\n2,0,1\n", "sum to 1.5", "binary_cross_entropy"),
    ],
)
def test_what_cannot_be_a_distribution_is_refused_by_its_statistics(
    load: Load, rows: str, told: str, hint: str | None
) -> None:
    with pytest.raises(InvalidSpec, match=told) as caught:
        prepared(load(a__csv="a,p,q\n" + rows), "distribution", target=["p", "q"])
    assert hint is None or hint in (caught.value.faults[0].hint or "")


def test_a_separate_validation_set_is_read_by_the_trainings_words(load: Load) -> None:
    data = load(a__csv="c,n,label\nx,1,no\ny,2,yes\nx,3,no\ny,4,yes\n")
    other = load(a__csv="n,c,label\n5,y,yes\n6,z,no\n7,x,maybe\n")
    spec = DatasetSpec.model_validate({"id": "ds_1", "validation": {"id": "ds_2"}})
    found = prepare(data, spec, "class", validation=other)
    assert found.validation is not None
    assert found.validation.rows.tolist() == [0, 1]
    assert found.validation.y.tolist() == [1, 0]
    assert found.validation.x[:, :2].tolist() == [[0, 1], [0, 0]]
    assert "1 rows of the validation data set have classes that training does not know" in found.warnings[0]


def test_words_of_a_validation_set_count_whatever_it_was_read_as(load: Load) -> None:
    words = [f"w{n}" for n in range(40)]
    data = load(a__csv="c,label\n" + "".join(f"{word},{word}\n" for word in words * 3))
    other = load(a__csv="c,label\n" + "".join(f"{word},{word}\n" for word in words[:30]))
    assert [column.type for column in other.description.columns] == ["text", "text"]
    spec = DatasetSpec.model_validate({"id": "ds_1", "validation": {"id": "ds_2"}})
    found = prepare(data, spec, "class", validation=other)
    assert found.validation is not None
    assert np.array_equal(found.validation.x, found.train.x[:30])
    assert np.array_equal(found.validation.y, found.train.y[:30])


def test_a_class_that_only_the_held_rows_have_is_warned_of(load: Load) -> None:
    rows = [{"a": n, "label": "rare" if n == 0 else "ab"[n % 2]} for n in range(20)]
    data = load(a__json=json.dumps(rows))
    seed = next(s for s in range(100) if 0 not in prepared(data, validation=0.5, split_seed=s).train.rows)
    found = prepared(data, validation=0.5, split_seed=seed)
    assert found.warnings == ("classes without a row in the training part: rare",)
    assert found.outline.outputs == 3


def test_nothing_but_rows_without_a_target_is_refused(load: Load) -> None:
    with pytest.raises(InvalidSpec):
        prepared(load(a__csv="a,b,label\n1,x,\n2,y,\n"))


def test_a_held_row_that_cannot_be_scaled_is_refused(load: Load) -> None:
    rows = [{"a": 1e-30 * n, "label": n % 2} for n in range(9)] + [{"a": 1e30, "label": 1}]
    data = load(a__json=json.dumps(rows))
    seed = next(s for s in range(100) if 9 not in cut(np.arange(10), hashed(np.arange(10), s), 0.2, 0.0)[0])
    with pytest.raises(InvalidData, match="row 10 holds a number too large for float32"):
        prepared(data, validation=0.2, split_seed=seed)


NUMBER = st.one_of(st.none(), st.floats(-1e12, 1e12).map(lambda v: round(v, 3)), st.integers(-(2**40), 2**40))
SMALL = st.floats(-100, 100).map(lambda v: round(v, 3))
ROW = st.fixed_dictionaries(
    {
        "n": NUMBER,
        "m": st.floats(-1e6, 1e6).map(lambda v: round(v, 9)),
        "c": st.one_of(st.none(), st.sampled_from(["red", "green", "", "NA", " x"])),
        "b": st.booleans(),
        "v": st.lists(SMALL, min_size=3, max_size=3),
    }
)


@settings(deadline=None)
@given(st.lists(ROW, min_size=4, max_size=25), st.integers(0, 1000))
def test_what_training_saw_is_what_a_prediction_computes_to_the_bit(rows: list[dict[str, Any]], seed: int) -> None:
    for at, row in enumerate(rows):
        row["label"] = "yn"[at % 2]
    with tempfile.TemporaryDirectory() as folder:
        rows_to_dataset(rows, Path(folder) / "parsed")
        data = Dataset.open(Path(folder) / "parsed")
        found = prepared(data, validation=0.3, test=0.2, split_seed=seed)
        model = stored(found)
        assert model == found.preprocessor
        for part in (found.train, found.validation, found.test):
            if part is not None:
                sent = [rows[at] for at in part.rows.tolist()]
                names = [str(feature["name"]) for feature in model.features]
                assert model.rows(sent).tobytes() == part.x.tobytes()
                assert model.rows([[row[name] for name in names] for row in sent]).tobytes() == part.x.tobytes()
                assert b"".join(model.rows([row]).tobytes() for row in sent) == part.x.tobytes()


IMAGE = st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=2, max_size=2)
SERIES = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=3, max_size=3)


@settings(deadline=None)
@given(st.lists(st.tuples(IMAGE, SERIES), min_size=2, max_size=8), st.sampled_from(["auto", "none"]), st.integers(0, 1))
def test_the_same_holds_for_rows_that_are_one_array(rows: list[tuple[Any, ...]], preprocess: str, which: int) -> None:
    sent = [{"a": row[which], "label": at % 2} for at, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        rows_to_dataset(sent, Path(folder) / "parsed")
        found = prepared(Dataset.open(Path(folder) / "parsed"), preprocess=preprocess)
        model = stored(found)
        arrays = [row["a"] for row in sent]
        assert model == found.preprocessor
        assert model.rows(sent).tobytes() == found.train.x.tobytes()
        assert model.rows(arrays).tobytes() == found.train.x.tobytes()
        assert model.rows([np.ravel(array).tolist() for array in arrays]).tobytes() == found.train.x.tobytes()
        assert model.array(np.array(arrays)).tobytes() == found.train.x.tobytes()
