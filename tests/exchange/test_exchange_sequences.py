"""Models of rows of any length that travel: the single file takes any rows, ONNX those of one length at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_models import model_of

from service.data import Preprocessor, rows_to_dataset
from service.exchange import predictor, to_onnx
from service.serving.sequences import SequenceNetwork
from service.specs.artifact import NetworkModel

RANDOM = np.random.default_rng(2)
LSTM = {"kind": "lstm", "units": 4}
SAME = {"kind": "conv1d", "filters": 3, "kernel_size": 4, "padding": "same"}
END = {"kind": "dense", "units": 2, "activation": "softmax"}
NETWORKS: dict[str, list[Any]] = {
    "recurrent": [LSTM, {"kind": "gru", "units": 3, "output": "last"}, END],
    "both ways": [{"kind": "bidirectional", "layer": LSTM}, {"kind": "global_max_pool"}, END],
    "convolved": [SAME, {"kind": "batch_norm"}, {"kind": "residual", "layers": [SAME]},
                  {"kind": "global_average_pool"}, END],
}  # fmt: skip
ROWS: list[Any] = [
    {"trace": RANDOM.normal((4, -20), (1, 9), (length, 2)).tolist(), "label": "ab"[length % 2]}
    for length in (3, 8, 1, 5, 21)
]
FLAT: list[Any] = [{"trace": [step[1] for step in row["trace"]], "label": row["label"]} for row in ROWS]


APART: list[Any] = [
    {"x": [step[0] for step in row["trace"]], "y": [step[1:] for step in row["trace"]], "label": row["label"]}
    for row in ROWS
]
KINDS = pytest.mark.parametrize("rows", [ROWS, FLAT, APART], ids=["pairs", "numbers", "two columns"])


def model(folder: Path, rows: list[Any], layers: list[Any]) -> tuple[NetworkModel, list[Any], np.ndarray[Any, Any]]:
    """Made of all rows but the longest; all rows as they are sent; and its answers to them."""
    rows_to_dataset(rows[:-1], folder / "parsed")
    made = model_of(folder, None, layers, loss="cross_entropy", target="label")
    sent = [{name: row[name] for name in row if name != "label"} for row in rows]
    assert isinstance(made.preprocessor, Preprocessor)
    return made, sent, SequenceNetwork(made)(made.preprocessor.rows(sent))


@KINDS
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_the_single_file_says_the_same(tmp_path: Path, rows: list[Any], layers: list[Any]) -> None:
    made, sent, answers = model(tmp_path, rows, layers)
    assert isinstance(made.preprocessor, Preprocessor)
    told = {"preprocessor": made.preprocessor.to_json()}
    written = [layer.model_dump(mode="json") for layer in made.network.layers]
    for x, answer in zip(predictor.encode(sent, told), answers, strict=True):
        np.testing.assert_allclose(predictor.network(x, written, made.weights, None)[0], answer, atol=1e-6)


@KINDS
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_onnxruntime_says_the_same(tmp_path: Path, rows: list[Any], layers: list[Any]) -> None:
    pytest.importorskip("onnx", reason="the extra onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="an oracle")
    made, sent, answers = model(tmp_path, rows, layers)
    session = onnxruntime.InferenceSession(to_onnx(made), providers=["CPUExecutionProvider"])
    for row, answer in zip(sent, answers, strict=True):
        (found,) = session.run(["probabilities"], {name: np.array([row[name]]) for name in row})
        np.testing.assert_allclose(found[0], answer, atol=1e-6)
