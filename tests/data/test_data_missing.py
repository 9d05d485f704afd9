"""Missing values: each policy as people expect it, learned from the training part, and the same in a prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Prepared, Preprocessor, apply, outline, prepare
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]
# The last row is the validation part: what it holds must not be learned.
TABLE = "n,word,y\n1,a,0\n1,b,1\n,b,0\n4,,1\n10,b,0\n1000,c,1\n"
ORDER = {"split": {"kind": "ordered"}, "validation": 1 / 6, "target": "y"}


def prepared(data: Dataset, **fields: Any) -> Prepared:
    return prepare(data, DatasetSpec.model_validate({"id": "ds_1", **ORDER, **fields}), "class")


def stored(found: Prepared) -> Preprocessor:
    return Preprocessor.from_json(json.loads(json.dumps(found.preprocessor.to_json())))


def stands_for(found: Prepared) -> float:
    """What the third row's missing number was taken for, in its own units."""
    x = found.train.x[:, 0].astype(np.float64)
    scale = (10 - 1) / (x[4] - x[0])
    return float(1 + (x[2] - x[0]) * scale)


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        ({"kind": "mean"}, 4.0),  # (1 + 1 + 4 + 10) / 4
        ({"kind": "median"}, 2.5),  # of 1 1 4 10
        ({"kind": "most_frequent"}, 1.0),
        ({"kind": "constant", "value": -7.5}, -7.5),
        ({"kind": "constant", "value": 3}, 3.0),
    ],
)
@pytest.mark.parametrize("indicator", [True, False])
def test_a_missing_number_is_what_the_policy_says(
    load: Load, policy: dict[str, Any], value: float, indicator: bool
) -> None:
    found = prepared(load(a__csv=TABLE), features=["n"], missing={"n": policy | {"indicator": indicator}})
    assert stands_for(found) == pytest.approx(value, abs=1e-5)
    assert found.train.x.shape == (5, 1 + indicator)
    if indicator:
        assert found.train.x[:, 1].tolist() == [0, 0, 1, 0, 0]
    assert stored(found).rows([{"n": None}]).tolist() == found.train.x[2:3].tolist()


def words(found: Prepared) -> list[Any]:
    """The slot that each training row has."""
    assert (found.train.x.sum(axis=1) <= 1).all()
    return [int(row.argmax()) if row.any() else None for row in found.train.x]


def test_a_missing_word_is_what_the_policy_says(load: Load) -> None:
    data = load(a__csv=TABLE)

    def slots(policy: dict[str, Any] | None) -> tuple[list[Any], list[list[float]]]:
        found = prepared(data, features=["word"], missing=None if policy is None else {"word": policy})
        asked = stored(found).rows([{"word": None}, {"word": "?"}]).tolist()
        assert asked == [found.train.x[3].tolist()] * 2, "asked as it was trained"
        return words(found), stored(found).rows([{"word": "none"}]).tolist()

    assert slots(None)[0] == slots({"kind": "own_category"})[0] == [0, 1, 1, 3, 1]
    assert slots({"kind": "most_frequent"})[0] == [0, 1, 1, 1, 1]
    assert slots({"kind": "constant", "value": "a"})[0] == [0, 1, 1, 0, 1]
    new, asked = slots({"kind": "constant", "value": "none"})
    assert new == [0, 1, 1, 2, 1]
    assert [row.index(1.0) for row in asked] == [2], "the word itself means the same"


def test_one_policy_for_all_is_for_the_columns_it_suits(load: Load) -> None:
    found = prepared(load(a__csv=TABLE), missing={"kind": "median", "indicator": False})
    assert stands_for(found) == pytest.approx(2.5, abs=1e-5)
    assert found.train.x.shape == (5, 1 + 4), "words have their own category still"


def test_dropped_rows_are_in_no_part_and_refused_in_a_prediction(load: Load) -> None:
    data = load(a__csv=TABLE)
    found = prepared(data, missing={"kind": "drop"})
    assert found.train.rows.tolist() == [0, 1, 4]
    assert found.validation is not None
    assert found.validation.rows.tolist() == [5]
    assert found.outline.rows + found.outline.validation_rows == 4
    assert "rows without n, word are left out" in found.outline.warnings
    model = stored(found)
    with pytest.raises(InvalidData) as caught:
        model.rows([{"n": None, "word": "a"}, {"n": 1, "word": None}, {"n": 1, "word": "NA"}])
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/0/n", "/rows/1/word", "/rows/2/word"]
    with pytest.raises(InvalidData, match="row 3"):
        apply(data, model)
    kept = apply(data, model, leave_out=True)
    assert kept.learnable().tolist() == [0, 1, 4, 5]
    assert kept.held(DatasetSpec.model_validate({"id": "ds_1", **ORDER}), "validation").tolist() == [5]
    assert kept.part(np.array([0, 1, 4])).x.tolist() == found.train.x.tolist()


def test_numbers_as_they_are_may_be_dropped_too(load: Load) -> None:
    found = prepared(load(a__csv=TABLE), features=["n"], preprocess="none", missing={"n": {"kind": "drop"}})
    assert found.train.x[:, 0].tolist() == [1, 1, 4, 10]


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"missing": {"m": {"kind": "mean"}}}, "/dataset/missing/m"),
        ({"missing": {"y": {"kind": "drop"}}}, "/dataset/missing/y"),
        ({"missing": {"word": {"kind": "median"}}}, "/dataset/missing/word"),
        ({"missing": {"n": {"kind": "own_category"}}}, "/dataset/missing/n"),
        ({"missing": {"n": {"kind": "constant", "value": "a"}}}, "/dataset/missing/n"),
        ({"missing": {"word": {"kind": "constant", "value": 1}}}, "/dataset/missing/word"),
        ({"missing": {"n": {"kind": "mean"}}, "preprocess": "none", "features": ["n"]}, "/dataset/features/0"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_at_its_place(load: Load, said: dict[str, Any], pointer: str) -> None:
    spec = DatasetSpec.model_validate({"id": "ds_1", **ORDER, **said})
    with pytest.raises(InvalidSpec) as caught:
        outline(load(a__csv=TABLE).description, spec, "class")
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize("missing", [{"kind": "mode"}, {"n": "mean"}, "mean", {"n": {"kind": "constant"}}, 3])
def test_what_is_no_policy_is_no_spec(missing: Any) -> None:
    with pytest.raises(ValueError, match="missing"):
        DatasetSpec.model_validate({"id": "ds_1", "missing": missing})


@pytest.mark.oracle
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_scikit_learn_fills_the_same(load: Load, strategy: str) -> None:
    impute = pytest.importorskip("sklearn.impute", reason="an oracle")
    chance = np.random.default_rng(3)
    values = chance.integers(0, 9, (60, 3)).astype(float)
    values[chance.random((60, 3)) < 0.2] = np.nan
    lines = [",".join("" if np.isnan(v) else str(int(v)) for v in row) + f",{at % 2}" for at, row in enumerate(values)]
    missing = {"kind": strategy, "indicator": False}
    found = prepared(load(a__csv="a,b,c,y\n" + "\n".join(lines)), missing=missing, validation=0.25)
    filled = impute.SimpleImputer(strategy=strategy).fit(values[:45]).transform(values)
    encoder = found.table.encoder
    for at, feature in enumerate(encoder.features):  # type: ignore[union-attr]
        assert found.validation is not None
        own = found.validation.x[:, at] * feature.deviation + feature.mean
        np.testing.assert_allclose(own, filled[45:, at], atol=1e-5)
