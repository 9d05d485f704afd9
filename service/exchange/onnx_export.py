"""A trained network as an ONNX file: raw rows in, named answers out."""

from __future__ import annotations

import json
from dataclasses import replace

from onnx import TensorProto

from service.data import Flat, Letters, Sequences, Whole
from service.exchange import onnx_rows
from service.exchange.finish import finish_of
from service.exchange.graph import Graph, Value
from service.exchange.onnx_layers import WORDS, Writer, write_row
from service.specs.artifact import NetworkModel


def to_onnx(model: NetworkModel) -> bytes:
    """The file, checked by ONNX's own checker. Its metadata say where it came from and how rows are prepared."""
    prepared = model.preprocessor
    inputs = ["characters"] if isinstance(prepared, Letters) else [str(each["name"]) for each in prepared.features]
    graph = Graph(frozenset(inputs))
    if isinstance(prepared, Letters):
        x = Value(graph.input("characters", TensorProto.INT64, [onnx_rows.ROWS, "time"]), 2, prepared.vocabulary)
        y = write_network(model, x, graph)
        graph.output("probabilities", y.name, TensorProto.FLOAT, [onnx_rows.ROWS, "time", model.outputs])
    else:
        rows = prepared.encoder
        x = _rows(graph, rows, model.signature.shape)
        onnx_rows.answers(graph, write_network(model, x, graph), prepared.target)
    told = {"preprocessor": json.dumps(prepared.to_json()), "facts": json.dumps(dict(model.facts))}
    return graph.bytes("netwright", told)


def _rows(graph: Graph, rows: Flat | Whole | Sequences, shape: tuple[int, ...]) -> Value:
    """What the network sees; how many steps a sequence has is known only when it comes."""
    if isinstance(rows, Sequences):
        return onnx_rows.sequences(graph, rows)
    x = onnx_rows.flat(graph, rows) if isinstance(rows, Flat) else onnx_rows.whole(graph, rows)
    return replace(x, dims=shape)


def write_network(model: NetworkModel, x: Value, graph: Graph) -> Value:
    """The layers, and the activation that the loss implies when the last one ends linear."""
    y = write_row(model.network.layers, x, Writer(graph, model.weights))
    finish = finish_of(model)
    return y if finish is None else WORDS[finish](None, y, Writer(graph, {}))
