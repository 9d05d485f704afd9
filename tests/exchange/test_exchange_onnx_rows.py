"""Whole models in ONNX: raw rows in, named answers out, the same as this service gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_models import DATA, ENDS, drawn, labels_of, model_of, table_of
from pydantic import TypeAdapter

from service.data import Flat, Letters, Preprocessor, Upload, read
from service.engine import Loss, NetworkSpec, Signature
from service.exchange import to_onnx
from service.specs.artifact import NetworkModel

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="an oracle")
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs the tables of ../shared/data")

Json = dict[str, Any]
DENSE: list[Json] = [{"kind": "dense", "units": 8, "activation": "gelu"}]


def session(model: NetworkModel) -> Any:
    return onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])


def ours(model: NetworkModel, rows: list[Json]) -> tuple[Any, list[Json]]:
    assert isinstance(model.preprocessor, Preprocessor)
    y = model.bind()(model.preprocessor.rows(rows))
    return model.preprocessor.numbers(y), model.preprocessor.answers(y)


def columns(model: NetworkModel, rows: list[Json]) -> Json:
    """The rows as the ONNX model's inputs: a column each, NaN and empty words for what is missing."""
    assert isinstance(model.preprocessor, Preprocessor)
    assert isinstance(model.preprocessor.encoder, Flat)
    found: Json = {}
    for feature in model.preprocessor.encoder.features:
        values = [row[feature.name] for row in rows]
        if feature.type == "category":
            found[feature.name] = np.array([["" if v is None else str(v)] for v in values], object)
        else:
            found[feature.name] = np.array([[np.nan if v is None else v] for v in values], np.float64)
    return found


@needs_data
@pytest.mark.parametrize("rows", [1, 500])
@pytest.mark.parametrize(
    ("file", "target", "loss", "kind"),
    [
        ("seaborn_titanic.csv", "alive", "cross_entropy", "class"),
        ("adult_train.csv", None, "binary_cross_entropy", "binary"),
        ("seaborn_penguins.csv", "species", "cross_entropy", "class"),
        ("california_housing.csv", "median_house_value", "squared_error", "number"),
    ],
)
def test_a_table_with_words_and_gaps(
    tmp_path: Path, file: str, target: str | None, loss: str, kind: str, rows: int
) -> None:
    outputs = {"class": 2 + (file == "seaborn_penguins.csv"), "binary": 1, "number": 1}[kind]
    layers = [*DENSE, {"kind": "dense", "units": outputs}]
    model = model_of(tmp_path, file, layers, target=target, kind=kind, loss=loss)
    given = table_of(tmp_path).preview(rows)
    runs = session(model)
    numbers, answers = ours(model, given)
    found = dict(zip([each.name for each in runs.get_outputs()], runs.run(None, columns(model, given)), strict=True))
    if kind == "number":
        np.testing.assert_allclose(found["values"], numbers, rtol=1e-5)
    else:
        np.testing.assert_allclose(found["probabilities"], numbers, atol=1e-5)
        assert list(found["label"]) == [each["label"] for each in answers]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_pictures_come_as_bytes_and_leave_with_names(tmp_path: Path, end: list[Json]) -> None:
    layers = [{"kind": "conv2d", "filters": 4, "kernel_size": 3, "activation": "relu"}, *end]
    model = model_of(tmp_path, "digits", layers, loss="cross_entropy")
    table = table_of(tmp_path)
    (name,) = [each.name for each in table.description.columns if each.type == "image"]
    pictures = table.columns[name].take(np.arange(40))
    runs = session(model)
    probabilities, label = runs.run(["probabilities", "label"], {name: pictures})
    numbers, answers = ours(model, table.preview(40))
    np.testing.assert_allclose(probabilities, numbers, atol=1e-5)
    assert list(label) == [each["label"] for each in answers]


def test_columns_may_be_called_what_the_file_calls_its_own(tmp_path: Path) -> None:
    names = ["label", "label_", "probabilities", "constant_0", "0.weight", "isnan_0"]
    lines = [",".join([*names, "y"])] + [",".join([*map(str, range(at, at + 6)), "ab"[at % 2]]) for at in range(9)]
    (tmp_path / "upload").write_text("\n".join(lines), encoding="utf-8")
    read([Upload("rows.csv", tmp_path / "upload")], tmp_path / "parsed")
    layers = [*DENSE, {"kind": "dense", "units": 2}]
    model = model_of(tmp_path, None, layers, target="y", loss="cross_entropy")
    given = table_of(tmp_path).preview(9)
    probabilities, label = session(model).run(None, columns(model, given))
    numbers, answers = ours(model, given)
    np.testing.assert_allclose(probabilities, numbers, atol=1e-6)
    assert list(label) == [each["label"] for each in answers]


def test_letters_of_any_length_are_foretold(tmp_path: Path) -> None:
    letters = Letters("abcdefgh", 12)
    layers = [{"kind": "lstm", "units": 8}, {"kind": "gru", "units": 8}, {"kind": "dense", "units": 9}]
    spec, signature = NetworkSpec.model_validate({"layers": layers}), Signature((12,), "int32", vocabulary=9)
    loss: Any = TypeAdapter(Loss).validate_python({"kind": "cross_entropy"})
    model = NetworkModel(spec, signature, 9, loss, "float32", letters, {}, drawn(spec, signature))
    runs = session(model)
    ids = np.stack([letters.encode("abcabcaabbcc"), letters.encode("hgfedcbahgf?")])
    (found,) = runs.run(["probabilities"], {"characters": ids.astype(np.int64)})
    np.testing.assert_allclose(found, model.bind()(ids), atol=1e-5)
    (shorter,) = runs.run(["probabilities"], {"characters": ids[:, :5].astype(np.int64)})
    np.testing.assert_allclose(shorter, found[:, :5], atol=1e-6)


def test_labels_have_a_probability_each(tmp_path: Path) -> None:
    model, rows = labels_of(tmp_path)
    runs = session(model)
    assert [each.name for each in runs.get_outputs()] == ["probabilities"]
    numbers, _ = ours(model, rows)
    np.testing.assert_allclose(runs.run(None, columns(model, rows))[0], numbers, atol=1e-6)
