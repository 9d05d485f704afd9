"""What a newcomer uploads: read as words where numbers or dates were meant, and told so; or refused with a way out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from service.data import Dataset
from service.errors import InvalidData

Load = Callable[..., Dataset]


def column(*values: str) -> str:
    return "a;n\n" + "".join(f"{value};{at}\n" for at, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (["1,5", "2,25", "-3,0"], "looks like numbers with marks ('1,5')"),
        (["1.200,50", "900,10"], "looks like numbers with marks ('1.200,50')"),
        (["12%", "7.5%"], "looks like numbers with marks ('12%')"),
        (["2024-02-29", "2024-03-01T12:00"], "looks like dates ('2024-02-29') and is read as words: say types=a:date"),
        (["29.02.2024", "1.3.2024"], "looks like dates ('29.02.2024') and is read as words: write them as 2024-02-29"),
        (["2/29/24", "3/1/24"], "looks like dates ('2/29/24')"),
        (
            ["02134", "94103"],
            "begin with 0 ('02134') and is read as words: say types=a:number at the upload if they are",
        ),
        (["7", "8", "x"], "1 of 3 values are not numbers (first: 'x')"),
    ],
)
def test_a_column_of_words_that_was_meant_otherwise_is_told(load: Load, values: list[str], warning: str) -> None:
    (told,) = load(a__csv=column(*values)).description.warnings
    assert told.startswith("column 'a'")
    assert warning in told


@pytest.mark.parametrize("values", [["A1", "B2", "C3"], ["red", "1,5"], ["x-1", "y-2024"], ["10:30", "11:45"]])
def test_other_words_are_words(load: Load, values: list[str]) -> None:
    assert load(a__csv=column(*values)).description.warnings == []


def test_many_different_prices_are_told_too_although_they_are_read_as_text(load: Load) -> None:
    data = load(a__csv=column(*(f"{at},5" for at in range(99))), b__csv=column("1,5"))
    assert data.description.columns[0].type == "text"
    assert "numbers with marks" in data.description.warnings[0]


def test_one_word_among_many_different_numbers_is_told(load: Load) -> None:
    data = load(a__csv=column(*(str(at) for at in range(99)), "oops"))
    assert data.description.columns[0].type == "text"
    assert "1 of 100 values are not numbers (first: 'oops')" in data.description.warnings[0]


def test_a_file_without_names_of_columns_is_told(load: Load) -> None:
    (told,) = load(a__csv="5.1,3.5,setosa\n4.9,3.0,setosa\n6.4,3.2,versicolor\n").description.warnings
    assert "no line of names" in told


def test_a_class_may_be_called_as_its_column_when_numbers_stand_beside_it(load: Load) -> None:
    found = load(a__csv="words,spam\n12,ham\n,ham\n90,spam\n").description
    assert ([column.name for column in found.columns], found.rows, found.warnings) == (["words", "spam"], 3, [])


def test_words_alone_name_their_columns_only_where_they_do_not_come_back(load: Load) -> None:
    found = load(a__csv="red,big\nblue,small\nred,small\n").description
    assert (found.rows, len(found.warnings)) == (3, 1)


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("a__xlsx", "is a spreadsheet", "save the sheet as CSV"),
        ("a__pt", "is a pickle", "safetensors"),
        ("a__png", "is one picture", "zip of pictures"),
        ("a__wav", "is a sound", "zip of WAV"),
        ("a__mp4", "is a video", "NPZ"),
        ("a__onnx", "is a model", "/v1/runs/import"),
    ],
)
def test_what_is_no_data_set_is_told_what_it_is_and_what_to_send(load: Load, name: str, what: str, hint: str) -> None:
    with pytest.raises(InvalidData, match=what) as caught:
        load(**{name: b"PK\x03\x04" + bytes(90)})
    assert hint in (caught.value.hint or "")


def test_a_zip_of_sounds_is_told_what_they_become(load: Load) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("dogs/1.mp3", b"ID3")
    with pytest.raises(InvalidData, match=r"dogs/1\.mp3', a sound") as caught:
        load(a__zip=packed.getvalue())
    assert "zip of WAV" in (caught.value.faults[0].hint or "")
