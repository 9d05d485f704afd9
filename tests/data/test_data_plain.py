"""Rows of bare numbers are read by a short way, which gives what the long way gives or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Preprocessor, prepare, rows_to_dataset
from service.errors import InvalidData


def fitted(folder: Path, rows: list[Any], **spec: Any) -> Preprocessor:
    """What is learned from rows."""
    rows_to_dataset(rows, folder / "rows")
    found = prepare(Dataset.open(folder / "rows"), DatasetSpec(rows=rows, target="y", **spec), "class").preprocessor
    assert isinstance(found, Preprocessor)
    return found


def _models(folder: Path) -> list[tuple[Preprocessor, list[Any]]]:
    dice = np.random.default_rng(0)
    numbers = [{"a": float(i), "b": i / 7 if i % 3 else None, "y": "no" if i % 2 else "yes"} for i in range(12)]
    vectors = [{"v": dice.normal(size=5).round(3).tolist(), "y": "ab"[i % 2]} for i in range(12)]
    pixels = [{"v": dice.integers(0, 256, (2, 3)).tolist(), "y": "ab"[i % 2]} for i in range(12)]
    made = []
    none = {"preprocess": "none"}
    given: list[tuple[list[Any], dict[str, Any]]] = [(numbers, {}), (vectors, {}), (vectors, none), (pixels, {})]
    for at, (rows, spec) in enumerate(given):
        (folder / str(at)).mkdir()
        made.append((fitted(folder / str(at), rows, **spec), [0.5, 3, 2, 1, 0.125, 7]))
    return made


def test_the_short_way_gives_what_the_long_way_gives_or_nothing(tmp_path: Path) -> None:
    short = 0
    for model, values in _models(tmp_path):
        assert model.width is not None
        row = values[: model.width]
        whole = [int(each) for each in row]
        odd: list[Any] = [[row], [whole], [row, whole], [row[:-1]], [row[:-1], [*row, 1]], [[*row, 1]], [[row]]]
        odd += [[[10**400, *row[1:]]], [["1", *row[1:]]], [[]], [{}], [model.width], ["abcdef"[: model.width]], [[[1]]]]
        odd += [[[1e39, *row[1:]]], [[256, *whole[1:]]], [[-1, *whole[1:]]], [row, {}], [row, 0]]
        for rows in odd:
            found = model.plain(rows)
            if found is None:
                continue
            short += 1
            told = model.rows(rows)
            assert (found.dtype, found.shape) == (told.dtype, told.shape)
            assert found.tobytes() == told.tobytes()
    assert short >= 12


def test_a_lone_vector_may_be_sent_without_a_list_around_it(tmp_path: Path) -> None:
    model = _models(tmp_path)[1][0]
    row = [0.5, 1.5, -2.0, 0.25, 3]
    same = [model.rows(rows).tobytes() for rows in ([row], [[row]], [{"v": row}])]
    assert same == [model.array(np.array([row])).tobytes()] * 3
    with pytest.raises(InvalidData, match=r"expected shape \(5,\), got \(4,\)"):
        model.rows([row[:4]])
    with pytest.raises(InvalidData, match=r"expected shape \(5,\)"):
        model.rows([[]])


def test_missing_numbers_do_not_widen_what_is_sent(tmp_path: Path) -> None:
    model = _models(tmp_path)[0][0]
    assert (model.width, model.shape) == (2, (3,))  # the third is the mark of a missing b


def test_bytes_of_floats_are_taken_as_an_array_of_them_is_or_not_at_all(tmp_path: Path) -> None:
    taken = 0
    for model, values in _models(tmp_path):
        assert model.width is not None
        rows = np.array([values[: model.width]] * 3, "<f4")
        huge = rows.copy()
        huge[1] = np.finfo(np.float32).max  # whose squares overflow, and which are numbers all the same
        for x in (rows, huge):
            found = model.floats(x.tobytes())
            if found is not None:
                taken += 1
                told = model.array(x)
                assert (found.dtype, found.shape, found.tobytes()) == (told.dtype, told.shape, told.tobytes())
        for wrong in (np.nan, np.inf, -np.inf):
            rows[2, -1] = wrong
            assert model.floats(rows.tobytes()) is None
    assert taken == 2
