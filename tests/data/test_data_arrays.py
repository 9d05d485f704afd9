"""NPY, NPZ and IDX: the same numbers that NumPy itself reads, in their own types."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.data import Dataset, Upload, read
from service.errors import InvalidData

Load = Callable[..., Dataset]


def npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def idx(array: np.ndarray[Any, Any], code: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def test_an_npzs_arrays_are_its_columns(load: Load) -> None:
    data = load(a__npz=npz(image=PIXELS, label=np.array([0, 1, 2, 1, 0]), word=np.array(["a", "b", "", "a", "b"])))
    assert data.description.kind == "image"
    assert [(c.name, c.type, c.dtype, c.shape) for c in data.description.columns] == [
        ("image", "image", "uint8", [4, 3]),
        ("label", "number", "float32", []),
        ("word", "category", "int32", []),
    ]
    assert np.array_equal(data.column("image").values, PIXELS)
    assert [row["word"] for row in data.preview()] == ["a", "b", None, "a", "b"]


def test_statistics_of_bytes_are_numpys(load: Load) -> None:
    (column,) = load(a__npy=npy(PIXELS)).description.columns
    assert column.min == PIXELS.min()
    assert column.max == PIXELS.max()
    assert column.mean == pytest.approx(PIXELS.mean())
    assert column.std == pytest.approx(PIXELS.std())


def test_npy_files_are_columns_called_as_the_files(load: Load) -> None:
    data = load(x__npy=npy(np.eye(3)), y__npy=npy(np.array([[1.0], [2.0], [3.0]])))
    assert data.description.kind == "array"
    assert [(c.name, c.type, c.shape) for c in data.description.columns] == [("x", "array", [3]), ("y", "number", [])]


def test_fortran_order_and_other_byte_orders_are_read_as_meant(load: Load) -> None:
    array = np.asfortranarray(np.arange(24, dtype=">i4").reshape(6, 2, 2))
    found = load(a__npy=npy(array)).column("a").values
    assert found.dtype == np.dtype("<i4")
    assert np.array_equal(found, array)


def test_a_row_of_many_blocks_comes_back(load: Load) -> None:
    array = np.random.default_rng(0).normal(size=(3, 300_000))  # 2.4 MB a row
    assert np.array_equal(load(a__npy__gz=gzip.compress(npy(array), 1)).column("a").values, array)


def test_arrays_that_differ_in_rows_are_named(load: Load) -> None:
    with pytest.raises(InvalidData, match=r"x_train 3, x_test 2"):
        load(a__npz=npz(x_train=np.zeros((3, 2)), x_test=np.zeros((2, 2))))


@pytest.mark.parametrize(
    "array", [np.zeros(3, complex), np.zeros((), float), np.zeros((3, 0)), np.zeros(0), np.zeros(2, "M8[s]")]
)
def test_what_is_no_column_of_numbers_or_words_is_refused(load: Load, array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InvalidData):
        load(a__npy=npy(array))


def test_values_that_are_not_finite_are_counted(load: Load) -> None:
    data = load(a__npy=npy(np.array([1.0, np.nan, np.inf])), b__npy=npy(np.array([[1.0, np.nan], [1, 2], [3, 4]])))
    assert [column.missing for column in data.description.columns] == [2, 1]
    assert len(data.description.warnings) == 2


TYPES = st.sampled_from(["u1", "i1", "i2", "i4", "i8", "u2", "f2", "f4", "f8", "?"])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5)


@settings(deadline=None)
@given(TYPES.flatmap(lambda kind: hnp.arrays(kind, SHAPES, elements={"allow_nan": False} if kind[0] == "f" else None)))
def test_every_array_survives(array: np.ndarray[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        path.write_bytes(npy(array))
        read([Upload("a.npy", path)], Path(folder) / "parsed")
        found = Dataset.open(Path(folder) / "parsed").column("a").values
    assert found.dtype == (np.uint8 if array.dtype == bool else array.dtype)
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_images_and_labels_are_image_and_label(load: Load, pack: Callable[[bytes], bytes]) -> None:
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    data = load(**{"t10k-images-idx3-ubyte": pack(idx(PIXELS, 8)), "t10k-labels-idx1-ubyte": pack(idx(labels, 8))})
    assert np.array_equal(data.column("image").values, PIXELS)
    assert data.column("label").values.tolist() == [3, 1, 4, 1, 5]
    assert data.description.columns[1].classes == ["1", "3", "4", "5"]


@pytest.mark.parametrize(("code", "kind"), [(9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
def test_every_idx_type_is_read(load: Load, code: int, kind: str) -> None:
    array = np.array([[-3, 0], [7, 100]], kind)
    assert np.array_equal(load(**{"a-idx2": idx(array, code)}).column("a-idx2").values, array)


def test_idx_that_has_fewer_or_more_bytes_than_it_says_is_refused(load: Load) -> None:
    whole = idx(PIXELS, 8)
    for wrong in (whole[:-1], whole + b"1"):
        with pytest.raises(InvalidData):
            load(a=wrong)
