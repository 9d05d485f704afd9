"""A text as rows of characters for a network: ids, windows, parts."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Letters, outline_letters, prepare_letters, stored_preprocessor
from service.errors import InvalidData, InvalidSpec

Load = Callable[..., Dataset]


def spec(**fields: object) -> DatasetSpec:
    return DatasetSpec.model_validate({"id": "ds_1", **fields})


def test_characters_are_numbered_in_order_and_each_row_goes_on_where_the_last_ended(load: Load) -> None:
    # "abracadabra" has a b c d r -> 1 2 3 4 5; 11 characters give (11 - 1) // 4 = 2 rows
    prepared = prepare_letters(load(a__txt="abracadabra"), spec(window=4))
    assert isinstance(prepared.preprocessor, Letters)
    assert prepared.preprocessor.characters == "abcdr"
    assert prepared.train.x.tolist() == [[1, 2, 5, 1], [3, 1, 4, 1]]
    assert prepared.train.y.tolist() == [[2, 5, 1, 3], [1, 4, 1, 2]]
    assert prepared.train.x.dtype == np.int32
    assert (prepared.outline.vocabulary, prepared.outline.outputs, prepared.outline.shape) == (6, 6, (4,))


def test_a_character_that_training_lacks_is_unknown(load: Load) -> None:
    prepared = prepare_letters(load(a__txt="abc\nabc\n霜霜霜霜\n"), spec(window=2, validation=0.34))
    assert prepared.validation is not None
    assert prepared.validation.x.tolist() == [[0, 0], [0, 0]]
    assert prepared.validation.y.tolist() == [[0, 0], [0, 1]]  # the line feed is the first of "\nabc"


def test_the_parts_are_the_text_in_order(load: Load) -> None:
    data = load(a__txt="".join(f"line {n % 7}\n" for n in range(10)))
    prepared = prepare_letters(data, spec(window=3, validation=0.2, test=0.1))
    letters = prepared.preprocessor
    assert isinstance(letters, Letters)
    told = []
    for part in (prepared.train, prepared.validation, prepared.test):
        assert part is not None
        told.append("".join(map(letters.decode, part.x.reshape(-1).tolist())))
    assert told == ["".join(f"line {n}\n" for n in range(7))[:48], "line 0\nline 1\n"[:12], "line 2"]
    found = prepared.outline
    assert (found.rows, found.validation_rows, found.test_rows) == (16, 4, 2)


def test_the_window_is_filled_in_and_the_outline_is_that_of_the_prepared(load: Load) -> None:
    data = load(a__txt="床前明月光\n" * 30)
    found = outline_letters(data, spec())
    assert (found.spec.window, found.rows, found.vocabulary) == (50, (180 - 1) // 50, 7)
    assert found == prepare_letters(data, spec()).outline


def test_a_column_of_a_table_is_a_text(load: Load) -> None:
    data = load(a__jsonl='{"t": "one two three", "n": 1}\n{"t": "four five six", "n": 2}\n')
    assert outline_letters(data, spec(column="t", window=5)).rows == (28 - 1) // 5


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [({}, "/dataset/window"), ({"target": "x"}, "/dataset/target"), ({"features": ["x"]}, "/dataset/features")],
)
def test_what_cannot_be_is_told_at_its_place(load: Load, fields: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        outline_letters(load(a__txt="too short"), spec(**fields))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_part_without_a_row_is_left_out_with_a_warning(load: Load) -> None:
    data = load(a__txt="a long enough line\n" * 9 + "short\n")
    prepared = prepare_letters(data, spec(window=20, validation=0.1))
    assert prepared.validation is None
    assert "validation part is shorter" in prepared.warnings[0]


def test_one_line_cannot_be_cut_and_the_part_that_has_none_is_told(load: Load) -> None:
    prepared = prepare_letters(load(a__txt="a text without the end of a line " * 9), spec(window=20, validation=0.1))
    assert prepared.validation is None
    assert prepared.warnings == (
        "the validation part has no text, and no scores: parts are whole lines, and there are too few",
    )


def test_letters_survive_json() -> None:
    letters = Letters.of(memoryview("häß\n\U0001f600\n".encode()), 7)
    again = stored_preprocessor(json.loads(json.dumps(letters.to_json())))
    assert again == letters
    assert [letters.decode(each) for each in letters.encode("ß\U0001f600\nzä").tolist()] == list("ß\U0001f600\n\ufffdä")
    with pytest.raises(InvalidData, match="version 9"):
        stored_preprocessor(letters.to_json() | {"version": 9})


def test_an_odd_prompt_is_read_character_by_character() -> None:
    letters = Letters("ab", 5)
    assert letters.encode("\ud800a\U0010ffffb").tolist() == [0, 1, 0, 2]
    assert letters.encode("").tolist() == []


def test_shakespeare_has_65_characters(shared: Callable[..., Dataset]) -> None:
    found = outline_letters(shared("tinyshakespeare.txt"), spec(validation=0.1))
    assert found.vocabulary == 66  # 65 and the unknown one
    assert found.rows + found.validation_rows == pytest.approx(1_115_394 / 50, abs=2)
