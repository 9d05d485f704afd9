"""ONNX's operators over sequences as layers of ours: tables of vectors, and recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.exchange.onnx_flow import Call, Row
from service.tensors import Array


def embedding(row: Row, call: Call) -> Array:
    table = call.needed(0)
    if row.layers or table.ndim != 2 or call.about.get("axis", 0) or not row.shaped(call.flow.ids):
        raise call.no("only whole numbers that come in may pick rows of a table")
    row.vocabulary = len(table)
    row.add({"kind": "embedding", "units": table.shape[1]}, (*row.dims, table.shape[1]), weight=table)
    return row.fresh()


_GATES = {"RNN": (0,), "LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""Where PyTorch's gates stand among ONNX's: i f g o of i o f c; r z n of z r h."""
_KINDS = {"RNN": "simple_rnn", "LSTM": "lstm", "GRU": "gru"}
_USUAL = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}


def recurrent(row: Row, call: Call) -> tuple[Array, Array]:
    """The ids of every step, (time, ways, batch, units); and of the last, (ways, batch, units)."""
    kind, ids, about = call.node.op_type, call.flow.ids, call.about
    ways = {b"forward": 1, b"bidirectional": 2}.get(about.get("direction", b"forward"), 0)
    _plain(call, kind, ways)
    if ids.ndim != 3 or not row.turned(ids, (1, 0, 2)):
        raise call.no("its input is not (time, batch, numbers)")
    units, (time, _) = call.needed(2).shape[2], row.dims
    weights: dict[str, Array] = {}
    for way, end in enumerate(("", "_reverse")[:ways]):
        b = np.zeros(2 * len(_GATES[kind]) * units) if call.constant(3) is None else call.needed(3)[way]
        of_input, of_state = np.split(b, 2)
        for name, array in (("weight_ih", call.needed(1)[way]), ("weight_hh", call.needed(2)[way]),
                            ("bias_ih", of_input), ("bias_hh", of_state)):  # fmt: skip
            parts = np.split(array, len(_GATES[kind]))
            weights[f"{name}_l0{end}"] = np.concatenate([parts[at] for at in _GATES[kind]])
    layer: dict[str, Any] = {"kind": _KINDS[kind], "units": units, "output": "sequence"}
    if ways == 2:
        layer = {"kind": "bidirectional", "layer": layer}
    row.add(layer, (time, ways * units), **weights)
    every = row.fresh().reshape(row.batch, time, ways, units).transpose(1, 2, 0, 3)
    return every, np.stack([every[-1, 0], every[0, 1]] if ways == 2 else [every[-1, 0]])


def _plain(call: Call, kind: str, ways: int) -> None:
    """Refuses what the operator can and our layers cannot."""
    about, names = call.about, _USUAL[kind] * ways
    if not ways or about.get("layout") or about.get("clip") or about.get("input_forget"):
        raise call.no("only layout 0, forward or bidirectional, without clip and input_forget")
    if about.get("activations") and tuple(each.decode() for each in about["activations"]) != names:
        raise call.no("its gates have other activations")
    if kind == "GRU" and not about.get("linear_before_reset"):
        raise call.no("its reset gate comes before the product (linear_before_reset is 0)")
    begins = [array for at in (5, 6, 7) if (array := call.constant(at)) is not None]
    if any(np.any(array) for array in begins):
        raise call.no("its state does not begin at 0, or it has peepholes")
    lengths = call.constant(4)
    if lengths is not None and (lengths != call.flow.ids.shape[0]).any():
        raise call.no("rows of different lengths")
