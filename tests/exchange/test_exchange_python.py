"""The single-file predictor: every layer beside the engine's, and whole models in a bare Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_models import DATA, ENDS, EXAMPLES, labels_of, model_of, network_of, rows_of, table_of

from service.data import MISSING, Preprocessor, Upload, read
from service.exchange import predictor, to_python
from service.specs.artifact import NetworkModel

Json = dict[str, Any]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_a_layer_gives_what_the_engine_gives(name: str, example: Any) -> None:
    spec, signature, weights, network = network_of(example)
    layers = [layer.model_dump(mode="json") for layer in spec.layers]
    for rows in (1, 5):
        x = rows_of(example, rows)
        found = predictor.network(x, layers, weights, signature.vocabulary)
        np.testing.assert_allclose(found, network(x), rtol=2e-5, atol=2e-6)


def test_words_for_nothing_are_the_services_own() -> None:
    assert set(predictor.MISSING) == MISSING


def ran(model: NetworkModel, folder: Path, rows: list[Json]) -> list[Json]:
    """What the file says in a Python that cannot see this service."""
    (folder / "model.py").write_bytes(to_python(model))
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    guard = "import sys, runpy; sys.modules['service'] = None; sys.argv = ['model.py', 'rows.json']; "
    code = guard + "runpy.run_path('model.py', run_name='__main__'); assert 'pydantic' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[Json] = json.loads(done.stdout)["predictions"]
    return found


@pytest.mark.skipif(not DATA.exists(), reason="needs the tables of ../shared/data")
@pytest.mark.parametrize(
    ("file", "target", "loss", "kind", "outputs"),
    [
        ("seaborn_titanic.csv", "alive", "cross_entropy", "class", 2),
        ("adult_train.csv", None, "binary_cross_entropy", "binary", 1),
        ("california_housing.csv", "median_house_value", "squared_error", "number", 1),
    ],
)
def test_a_table_with_words_and_gaps(
    tmp_path: Path, file: str, target: str | None, loss: str, kind: str, outputs: int
) -> None:
    layers = [{"kind": "dense", "units": 8, "activation": "gelu"}, {"kind": "dense", "units": outputs}]
    model = model_of(tmp_path, file, layers, target=target, kind=kind, loss=loss)
    assert isinstance(model.preprocessor, Preprocessor)
    rows = table_of(tmp_path).preview(200)
    expected = model.preprocessor.answers(model.bind()(model.preprocessor.rows(rows)))
    for found, answer in zip(ran(model, tmp_path, rows), expected, strict=True):
        if kind == "number":
            assert found["value"] == pytest.approx(answer["value"], abs=1e-6 * model.preprocessor.units[0])
        else:
            assert found["label"] == answer["label"]
            assert found["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_pictures(tmp_path: Path, end: list[Json]) -> None:
    layers = [{"kind": "conv2d", "filters": 4, "kernel_size": 3, "activation": "relu"}, *end]
    model = model_of(tmp_path, "digits", layers, loss="cross_entropy")
    rows = table_of(tmp_path).preview(20)
    assert isinstance(model.preprocessor, Preprocessor)
    expected = model.preprocessor.answers(model.bind()(model.preprocessor.rows(rows)))
    found = ran(model, tmp_path, rows)
    assert [each["label"] for each in found] == [each["label"] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_lone_array_comes_as_it_is_as_a_column_or_by_name(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    sound = chance.normal(0, 900, (12, 6))
    np.savez(tmp_path / "sound.npz", sound=sound, label=np.arange(12) % 2)
    layers = [{"kind": "reshape", "shape": [6, 1]}, {"kind": "conv1d", "filters": 2, "kernel_size": 3},
              {"kind": "flatten"}, {"kind": "dense", "units": 2}]  # fmt: skip
    read([Upload("sound.npz", tmp_path / "sound.npz")], tmp_path / "parsed")
    model = model_of(tmp_path, None, layers, target="label", loss="cross_entropy")
    assert isinstance(model.preprocessor, Preprocessor)
    rows: list[Any] = [sound[0].tolist(), [sound[1].tolist()], {"sound": sound[2].tolist()}]
    expected = model.preprocessor.answers(model.bind()(model.preprocessor.rows(rows)))
    for one, other in zip(ran(model, tmp_path, rows), expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_labels(tmp_path: Path) -> None:
    model, rows = labels_of(tmp_path)
    assert isinstance(model.preprocessor, Preprocessor)
    expected = model.preprocessor.answers(model.bind()(model.preprocessor.rows(rows)))
    for one, other in zip(ran(model, tmp_path, rows), expected, strict=True):
        assert one["labels"] == other["labels"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
