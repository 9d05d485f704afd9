"""With pyarrow a large CSV is the data set that it is without: the same file, to the last byte, or the same refusal."""

from __future__ import annotations

import gzip
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Upload, parse_wishes, read
from service.data.columns import MISSING
from service.data.readers import csv_ahead, csv_fast
from service.data.readers.table import Table
from service.data.source import Source
from service.data.spool import Spool
from service.errors import RequestError

CELLS = st.sampled_from([
    "1", "2.5", "-3e2", " 4", "5 ", "", "?", "NA", "nan", "NaN", "inf", "-Infinity", "1_000", "0x1p3", "1e999",
    "1e-400", "٣", "nan(1)", ".5", "5.", "+7", "-0", "00", " 02", "-05", '"007"', "1e05", "1e-05", "1.05", "10:05",
    "1d5", "true", "a", " a ", "é", "'x'", "a\"b", '"q,r"',
    '"two\nlines"', "x\ry", "\t", "\x1c1", "\u2003x", "0.1000000000000000055511151231257827", "1234567890" * 3,
])  # fmt: skip
QUOTED = st.sampled_from(
    ['""', '"a"', '"a ""b"""', '""""', '"5"', '" 6 "', '"NA"', '"q,r"', '"q,05"', '"05"', "05", "7", "x", "8"]
)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=40)
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", "\r", "\n \n", "\n1,2\n"])


def outcome(content: bytes, folder: Path, large: int, types: str | None = None) -> str:
    """The sha256 of the data set, or what was told instead."""
    (folder / "upload").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_ahead, "LARGE_BYTES", large)
        for name in ("BLOCK_BYTES", "LARGE_BLOCK_BYTES"):
            patch.setattr(csv_ahead, name, 200)
        patch.setattr(Source.blocks, "__defaults__", (200,))
        try:
            wishes = parse_wishes(types, None)
            return read([Upload("a.csv", folder / "upload")], folder / "parsed", "csv", wishes=wishes).sha256
        except RequestError as error:
            return str([(fault.pointer, fault.message) for fault in error.faults])


@settings(deadline=None, max_examples=150)
@given(ROWS, ENDS, st.booleans())
def test_fast_and_careful_reading_give_the_same_bytes(rows: list[list[str]], end: str, named: bool) -> None:
    pytest.importorskip("pyarrow")
    lines = ["a,b,c" if named else "1,2,3", *(",".join(row) for row in rows)]
    content = (lines[0] + "\n" + end.join(lines[1:]) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        assert outcome(content, Path(folder), 0) == outcome(content, Path(folder), 1 << 40)


@settings(deadline=None, max_examples=25)
@given(ROWS, ENDS)
def test_values_of_another_type_are_told_by_the_same_lines_either_way(rows: list[list[str]], end: str) -> None:
    pytest.importorskip("pyarrow")
    content = ("a,b,c\n" + end.join(",".join(row) for row in rows) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        told = [outcome(content, Path(folder), large, "b:number") for large in (0, 1 << 40)]
        assert told[0] == told[1]


def test_a_late_value_of_another_type_is_told_by_its_line_in_a_large_file_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = "".join(f"{at},{at / 8}\n" + "\n" * (at % 7 == 0) for at in range(300))
    content = f"a,b\n{rows}300,none of it\n".encode()
    last = content.count(b"\n")
    assert f"row 301 (line {last}), column 'b': expected a number" in outcome(content, tmp_path, 0, "b:number")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(QUOTED, min_size=2, max_size=2), min_size=1, max_size=60), ENDS, st.booleans())
def test_plain_quotes_are_read_the_same_either_way(rows: list[list[str]], end: str, single: bool) -> None:
    pytest.importorskip("pyarrow")
    lines = ['"a ""x"""' if single else 'a,"b,c"', *(row[0] if single else ",".join(row) for row in rows)]
    content = ("\n".join(lines[:2]) + "\n" + end.join(lines[2:]) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        assert outcome(content, Path(folder), 0) == outcome(content, Path(folder), 1 << 40)


@pytest.mark.parametrize("late", ["", "-0", "0x1f", "007", " 7 ", "+7", "256", "0.5", "1e999", "word", "²", "٣"])
def test_a_column_of_bytes_that_ends_as_something_else_is_read_the_same(late: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    lines = ["a,b", *(f"{row % 256},{row % 2}" for row in range(400)), f"{late},1", "3,1"]
    content = ("\n".join(lines) + "\n").encode()
    assert outcome(content, tmp_path, 0) == outcome(content, tmp_path, 1 << 40)


@pytest.mark.parametrize("cell", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\0b", "é".encode()])
@pytest.mark.parametrize("row", [b"%b,x\n", b"1,%b\n"])
def test_a_cell_that_is_no_utf8_is_told_with_its_line(cell: bytes, row: bytes, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    content = b"\xef\xbb\xbfa,\xc3\xa9\n" + b"1,x\n" * 200 + row % cell + b"2,y\n" * 100
    for upload in (content, gzip.compress(content)):
        found = outcome(upload, tmp_path, 0)
        assert found == outcome(upload, tmp_path, 1 << 40)
        assert ("line 202" in found) == (cell != "é".encode())


def test_every_number_is_pythons(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    bits = np.random.default_rng(3).integers(0, 1 << 64, 20_000, np.uint64).view(np.float64)
    words = [repr(value) for value in bits[np.isfinite(bits)].tolist()]
    words += [f"{value:.{digits}g}" for digits in (3, 17, 25) for value in np.random.default_rng(4).normal(size=500)]
    found = csv_fast.numbers(pa.array(words))
    assert found is not None
    assert found.tobytes() == np.array([float(word) for word in words]).tobytes()


def columns_of_bytes(block: bytes) -> list[type | None]:
    """What columns that looked like bytes are cut as; None for words."""
    found = csv_fast.cut(block, ",", ["byte", "byte"]) or []
    return [None if isinstance(column, csv_fast.Coded) else column.dtype.type for column in found]


def numbers_and_words(block: bytes, hints: list[csv_fast.Hint]) -> tuple[Any, Any, list[str]]:
    """(the numbers, the words' codes, the words) of two columns."""
    columns = csv_fast.cut(block, ",", hints)
    assert columns is not None
    numbers, words = columns
    assert isinstance(numbers, np.ndarray)
    assert isinstance(words, csv_fast.Coded)
    return numbers.tolist(), words.codes.tolist(), words.words


def test_only_what_came_as_bytes_is_cut_as_bytes_again(tmp_path: Path) -> None:
    with closing(Spool(tmp_path)) as spool:
        table = Table(spool, MISSING)
        table.add_numbers("age", np.array([41.0]))  # written 41.0, which pyarrow takes for no whole number
        table.add_numbers("pixel", np.array([41], np.uint8))
        assert table.hints(["age", "pixel"], ["number", "byte"]) == ["number", "byte"]


def test_it_is_the_fast_way_that_plain_blocks_take(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    plain = numbers_and_words(b"1,x\n2, y\n3,x\n", ["any", "any"])
    assert plain == ([1, 2, 3], [0, 1, 0], ["x", " y"])
    assert columns_of_bytes(b"1,2\n255,0x3\n") == [np.float64, None]
    assert columns_of_bytes(b"1,2\n255,3\n") == [np.uint8, np.uint8]
    assert columns_of_bytes(b"1,2\n256,3\n") == [np.float64, np.float64]
    quoted = numbers_and_words(b'"1","a ""b"", c"\r\n2,""\r\n"3","x"', ["number", "word"])
    assert quoted == ([1, 2, 3], [0, 1, 2], ['a "b", c', "", "x"])
    for block in (
        b'1,"x" \n',
        b'1, "x"\n',
        b'1,"x\n',
        b'1,x"y"\n',
        b'1,"x\ny"\n',
        b'"1""2"3,4\n',
        b"1,x\r2,y\n",
        b"1\n",
        b"1,2,3\n",
        b"1," + b"x" * 200_000 + b"\n",
    ):
        assert csv_fast.cut(block, ",", ["number", "word"]) is None


def test_zeros_before_digits_make_words_of_their_own_column_alone() -> None:
    pytest.importorskip("pyarrow")
    block = b'1,"a,05",02134,100\r\n\r\n0.05,x,94103,1e-05\r\n-0.5,y,, 0\r\n'
    columns = csv_fast.cut(block, ",", ["number", "word", "number", "number"])
    assert [isinstance(column, csv_fast.Coded) for column in columns or []] == [False, True, True, False]
