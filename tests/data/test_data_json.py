"""JSON lines, JSON arrays and rows at hand: values keep the types that JSON gives them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Dataset, rows_sha256, rows_to_dataset
from service.errors import InvalidData

Load = Callable[..., Dataset]

ROWS = [{"a": 1, "b": "x", "c": True}, {"a": 2.5, "b": None, "c": False}, {"a": None, "b": "x"}]


def lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_lines_and_an_array_give_the_same_data_set(load: Load) -> None:
    expected = [
        {"a": 1.0, "b": "x", "c": "true"},
        {"a": 2.5, "b": None, "c": "false"},
        {"a": None, "b": "x", "c": None},
    ]
    assert load(a__jsonl=lines(ROWS)).preview() == expected
    assert load(a__json=json.dumps(ROWS)).preview() == expected


def test_a_number_in_quotes_stays_a_word(load: Load) -> None:
    data = load(a__jsonl=lines([{"v": "7"}, {"v": "7"}]))
    assert data.preview() == [{"v": "7"}, {"v": "7"}]
    assert "numbers written as words" in data.description.warnings[0]


def test_a_key_that_appears_late_is_missing_before(load: Load) -> None:
    rows = 50_000  # over a block
    data = load(a__jsonl=lines([{"a": n, "pad": "x" * 30} for n in range(rows)] + [{"a": 0, "late": 5, "word": "w"}]))
    assert data.take([0, rows])[0]["late"] is None
    assert data.take([rows]) == [{"a": 0, "pad": None, "late": 5, "word": "w"}]


def test_rows_may_be_arrays(load: Load) -> None:
    assert load(a__jsonl="[1, 2]\n[3, 4]\n").preview() == [
        {"column_1": 1, "column_2": 2},
        {"column_1": 3, "column_2": 4},
    ]


def test_nested_lists_of_small_whole_numbers_are_images(load: Load) -> None:
    (column,) = load(a__jsonl=lines([{"image": [[0, 16], [3, 4]]}, {"image": [[1, 2], [3, 255]]}])).description.columns
    assert (column.type, column.dtype, column.shape) == ("image", "uint8", [2, 2])


def test_lists_of_numbers_are_arrays_in_the_least_type_that_keeps_them(load: Load) -> None:
    data = load(a__jsonl=lines([{"i": [1, 300], "f": [0.5, 1], "d": [0.1, 1]}] * 2))
    assert [(c.type, c.dtype) for c in data.description.columns] == [
        ("array", "int32"),
        ("array", "float32"),
        ("array", "float64"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"a": 1}\n{"a": \n', "/rows/1", "row 2 (line 2) is not JSON"),
        ('{"a": 1}\n\n{"a": NaN}\n', "/rows/1", "row 2 (line 3) is not JSON"),
        ('{"a": 1}\n{"a": 1},{"a": 2}\n', "/rows/1", "row 2 (line 2) is not JSON"),
        ('{"a": 1}\n{"a": {"b": 1}}\n', "/rows/1/a", "row 2, column 'a': expected a number, a word or a list"),
        (
            '{"a": [[[1]], [[2]]]}\n{"a": [[[1]]]}\n',
            "/rows/1/a",
            "row 2, column 'a': expected shape (2, 1, 1) as in the first row, got (1, 1, 1)",
        ),
        ('{"a": [1, 2]}\n{"a": null}\n', "/rows/1/a", "row 2, column 'a'"),
        ('{"a": [1, "x"]}\n', "/rows/0/a/1", "row 1, column 'a', step 2: expected a number, got 'x'"),
        ('{"a": 1}\n[1]\n', "/rows/1", "row 2: expected an object like the first row"),
        ("[1, 2]\n[3]\n", "/rows/1", "row 2 has 1 values for 2 columns"),
        ('{"a": 1}\n{"a": 1' + "0" * 400 + "}\n", "/rows/1/a", "row 2, column 'a': expected a number within"),
    ],
)
def test_a_fault_is_named_by_row_and_column(load: Load, text: str, place: str, words: str) -> None:
    with pytest.raises(InvalidData) as caught:
        load(format="jsonl", a__jsonl=text)
    assert caught.value.faults[0].pointer == place
    assert words in caught.value.faults[0].message


CELL = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
ROW = st.fixed_dictionaries({"n": CELL, "w": st.one_of(st.none(), st.sampled_from(["a", "b", ""]))})


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30))
def test_rows_at_hand_come_back(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parsed"
        rows_to_dataset(rows, path)
        assert Dataset.open(path).preview(len(rows)) == rows


def test_rows_are_named_by_content_whatever_the_order_of_their_keys() -> None:
    assert rows_sha256([{"a": 1, "b": 2}]) == rows_sha256([{"b": 2, "a": 1}])
    assert rows_sha256([{"a": 1}]) != rows_sha256([{"a": 2}])


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    first, second = (rows_to_dataset(ROWS, tmp_path / name) for name in ("a", "b"))
    assert first.sha256 == second.sha256
    assert first.bytes == (tmp_path / "a").stat().st_size
