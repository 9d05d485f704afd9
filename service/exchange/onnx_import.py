"""A network read from an ONNX file that is made of our vocabulary; everything else is refused by its node's name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from pydantic import TypeAdapter, ValidationError

from service.data import BinaryTarget, ClassTarget, NumberTarget, Preprocessor, Whole
from service.engine import Loss, NetworkSpec, Signature
from service.errors import InvalidData, InvalidSpec, TooLarge
from service.exchange.onnx_flow import BATCH, LEAST, NUMBERS, ZERO, Call, Flow, Row, fresh, refused
from service.exchange.onnx_sequence import recurrent
from service.exchange.onnx_words import WORDS
from service.specs.artifact import NetworkModel
from service.tensors import Array

FILE_BYTES = 1 << 29
MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Gather"})
FOLDS = MOVES | {"Constant", "Shape", "Concat", "Cast", "Expand", "ConstantOfShape", "Add", "Sub", "Mul", "Div"}
_TYPES = {True: (TensorProto.INT32, TensorProto.INT64), False: (TensorProto.FLOAT,)}
_LOSSES = {"class": "cross_entropy", "binary": "binary_cross_entropy", "number": "squared_error"}


def from_onnx(path: Path) -> NetworkModel:
    """The model. Raises InvalidData naming the node that is no layer of ours, TooLarge."""
    if path.stat().st_size > FILE_BYTES:
        raise TooLarge(f"an ONNX file of more than {FILE_BYTES:,} bytes")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise InvalidData("the file is no ONNX model") from error
    reader = _Reader(model)
    try:
        for node in model.graph.node:
            reader.read(node)
        return reader.done()
    except (InvalidSpec, ValidationError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidData(f"the ONNX model is not sound, or not of our vocabulary: {str(error)[:300]}") from error


class _Reader:
    """Goes through the nodes in their order; one tensor flows, the rest are constants."""

    def __init__(self, model: Any) -> None:
        graph, self.model = model.graph, model
        if graph.sparse_initializer or model.functions:
            raise InvalidData("sparse weights and functions are not read")
        for tensor in graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                hint = "Save the model as one file."
                raise InvalidData(f"the weight {tensor.name[:100]!r} lies in another file", hint=hint)
        self.constants: dict[str, Array] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InvalidData(f"a model of {len(inputs)} inputs and {len(graph.output)} outputs; one and one are read")
        self.input, self.output = inputs[0].name, graph.output[0].name
        batch, dims, self.whole = _input_of(inputs[0])
        self.row = Row(batch, dims, dims)
        self.flow = Flow(self.input, fresh(batch, dims))

    def read(self, node: Any) -> None:
        """One node: worked out, followed, or made a layer."""
        flows = [at for at, name in enumerate(node.input) if name == self.flow.name]
        unknown = [name for name in node.input if name and name not in self.constants and name != self.flow.name]
        if node.domain not in ("", "ai.onnx"):
            raise refused(node, "an operator of another domain")
        if node.op_type == "Mul" and self._is_silu(node):
            self.row.layers[-1] = {"kind": "silu"}
            self.flow = Flow(node.output[0], self.flow.ids)
        elif node.op_type == "Shape" and not unknown and flows:
            self.constants[node.output[0]] = self._run(node, self.flow.ids)
        elif unknown or len(flows) > 1:
            raise refused(node, "the graph branches, which only silu may")
        elif not flows:
            self._fold(node)
        else:
            self._follow(node, flows[0])

    def _is_silu(self, node: Any) -> bool:
        made = self.row.layers and self.row.layers[-1]["kind"] == "sigmoid"
        return bool(made and self.flow.source and set(node.input) == {self.flow.source, self.flow.name})

    def _follow(self, node: Any, at: int) -> None:
        if node.op_type == "Dropout":
            self.flow = Flow(node.output[0], self.flow.ids)
        elif node.op_type == "Cast":
            self.flow = Flow(node.output[0], self._cast(node))
        elif node.op_type == "Pad" and at == 0:
            self.flow = Flow(node.output[0], self._padded(node))
        elif node.op_type in MOVES and at == 0:
            moved = self._run(node, self.flow.ids)
            self.flow = Flow(node.output[0], self.row.last_step(moved))
        else:
            self._layer(node, at)

    def _cast(self, node: Any) -> Array:
        whole = self.whole and not self.row.layers
        if helper.get_node_attr_value(node, "to") not in _TYPES[whole]:
            raise refused(node, "changes the type of what flows")
        return self.flow.ids

    def _padded(self, node: Any) -> Array:
        """Zeros, or what no maximum takes, around what flows; a window that reads it takes them as its own."""
        pads, value, axes = (self.constants.get(name) for name in (*node.input[1:], *[""] * 3)[:3])
        kind, rank = helper.get_node_attr_value(node, "mode") if node.attribute else b"constant", self.flow.ids.ndim
        number = 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
        if pads is None or kind != b"constant" or number not in (0.0, -math.inf) or pads.min(initial=0) < 0:
            raise refused(node, "only zeros, or minus infinity for a maximum, may be put around")
        places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes.tolist()]
        widths = [(0, 0)] * rank
        for at, axis in enumerate(places):
            widths[axis] = (int(pads[at]), int(pads[len(places) + at]))
        numbers = math.prod(n + before + after for n, (before, after) in zip(self.flow.ids.shape, widths, strict=True))
        if numbers > NUMBERS:
            raise TooLarge(f"node {(node.name or node.output[0])[:100]!r} (Pad) makes {numbers:,} numbers")
        return np.pad(self.flow.ids, widths, constant_values=LEAST if number else ZERO)

    def _layer(self, node: Any, at: int) -> None:
        about = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        constants = tuple(self.constants.get(name) for name in node.input)
        call = Call(node, self.flow, at, constants, about)
        if self.flow.ids.min(initial=0) < 0 and node.op_type not in ("Conv", "MaxPool"):
            raise refused(node, "reads what a Pad put around, which only a convolution or a pool may")
        if self.whole and not self.row.layers and node.op_type != "Gather":
            raise refused(node, "whole numbers come in, but no table is read by them")
        if node.op_type in ("LSTM", "GRU", "RNN"):
            self._recurrent(node, call)
            return
        if node.op_type not in WORDS:
            raise refused(node, "not in the vocabulary")
        ids = WORDS[node.op_type](self.row, call)
        source = self.flow.name if node.op_type == "Sigmoid" else ""
        self.flow = Flow(node.output[0], ids, source)

    def _recurrent(self, node: Any, call: Call) -> None:
        """Its outputs are every step and the last one; which of them goes on decides the layer."""
        read = {name for each in self.model.graph.node for name in each.input} | {self.output}
        used = [at for at, name in enumerate(node.output) if name and name in read]
        every, last = recurrent(self.row, call)
        if used == [0]:
            self.flow = Flow(node.output[0], every)
        elif used == [1] and last.size:
            self.flow = Flow(node.output[1], self.row.last_step(last))
        else:
            raise refused(node, "only every step, or the last of a forward layer, may be read")

    def _fold(self, node: Any) -> None:
        if node.op_type not in FOLDS or len(node.output) != 1:
            raise refused(node, "what it makes of constants is not worked out")
        self.constants[node.output[0]] = self._run(node)

    def _run(self, node: Any, flow: Array | None = None) -> Array:
        """What the node makes of constants, or how it moves what flows."""
        given = {name: self.constants[name] for name in node.input if name in self.constants}
        if flow is not None:
            given[self.flow.name] = flow
        _bounded(node, [given[name] for name in node.input if name])
        inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
                  for name, each in given.items()]  # fmt: skip
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output[:1]]
        graph = helper.make_graph([node], "one", inputs, outputs)
        one = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return np.asarray(ReferenceEvaluator(one).run(None, given)[0])

    def done(self) -> NetworkModel:
        """Everything read: the model that answers as the file does."""
        row, ids = self.row, self.flow.ids
        if self.flow.name != self.output or not row.layers:
            raise InvalidData(f"the output {self.output[:100]!r} is not what the last layer gives")
        if not row.shaped(ids.reshape(row.batch, -1)):
            raise InvalidData(f"the output {self.output[:100]!r} has its axes in another order")
        target = _target(row, self.output)
        network = NetworkSpec.model_validate({"layers": row.layers})
        dtype: Any = "int32" if self.whole else "float32"
        encoder = Whole(self.input, "array", row.input_dims, row.input_dims, dtype, row.vocabulary, 1.0, 0.0)
        prepared = Preprocessor(encoder, target, frozenset({self.input}))
        loss: Any = TypeAdapter(Loss).validate_python({"kind": _LOSSES[target.kind]})
        signature = Signature(row.input_dims, dtype, vocabulary=row.vocabulary)
        facts = {"format": "onnx", "producer": self.model.producer_name[:100]}
        model = NetworkModel(network, signature, target.outputs, loss, "float32", prepared, facts, row.weights)
        model.bind()
        return model


def _input_of(info: Any) -> tuple[int, tuple[int, ...], bool]:
    """(rows, the shape of one, whether they are whole numbers)"""
    kind = info.type.tensor_type
    sizes = [each.dim_value for each in kind.shape.dim]
    whole = kind.elem_type in (TensorProto.INT64, TensorProto.INT32)
    if not whole and kind.elem_type != TensorProto.FLOAT:
        raise InvalidData(f"the input {info.name[:100]!r} is neither float32 nor whole numbers")
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        hint = "Export it with fixed sizes; only the number of rows may be left open."
        raise InvalidData(f"the input {info.name[:100]!r} leaves sizes of a row open", hint=hint)
    return sizes[0] or BATCH, tuple(sizes[1:]), whole


def _bounded(node: Any, given: list[Array]) -> None:
    """Raises TooLarge for what would not fit, before it is made."""
    numbers = sum(each.size for each in given)
    if node.op_type in ("Expand", "ConstantOfShape"):
        numbers = math.prod(max(1, int(n)) for n in given[-1].reshape(-1).tolist())
    if node.op_type in ("Add", "Sub", "Mul", "Div", "Expand"):
        shapes = [each.shape for each in given] if node.op_type != "Expand" else [given[0].shape, tuple(given[1])]
        numbers = math.prod(np.broadcast_shapes(*(tuple(map(int, shape)) for shape in shapes)))
    if node.op_type == "Gather":
        numbers = given[0].size * max(1, given[1].size)
    if numbers > NUMBERS:
        raise TooLarge(f"node {(node.name or node.output[0])[:100]!r} ({node.op_type}) makes {numbers:,} numbers")


def _target(row: Row, name: str) -> ClassTarget | BinaryTarget | NumberTarget:
    """What the last activation says that the answers are."""
    kind = row.layers[-1]["kind"] if row.layers[-1]["kind"] != "flatten" else ""
    if kind == "softmax" and row.size > 1:
        return ClassTarget(name, tuple(map(str, range(row.size))))
    if kind == "sigmoid" and row.size == 1:
        return BinaryTarget(name, ("0", "1"))
    names = (name,) if row.size == 1 else tuple(f"{name}_{at}" for at in range(row.size))
    return NumberTarget((name,), names, (0.0,) * row.size, (1.0,) * row.size)
