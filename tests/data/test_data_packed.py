"""Rows that come as bytes: pictures, and numbers in base64; what cannot be read is told at its place."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Preprocessor, prepare
from service.errors import InvalidData
from service.tensors import Array

Load = Callable[..., Dataset]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture(values: Array, kind: str = "PNG") -> bytes:
    image = pytest.importorskip("PIL.Image", reason="needs the extra images")
    file = BytesIO()
    image.fromarray(values).save(file, kind)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def model(load: Load, images: Array) -> Preprocessor:
    data = load(a__npz=npz(image=images, label=np.arange(len(images)) % 2))
    return prepare(data, DatasetSpec.model_validate({"id": "ds_1", "target": "label"}), "class").table


@pytest.fixture
def grey() -> Array:
    return np.random.default_rng(1).integers(0, 256, (4, 6, 5), np.uint8)


def faults(preprocessor: Preprocessor, rows: list[Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidData) as caught:
        preprocessor.rows(rows)
    return [(fault.pointer, fault.message.partition(": ")[2]) for fault in caught.value.faults]


def test_a_png_is_its_pixels_whichever_way_it_comes(load: Load, grey: Array) -> None:
    preprocessor = model(load, grey)
    expected = preprocessor.rows([grey[0].tolist()])
    data = picture(grey[0])
    for row in ({"image": text(data)}, text(data), "data:image/png;base64," + text(data), data, {"image": data}):
        np.testing.assert_array_equal(preprocessor.rows([row]), expected)


def test_numbers_in_base64_are_the_rows_own_type(load: Load, grey: Array) -> None:
    preprocessor = model(load, grey)
    np.testing.assert_array_equal(preprocessor.rows([text(grey[1].tobytes())]), preprocessor.rows([grey[1].tolist()]))
    floats = np.random.default_rng(2).standard_normal((4, 3, 2)).astype(np.float32)
    real = model(load, floats)
    np.testing.assert_array_equal(real.rows([text(floats[2].tobytes())])[0], floats[2])


def test_colours_are_kept_and_a_grey_jpeg_of_one_colour_is_that_colour(load: Load) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (4, 6, 5, 3), np.uint8)
    preprocessor = model(load, colours)
    np.testing.assert_array_equal(preprocessor.rows([text(picture(colours[3]))])[0], colours[3])
    flat = np.full((6, 5), 77, np.uint8)
    (found,) = preprocessor.rows([text(picture(flat, "JPEG"))])
    assert np.abs(found.astype(int) - 77).max() <= 1


def test_a_pictures_white_is_the_largest_value_that_the_data_set_knew(load: Load) -> None:
    preprocessor = model(load, np.array([[[0, 16]], [[16, 8]]], np.uint8).repeat(2, 0))
    (found,) = preprocessor.rows([text(picture(np.array([[255, 128]], np.uint8)))])
    assert found.reshape(-1).tolist() == [16, 8]


def test_what_cannot_be_read_is_told_row_by_row(load: Load, grey: Array) -> None:
    preprocessor = model(load, grey)
    data = picture(grey[0])
    rows = [
        "no base64!",
        text(b"12345"),
        text(data[: len(data) // 2]),
        text(picture(grey[0, :3])),
        {"image": text(b"")},
    ]
    assert faults(preprocessor, rows) == [
        ("/rows/0", "a word that is not base64"),
        ("/rows/1", "5 bytes that are neither a PNG nor a JPEG"),
        ("/rows/2", "a damaged PNG"),
        ("/rows/3", "a PNG of 5 x 3 pixels, expected 5 x 6"),
        ("/rows/4/image", "0 bytes that are neither a PNG nor a JPEG"),
    ]


def test_a_picture_that_claims_to_be_huge_is_refused_by_its_header(load: Load, grey: Array) -> None:
    data = bytearray(picture(grey[0]))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    ((place, words),) = faults(model(load, grey), [text(bytes(data))])
    assert place == "/rows/0"
    assert "PNG" in words


def test_numbers_that_are_not_finite_are_refused(load: Load) -> None:
    floats = np.zeros((4, 3, 2), np.float32)
    bad = np.full((3, 2), np.nan, np.float32)
    assert faults(model(load, floats), [text(bad.tobytes())]) == [("/rows/0", "expected finite numbers")]
