"""Dates as numbers: the calendar's own, alike in training and prediction."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data import Dataset, DatasetSpec, Preprocessor, Upload, apply, outline, parse_wishes, prepare, read
from service.data.dates import DateParts, columns
from service.data.statistics import Floats
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]
PARTS = ("year", "month", "day", "weekday", "hour", "minute", "time")
TABLE = "when,y\n2024-01-31T05:30:00Z,0\n2024-02-29T23:59:59Z,1\n1969-12-31T00:00:00Z,0\n,1\n2031-07-04T12:00:00Z,1\n"


@pytest.fixture
def data(tmp_path: Any) -> Dataset:
    (tmp_path / "a.csv").write_text(TABLE)
    read([Upload("a.csv", tmp_path / "a.csv")], tmp_path / "parsed", wishes=parse_wishes("when:date", None))
    return Dataset.open(tmp_path / "parsed")


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_every_second_of_ten_thousand_years_has_the_calendars_parts(second: int) -> None:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    expected = [when.year, when.month, when.day, when.weekday(), when.hour, when.minute, second]
    assert columns(np.array([float(second)]), PARTS, "number")[0].tolist() == expected


def test_a_turn_ends_where_it_begins() -> None:
    hours: Floats = np.arange(25, dtype=np.float64) * np.float64(3600)
    x = columns(hours, ("hour",), "cyclic")
    assert x[24] == pytest.approx(x[0])
    steps = np.linalg.norm(np.diff(x, axis=0), axis=1)
    assert steps == pytest.approx(2 * math.sin(math.pi / 24)), "23 h is as far from 0 h as any hour from the next"
    assert columns(hours[[6]], ("hour",), "cyclic")[0] == pytest.approx([1, 0], abs=1e-12)
    january = np.array([datetime(2023, 1, 9, tzinfo=UTC).timestamp()])
    assert columns(january, ("month", "weekday"), "cyclic")[0].tolist() == [0, 1, 0, 1], "January, and a Monday"


@pytest.mark.parametrize("encoding", ["cyclic", "number"])
def test_a_prediction_sees_of_a_date_what_training_saw(data: Dataset, encoding: str) -> None:
    spec = {"id": "ds_1", "dates": {"when": {"parts": list(PARTS), "encoding": encoding}}}
    found = prepare(data, DatasetSpec.model_validate(spec), "class")
    assert found.train.x.shape == (5, (7 if encoding == "number" else 12) + 1)
    assert found.train.x[3, :-1].tolist() == [0.0] * (found.train.x.shape[1] - 1)
    assert found.train.x[:, -1].tolist() == [0, 0, 0, 1, 0]
    model = Preprocessor.from_json(json.loads(json.dumps(found.preprocessor.to_json())))
    assert model.rows(data.preview()).tolist() == found.train.x.tolist()
    words = [line.split(",")[0] or None for line in TABLE.splitlines()[1:]]
    assert model.rows([{"when": word} for word in words]).tolist() == found.train.x.tolist()
    assert apply(data, model).x(np.arange(5)).tolist() == found.train.x.tolist()
    if encoding == "number":
        assert found.train.x[:, 0][[0, 1, 2, 4]].mean() == pytest.approx(0, abs=1e-6), "scaled as numbers are"


def test_dates_of_a_data_set_read_as_words_are_dates_to_the_model(data: Dataset, load: Load) -> None:
    found = prepare(data, DatasetSpec.model_validate({"id": "ds_1", "dates": {"when": {}}}), "class")
    words = load(a__csv=TABLE)
    assert words.description.columns[0].type != "number"
    assert apply(words, found.table).x(np.arange(5)).tolist() == found.train.x.tolist()
    wrong = load(b__csv="when,y\n2024-01-31,0\n31.01.2024,1\n")
    with pytest.raises(InvalidData, match=r"row 2.*'when'.*expected a date"):
        apply(wrong, found.table)


def test_a_month_begins_with_its_first_day(data: Dataset) -> None:
    found = prepare(data, DatasetSpec.model_validate({"id": "ds_1", "dates": {"when": {}}}), "class").table
    assert found.rows([{"when": "2024-02"}]).tolist() == found.rows([{"when": "2024-02-01"}]).tolist()


def test_a_missing_date_is_what_the_policy_says(data: Dataset) -> None:
    def third(policy: dict[str, Any]) -> list[float]:
        spec = {"id": "ds_1", "dates": {"when": {"parts": ["year", "month"], "encoding": "number"}}}
        found = prepare(data, DatasetSpec.model_validate(spec | {"missing": {"when": policy}}), "class")
        (feature,) = found.table.encoder.features  # type: ignore[union-attr]
        own = found.train.x[-2, :2] * np.array(feature.deviation) + np.array(feature.mean)  # type: ignore[union-attr]
        return [round(float(value), 3) for value in own]

    moment = datetime(2000, 8, 1, tzinfo=UTC).timestamp()
    assert third({"kind": "constant", "value": moment}) == [2000, 8]
    assert third({"kind": "median"}) == [2024, 2], "between 2024-01-31 and 2024-02-29"
    spec = DatasetSpec.model_validate({"id": "ds_1", "dates": {"when": {}}, "missing": {"kind": "drop"}})
    found = prepare(data, spec, "class")
    assert found.train.rows.tolist() == [0, 1, 2, 4]
    with pytest.raises(InvalidData):
        found.table.rows([{"when": None}])


@pytest.mark.parametrize("value", ["31.01.2024", "soon", 1e18, -1e18, True, [1]])
def test_what_is_no_date_is_refused_at_its_place(data: Dataset, value: Any) -> None:
    found = prepare(data, DatasetSpec.model_validate({"id": "ds_1", "dates": {"when": {}}}), "class")
    with pytest.raises(InvalidData) as caught:
        found.table.rows([{"when": "2024-01-31"}, {"when": value}])
    assert caught.value.faults[0].pointer.startswith("/rows/1")


@pytest.mark.parametrize(
    ("dates", "pointer"),
    [({"wen": {}}, "/dataset/dates/wen"), ({"word": {}}, "/dataset/dates/word"), ({"y": {}}, "/dataset/dates/y")],
)
def test_a_column_of_no_dates_is_refused(load: Load, dates: dict[str, Any], pointer: str) -> None:
    table = load(a__csv="when,word,y\n1,a,0\n2,b,1\n")
    spec = DatasetSpec.model_validate({"id": "ds_1", "target": "y", "dates": dates})
    with pytest.raises(InvalidSpec) as caught:
        outline(table.description, spec, "class")
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_part_is_named_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        DateParts.model_validate({"parts": ["year", "year"]})
