"""Types that a caller says: numbers stay numbers or name the row, words stay as spelt, dates are seconds."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Upload, Wishes, parse_wishes, prepare, read
from service.errors import InvalidData, RequestError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CSV = "zip,age,when,note\n01234,31,2024-02-29,a\n00007,?,2024-03-01T12:00:00+02:00,b\n01234,45,,a\n"
JSON = '{"zip": "01234", "age": 31, "when": "2024-02-29", "note": 1}\n{"zip": "7", "when": null, "note": 2.5}\n'


def upload(folder: Path, content: str, types: str | None, name: str = "a.csv") -> Dataset:
    (folder / "upload").write_text(content, encoding="utf-8")
    read([Upload(name, folder / "upload")], folder / "parsed", wishes=parse_wishes(types, None))
    return Dataset.open(folder / "parsed")


def test_a_column_is_read_as_the_type_that_is_asked_for(tmp_path: Path) -> None:
    data = upload(tmp_path, CSV, "zip:category,age:number,when:date,note:text")
    assert [column.type for column in data.description.columns] == ["category", "number", "number", "text"]
    day = datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC).timestamp()
    noon = datetime.datetime(2024, 3, 1, 10, tzinfo=datetime.UTC).timestamp()
    assert data.take([0, 1, 2]) == [
        {"zip": "01234", "age": 31, "when": day, "note": "a"},
        {"zip": "00007", "age": None, "when": noon, "note": "b"},
        {"zip": "01234", "age": 45, "when": None, "note": "a"},
    ]


def test_numbers_that_begin_with_a_zero_are_numbers_where_that_is_said(tmp_path: Path) -> None:
    data = upload(tmp_path, CSV, "zip:number")
    assert [row["zip"] for row in data.take([0, 1])] == [1234, 7]
    assert upload(tmp_path, CSV, "zip:category,when:date").description.warnings == []


def test_json_lines_obey_as_well(tmp_path: Path) -> None:
    data = upload(tmp_path, JSON, '{"zip": "number", "when": "date", "note": "category"}', "a.jsonl")
    assert [row["zip"] for row in data.take([0, 1])] == [1234, 7]
    assert data.column("note").words == ("1", "2.5")


@pytest.mark.parametrize(
    ("types", "place", "words"),
    [
        ("zip:number,note:number", "/rows/0/note", "row 1 (line 2), column 'note': expected a number, got 'a'"),
        ("zip:date", "/rows/0/zip", "row 1 (line 2), column 'zip': expected an ISO date"),
        ("zap:number", "/types", "there is no column 'zap'"),
        ("zip:numbr", "/types", "expected `column:type`, got 'zip:numbr'"),
        ("zip", "/types", "expected `column:type`"),
        ("[" * 9000, "/types", "expected `column:type`"),
        ("{" * 9000, "/types", "expected `column:type`"),
    ],
)
def test_what_cannot_be_is_named(types: str, place: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as caught:
        upload(tmp_path, CSV, types)
    assert caught.value.faults[0].pointer == place
    assert words in caught.value.faults[0].message


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.csv", 'a,n\n"two\nlines",1\n\nx,two\ny,3\nz,four\n', ["row 2 (line 5)", "row 4 (line 7)"]),
        ("a.csv", "\n1,two\n3,4\n", ["row 1 (line 2)"]),  # no line of names
        ("a.jsonl", '{"n": 1}\n\n{"n": "two"}\n{"n": 3}\n{"n": "four"}\n', ["row 2 (line 3)", "row 4 (line 5)"]),
        ("a.json", '[{"n": 1},\n{"n": "two"}]', ["row 2"]),  # lines mean nothing there
    ],
)
def test_a_value_of_another_type_is_told_by_its_row_and_its_line(
    name: str, content: str, places: list[str], tmp_path: Path
) -> None:
    column = "n" if '"' in content else "column_2"
    with pytest.raises(InvalidData) as caught:
        upload(tmp_path, content, f"{column}:number", name)
    assert [fault.message.partition(", column")[0] for fault in caught.value.faults] == places


def test_types_are_for_tables_and_sizes_for_pictures(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="types are for tables"):
        upload(tmp_path, "some words\n", "a:number", "a.txt")
    (tmp_path / "upload").write_text(CSV)
    with pytest.raises(InvalidData, match="resize is for"):
        read([Upload("a.csv", tmp_path / "upload")], tmp_path / "parsed", wishes=Wishes(resize=(2, 2)))
    for size in ("28", "0x3", "28x28x3", "99999x1"):
        with pytest.raises(RequestError, match="width x height"):
            parse_wishes(None, size)


def test_the_past_trains_and_the_future_tests_by_a_column_of_dates(
    tmp_path: Path, shared: Callable[..., Dataset]
) -> None:
    shared("monthly_sunspots.csv")  # or skipped
    lines = (SHARED / "monthly_sunspots.csv").read_text("utf-8").splitlines()
    rows = [line.replace('"', "").split(",") for line in lines[1:]]
    shuffled = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    text = "month,spots\n" + "".join(f"{month}-01,{spots}\n" for month, spots in shuffled)
    data = upload(tmp_path, text, "month:date")
    split = {"kind": "ordered", "column": "month"}
    spec = {"id": "ds_1", "features": ["month"], "target": "spots", "test": 0.25, "split": split}
    found = prepare(data, DatasetSpec.model_validate(spec), "number")
    assert found.test is not None
    months = np.array([month for month, _ in shuffled])
    assert max(months[found.train.rows]) <= min(months[found.test.rows])
    assert sorted(months[found.test.rows].tolist()) == sorted(months.tolist())[-len(found.test.rows) :]
