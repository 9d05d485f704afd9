"""CSV: types are what the values are, a broken row is named, nothing is silently lost."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Dataset, Upload, read
from service.errors import InvalidData

Load = Callable[..., Dataset]


def types(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.type for column in dataset.description.columns}


def read_text(text: str) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        path, parsed = Path(folder) / "a.csv", Path(folder) / "parsed"
        path.write_text(text, encoding="utf-8", newline="")
        read([Upload("a.csv", path)], parsed)
        return Dataset.open(parsed)


def test_columns_are_numbers_or_categories_by_their_values(load: Load) -> None:
    data = load(a__csv="age,city,score\n31,Rome,1.5\n45,Oslo,2\n31,Rome,-3e2\n")
    assert types(data) == {"age": "number", "city": "category", "score": "number"}
    assert data.take([2, 0]) == [
        {"age": 31, "city": "Rome", "score": -300.0},
        {"age": 31, "city": "Rome", "score": 1.5},
    ]


def test_statistics_are_those_of_the_present_values(load: Load) -> None:
    (column,) = load(a__csv="v\n1\n2\n?\n4\n5\n").description.columns
    # mean (1+2+4+5)/4 = 3; squares (4+1+1+4)/4 = 2.5
    assert (column.min, column.max, column.mean) == (1, 5, 3)
    assert column.std == pytest.approx(2.5**0.5)
    assert (column.missing, column.distinct, column.integer) == (1, 4, True)
    assert column.classes == ["1", "2", "4", "5"]


@pytest.mark.parametrize("word", ["", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", " ? "])
def test_words_for_nothing_are_missing_in_numbers_and_in_categories(load: Load, word: str) -> None:
    data = load(a__csv=f"v,c\n1,x\n{word},{word}\n3,x\n")
    assert types(data) == {"v": "number", "c": "category"}
    assert data.take([1]) == [{"v": None, "c": None}]
    assert [column.missing for column in data.description.columns] == [1, 1]


def test_quoted_fields_keep_commas_quotes_and_newlines(load: Load) -> None:
    data = load(a__csv='n,t\n1,"a, ""b"""\n2,"two\nlines"\n')
    assert data.take([0, 1]) == [{"n": 1, "t": 'a, "b"'}, {"n": 2, "t": "two\nlines"}]


def test_a_quoted_newline_may_lie_across_the_blocks_of_reading(load: Load) -> None:
    rows = 60_000  # about 3 MB: several blocks of 1 MiB
    text = "n,t\n" + "".join(f'{n},"first {n}\nsecond, with a ""word"" more"\n' for n in range(rows))
    data = load(a__csv=text)
    assert data.rows == rows
    assert data.take([rows - 1]) == [{"n": rows - 1, "t": f'first {rows - 1}\nsecond, with a "word" more'}]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_found(load: Load, mark: str) -> None:
    data = load(a__csv=f"a{mark}b\n1{mark}x, y\n2{mark}x, y\n".replace("x, y", "x, y" if mark != "," else "x"))
    assert types(data) == {"a": "number", "b": "category"}


def test_without_a_line_of_names_columns_are_numbered(load: Load) -> None:
    assert load(a__csv="5.1,3.5,setosa\n4.9,3.0,setosa\n").take([0]) == [
        {"column_1": 5.1, "column_2": 3.5, "column_3": "setosa"}
    ]


def test_a_first_line_whose_words_come_back_is_no_header(load: Load) -> None:
    data = load(a__csv="good film,pos\nbad film,neg\nfine film,pos\n")
    assert (data.rows, list(data.columns)) == (3, ["column_1", "column_2"])


def test_names_that_repeat_or_lack_are_made_with_a_warning(load: Load) -> None:
    data = load(a__csv="a,a,,b\n1,2,3,4\n")
    assert list(data.columns) == ["a", "a_2", "column_3", "b"]
    assert [warning.split(":")[0] for warning in data.description.warnings] == [
        "the name of column 2 occurs twice",
        "the name of column 3 is empty",
    ]


@pytest.mark.parametrize(
    ("row", "place", "words"),
    [
        ("2,c", "/rows/1000/city", "row 1001 (line 2002) has 2 values for 3 columns: column 'city'"),
        ("2,c,d,e", "/rows/1000/city", "row 1001 (line 2002) has 4 values for 3 columns: too many after column 'city'"),
    ],
)
def test_a_broken_row_is_named_by_row_line_and_column(load: Load, row: str, place: str, words: str) -> None:
    before = '1,"a\nb",c\n' * 1000  # two lines a row
    with pytest.raises(InvalidData) as caught:
        load(a__csv="age,name,city\n" + before + row + "\n1,a,b\n")
    (fault,) = caught.value.faults
    assert fault.pointer == place
    assert fault.code == "ragged_row"
    assert fault.message.startswith(words)


def test_every_broken_row_of_a_block_is_told(load: Load) -> None:
    with pytest.raises(InvalidData) as caught:
        load(a__csv="a,b\n1,2\n3\n4,5\n6\n")
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/1/b", "/rows/3/b"]


def test_an_open_quote_is_named_by_its_row(load: Load) -> None:
    with pytest.raises(InvalidData, match=r"row 3\b") as caught:
        load(a__csv='a,b\n1,x\n2,y\n3,"never closed\n')
    assert caught.value.faults[0].pointer == "/rows/2"


def test_blank_lines_are_no_rows(load: Load) -> None:
    assert load(a__csv="\na,b\n\n1,2\n\n\n3,4\n\n").take([0, 1]) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_a_late_word_makes_the_whole_column_words_as_they_were_spelt(load: Load) -> None:
    rows = 250_000  # the word comes blocks after the first numbers
    data = load(a__csv="v,w\n" + "1.50,7\n" * rows + "abc,7\n")
    assert types(data) == {"v": "category", "w": "number"}
    assert data.take([0, rows]) == [{"v": "1.50", "w": 7}, {"v": "abc", "w": 7}]
    (warning,) = data.description.warnings
    assert "'v': 1 of 250,001 values are not numbers (first: 'abc')" in warning


@pytest.mark.parametrize("spelt", ["02134", "007", "00", "-05", " 08 ", '"09"', "00.5"])
def test_numbers_that_begin_with_a_zero_keep_it_as_words(load: Load, spelt: str) -> None:
    data = load(a__csv=f"code,n\n{spelt},1\n94103,2\n")
    assert types(data) == {"code": "category", "n": "number"}
    assert data.column("code").words == (spelt.strip('" '), "94103")


@pytest.mark.parametrize("spelt", ["0", "0.5", "-0.5", "-0", "1e05", "1e-05", "1.05", "100", "0e0", " 0"])
def test_a_zero_that_says_something_makes_no_words(load: Load, spelt: str) -> None:
    assert types(load(a__csv=f"a,b\n{spelt},05\n7,6\n")) == {"a": "number", "b": "category"}


def test_python_numbers_that_are_not_csv_numbers_stay_words(load: Load) -> None:
    assert types(load(a__csv="v,w\n1_000,٣\n2_000,٤\n")) == {"v": "category", "w": "category"}


def test_infinite_numbers_are_missing_with_a_warning(load: Load) -> None:
    data = load(a__csv="v\n1\ninf\n-Infinity\n")
    assert data.take([1, 2]) == [{"v": None}, {"v": None}]
    assert "2 infinite values" in data.description.warnings[0]


def test_many_different_words_are_text_and_few_are_a_category(load: Load) -> None:
    lines = "".join(f"name {n},{n % 3}x\n" for n in range(100))
    assert types(load(a__csv="name,kind\n" + lines)) == {"name": "text", "kind": "category"}


def test_a_vocabulary_without_end_becomes_text_and_keeps_every_word(load: Load) -> None:
    rows = 70_000  # more than a category may have
    data = load(a__csv="n,w\n" + "".join(f"{n},word {n}\n" for n in range(rows)))
    assert types(data)["w"] == "text"
    assert data.take([0, rows - 1]) == [{"n": 0, "w": "word 0"}, {"n": rows - 1, "w": f"word {rows - 1}"}]


def test_several_files_of_the_same_columns_are_one_data_set(load: Load) -> None:
    data = load(a__csv="a,b\n1,x\n", b__csv="a,b\n2,y\n")
    assert data.take([0, 1]) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    with pytest.raises(InvalidData, match="other columns"):
        load(a__csv="a,b\n1,x\n", b__csv="a,c\n2,y\n")


def test_small_numbers_take_four_bytes_and_others_eight(load: Load) -> None:
    data = load(a__csv="i,f\n16777216,0.1\n-3,0.5\n")
    assert [column.dtype for column in data.description.columns] == ["float32", "float64"]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_number_survives(values: list[float]) -> None:
    data = read_text("v,w\n" + "".join(f"{value!r},x\n" for value in values))
    assert data.column("v").values.astype(float).tolist() == values


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=30))
def test_every_word_survives_but_for_blanks_around_it(words: list[str]) -> None:
    kept = [f"w{word}w" for word in words]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["n", "w"], *([n, word] for n, word in enumerate(kept))])
    data = read_text(text.getvalue())
    assert [row["w"] for row in data.take(range(data.rows))] == kept
