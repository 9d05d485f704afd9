"""Every word of the vocabulary in ONNX: sound by its own checker, and equal in onnxruntime."""

from __future__ import annotations

import typing

import numpy as np
import pytest
from exchange_models import EXAMPLES, LAYERS, network_of, rows_of

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="an oracle")

from service.exchange.graph import Graph, Value  # noqa: E402
from service.exchange.onnx_layers import WORDS, Writer, write_row  # noqa: E402


def test_every_layer_has_its_words() -> None:
    assert set(WORDS) == set(LAYERS)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_a_layer_gives_in_onnxruntime_what_it_gives_here(name: str, example: typing.Any) -> None:
    spec, signature, weights, network = network_of(example)
    graph = Graph()
    element = onnx.TensorProto.FLOAT if signature.vocabulary is None else onnx.TensorProto.INT64
    name_in = graph.input("x", element, ["rows", *example.dims])
    x = Value(name_in, 1 + len(example.dims), signature.vocabulary, example.dims)
    y = write_row(spec.layers, x, Writer(graph, weights))
    graph.output("y", y.name, onnx.TensorProto.FLOAT, ["rows", *(f"d{at}" for at in range(y.rank - 1))])
    session = onnxruntime.InferenceSession(graph.bytes(name, {}), providers=["CPUExecutionProvider"])
    for rows in (1, 5):
        raw = rows_of(example, rows)
        given = raw if signature.vocabulary is None else raw.astype(np.int64)
        (found,) = session.run(["y"], {"x": given})
        np.testing.assert_allclose(found, network(raw), rtol=1e-5, atol=1e-5)
