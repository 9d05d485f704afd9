"""Plain text: its bytes as they are; cut into parts at line ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.data import Dataset, DatasetSpec, text_parts
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]

POEM = "床前明月光\n疑是地上霜\n\nlast line without an end"


def spec(**fields: object) -> DatasetSpec:
    return DatasetSpec.model_validate({"id": "ds_1", **fields})


def test_text_keeps_its_bytes_and_counts_its_lines(load: Load) -> None:
    data = load(a__txt=POEM)
    assert (data.description.kind, data.rows) == ("text", 4)
    assert bytes(data.text()) == POEM.encode()
    assert [row["text"] for row in data.preview(2)] == ["床前明月光\n", "疑是地上霜\n"]


def test_a_mark_of_byte_order_is_dropped_and_files_follow_each_other(load: Load) -> None:
    assert bytes(load(a__txt=b"\xef\xbb\xbfone", b__txt=b"two\n").text()) == b"one\ntwo\n"


def test_parts_are_cut_from_the_end_at_line_ends(load: Load) -> None:
    data = load(a__txt="".join(f"line {n}\n" for n in range(10)))
    parts = text_parts(data, spec(validation=0.2, test=0.1))
    assert bytes(parts.train).decode().splitlines() == [f"line {n}" for n in range(7)]
    assert parts.validation is not None
    assert bytes(parts.validation) == b"line 7\nline 8\n"
    assert parts.test is not None
    assert bytes(parts.test) == b"line 9\n"


@pytest.mark.parametrize("fractions", [(0.0, 0.0), (0.5, 0.0), (0.3, 0.3), (0.0, 0.6)])
def test_the_parts_together_are_the_whole_text(load: Load, fractions: tuple[float, float]) -> None:
    data = load(a__txt=POEM)
    parts = text_parts(data, spec(validation=fractions[0], test=fractions[1]))
    assert b"".join(bytes(part) for part in (parts.train, parts.validation, parts.test) if part) == POEM.encode()


def test_a_tables_text_column_is_a_row_a_line(load: Load) -> None:
    data = load(a__jsonl='{"t": "one\\ntwo", "n": 1}\n{"t": "three", "n": 2}\n')
    assert bytes(text_parts(data, spec(column="t")).train) == b"one two\nthree\n"
    assert bytes(text_parts(data, spec()).train) == b"one two\nthree\n"  # the only column of words
    with pytest.raises(InvalidSpec) as caught:
        text_parts(data, spec(column="m"))
    assert caught.value.faults[0].pointer == "/dataset/column"


def test_a_table_without_words_has_no_text(load: Load) -> None:
    data = load(a__csv="a,b\n1,2\n")
    with pytest.raises(InvalidSpec, match="0 columns of words"):
        text_parts(data, spec())
    with pytest.raises(InvalidData, match="not text"):
        data.text()


def test_a_referred_part_must_be_handed_over(load: Load) -> None:
    data = load(a__txt="a\nb\n")
    with pytest.raises(ValueError, match="handed over"):
        text_parts(data, spec(validation={"id": "ds_2"}))
    parts = text_parts(data, spec(validation={"id": "ds_2"}), validation=data)
    assert parts.validation is not None
    assert bytes(parts.validation) == bytes(parts.train) == b"a\nb\n"
