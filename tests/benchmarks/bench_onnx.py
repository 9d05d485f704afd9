"""ONNX, a row for every layer, activation and kind of rows: the checker's word, and how far onnxruntime is from us.

`make bench-onnx`. The rows are the engine's examples, so a new layer has its own at once. Needs the extra onnx, and
onnxruntime; the tables of ../shared/data for their rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark
onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="an oracle")

sys.path.append(str(Path(__file__).parents[1] / "exchange"))
import exchange_models as models
import test_exchange_onnx_rows as whole

from service.data import Letters
from service.engine import NetworkSpec, Signature
from service.engine.losses import CrossEntropy
from service.exchange.graph import Graph, Value
from service.exchange.onnx_layers import Writer, write_row
from service.specs.artifact import NetworkModel

WITHIN = 1e-5
SIZES = (1, 7)


def layer_gaps(example: Any) -> list[float]:
    """The largest difference at each batch size, of a graph that ONNX's full check passed."""
    spec, signature, weights, network = models.network_of(example)
    graph, rank = Graph(), 1 + len(example.dims)
    element = onnx.TensorProto.FLOAT if signature.vocabulary is None else onnx.TensorProto.INT64
    x = Value(graph.input("x", element, ["rows", *example.dims]), rank, signature.vocabulary, example.dims)
    y = write_row(spec.layers, x, Writer(graph, weights))
    graph.output("y", y.name, onnx.TensorProto.FLOAT, ["rows", *(f"d{at}" for at in range(y.rank - 1))])
    session = onnxruntime.InferenceSession(graph.bytes("g", {}), providers=["CPUExecutionProvider"])
    return [gap(session, network, example, rows) for rows in SIZES]


def gap(session: Any, network: Any, example: Any, rows: int) -> float:
    raw = models.rows_of(example, rows)
    (found,) = session.run(["y"], {"x": raw if example.vocabulary is None else raw.astype(np.int64)})
    return apart(found, network(raw))


def apart(found: Any, wanted: Any) -> float:
    """The largest difference, where answers are beyond 1 as a share of the largest."""
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))


def test_every_layer() -> None:
    print(f"\n{'layer or activation':22} cases  check  {'  '.join(f'gap at {n} rows' for n in SIZES)}")
    for kind, examples in models.LAYERS.items():
        gaps = np.array([layer_gaps(each) for each in examples if each.lengths is None]).T
        print(f"{kind:22} {gaps.shape[1]:5}  full   " + "  ".join(f"{each.max():13.1e}" for each in gaps))
        assert gaps.max() <= WITHIN, kind


TABLES = [
    ("seaborn_titanic.csv", "alive", "cross_entropy", "class", 2),
    ("adult_train.csv", "income", "binary_cross_entropy", "binary", 1),
    ("seaborn_penguins.csv", "species", "cross_entropy", "class", 3),
    ("california_housing.csv", "median_house_value", "squared_error", "number", 1),
]


def table_gaps(folder: Path) -> Iterator[tuple[str, list[float]]]:
    for file, target, loss, kind, outputs in TABLES if models.DATA.exists() else []:
        layers = [{"kind": "dense", "units": 8, "activation": "gelu"}, {"kind": "dense", "units": outputs}]
        model = models.model_of(folder, file, layers, target=target, kind=kind, loss=loss)
        session, found = whole.session(model), []
        for size in SIZES:
            given = models.table_of(folder).preview(size)
            (told,) = session.run(["values" if kind == "number" else "probabilities"], whole.columns(model, given))
            numbers = np.asarray(whole.ours(model, given)[0])
            found.append(apart(told, numbers))
        yield f"{file}: numbers, categories, gaps", found


def picture_gaps(folder: Path) -> list[float]:
    layers = [{"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": 1, "strides": 2, "activation": "relu"},
              {"kind": "flatten"}, {"kind": "dense", "units": 10}]  # fmt: skip
    model = models.model_of(folder, "digits", layers, loss="cross_entropy")
    table, session, found = models.table_of(folder), whole.session(model), []
    for size in SIZES:
        pictures = table.columns["image"].take(np.arange(size))
        (told,) = session.run(["probabilities"], {"image": pictures})
        found.append(apart(told, whole.ours(model, table.preview(size))[0]))
    return found


def letter_gaps() -> list[float]:
    letters = Letters("abcdefgh", 12)
    layers = [{"kind": "lstm", "units": 8}, {"kind": "gru", "units": 8}, {"kind": "dense", "units": 9}]
    spec, signature = NetworkSpec.model_validate({"layers": layers}), Signature((12,), "int32", vocabulary=9)
    weights = models.drawn(spec, signature)
    model = NetworkModel(spec, signature, 9, CrossEntropy(), "float32", letters, {}, weights)
    session, chance, found = whole.session(model), np.random.default_rng(0), []
    for size in SIZES:
        ids = chance.integers(0, 9, (size, 12))
        (told,) = session.run(["probabilities"], {"characters": ids})
        found.append(apart(told, model.bind()(ids.astype(np.int32))))
    return found


def test_every_kind_of_rows(tmp_path: Path) -> None:
    print(f"\n{'rows, as they are sent':52} {'  '.join(f'gap at {n} rows' for n in SIZES)}")
    others = [("digits: pictures of bytes", picture_gaps(tmp_path)), ("letters of a text", letter_gaps())]
    for name, gaps in [*table_gaps(tmp_path), *others]:
        print(f"{name:52} " + "  ".join(f"{each:13.1e}" for each in gaps))
        assert max(gaps) <= WITHIN, name
