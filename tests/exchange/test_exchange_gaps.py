"""Policies of missing values and parts of dates travel with a model, into ONNX and into one Python file."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_models import drawn
from pydantic import TypeAdapter

from service.data import Dataset, DatasetSpec, Flat, Upload, parse_wishes, prepare, read
from service.engine import Loss, NetworkSpec
from service.exchange import to_onnx, to_python
from service.specs import signature_of
from service.specs.artifact import NetworkModel

Json = dict[str, Any]
LAYERS: list[Json] = [{"kind": "dense", "units": 6, "activation": "gelu"}, {"kind": "dense", "units": 2}]
POLICIES: dict[str, Any] = {
    "defaults": None,
    "fills": {"n": {"kind": "median", "indicator": False}, "word": {"kind": "most_frequent"},
              "when": {"kind": "most_frequent"}},
    "constants": {"n": {"kind": "constant", "value": -1}, "word": {"kind": "constant", "value": "none"},
                  "when": {"kind": "constant", "value": 951_782_400, "indicator": False}},
}  # fmt: skip


def model_with(folder: Path, missing: Any, encoding: str) -> tuple[NetworkModel, list[Json]]:
    """A network on a table whose gaps are not all in the training part, and rows as a caller sends them."""
    chance = np.random.default_rng(5)
    rows: list[Json] = []
    for at in range(120):
        when = datetime(1890, 1, 1, tzinfo=UTC) + timedelta(seconds=int(chance.integers(0, 8_000_000_000)))
        rows.append({"n": round(float(chance.normal()), 3), "m": at % 7, "when": when.isoformat(),
                     "word": str(chance.choice(["a", "b", "c"])), "y": "yes" if at % 2 else "no"})  # fmt: skip
        for name in ("n", "word", "when"):
            if chance.random() < 0.2:
                rows[-1][name] = None
    rows[-1] |= {"m": None, "word": "only at the end"}
    with open(folder / "a.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    read([Upload("a.csv", folder / "a.csv")], folder / "parsed", wishes=parse_wishes("when:date", None))
    said: Json = {"id": "ds_x", "missing": missing, "validation": 0.1, "split": {"kind": "ordered"}}
    said["dates"] = {"when": {"parts": ["year", "month", "day", "weekday", "hour", "minute"], "encoding": encoding}}
    prepared = prepare(Dataset.open(folder / "parsed"), DatasetSpec.model_validate(said), "class")
    spec, signature = NetworkSpec.model_validate({"layers": LAYERS}), signature_of(prepared)
    loss: Any = TypeAdapter(Loss).validate_python({"kind": "cross_entropy"})
    model = NetworkModel(
        network=spec, signature=signature, outputs=2, loss=loss, dtype="float32", preprocessor=prepared.table,
        facts={"run_id": "run_x"}, weights=drawn(spec, signature),
    )  # fmt: skip
    return model, rows


@pytest.mark.parametrize("encoding", ["cyclic", "number"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_onnx_fills_and_spreads_as_the_service_does(tmp_path: Path, policy: str, encoding: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="an oracle")
    pytest.importorskip("onnx", reason="the extra onnx")
    model, rows = model_with(tmp_path, POLICIES[policy], encoding)
    encoder = model.preprocessor.encoder  # type: ignore[union-attr]
    assert isinstance(encoder, Flat)
    given: Json = {}
    for feature in encoder.features:
        values = [row[feature.name] for row in rows]
        if feature.type == "category":
            given[feature.name] = np.array([["" if value is None else value] for value in values], object)
        else:
            known = [datetime.fromisoformat(v).timestamp() if isinstance(v, str) else v for v in values]
            given[feature.name] = np.array([[np.nan if v is None else v] for v in known], np.float64)
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], given)
    expected = model.bind()(model.preprocessor.rows(rows))  # type: ignore[union-attr]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_python_file_fills_and_spreads_as_the_service_does(tmp_path: Path) -> None:
    for policy, encoding in (("fills", "cyclic"), ("constants", "number")):
        model, rows = model_with(tmp_path, POLICIES[policy], encoding)
        (tmp_path / "model.py").write_bytes(to_python(model))
        (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        command = [sys.executable, "model.py", "rows.json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        expected = model.preprocessor.answers(model.bind()(model.preprocessor.rows(rows)))  # type: ignore[union-attr]
        for found, answer in zip(json.loads(done.stdout)["predictions"], expected, strict=True):
            assert found["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)


def test_the_python_file_refuses_what_the_service_refuses(tmp_path: Path) -> None:
    model, rows = model_with(tmp_path, {"kind": "drop"}, "cyclic")
    (tmp_path / "model.py").write_bytes(to_python(model))
    (tmp_path / "rows.json").write_text(json.dumps([rows[-1] | {"word": None}]), encoding="utf-8")
    command = [sys.executable, "model.py", "rows.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "is missing" in done.stderr
