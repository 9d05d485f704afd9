"""A network read from an ONNX file that is made of our vocabulary; everything else is refused by its node's name."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from pydantic import TypeAdapter, ValidationError

from service.data import BinaryTarget, ClassTarget, NumberTarget, Preprocessor, Whole
from service.engine import Loss, NetworkSpec, Signature
from service.errors import InvalidData, InvalidSpec, TooLarge
from service.exchange.onnx_flow import BATCH, UNROLLED, Call, Flow, Row, fresh, refused
from service.exchange.onnx_reckon import bounded, reckon
from service.exchange.onnx_regions import Regions
from service.exchange.onnx_sequence import recurrent
from service.exchange.onnx_vocabulary import Words
from service.exchange.onnx_windows import padded
from service.exchange.onnx_words import WORDS
from service.specs.artifact import NetworkModel
from service.tensors import Array

FILE_BYTES = 1 << 29
MOST_NODES = 10_000
DEEPEST = 8  # residual blocks within each other
UNSOUND = (
    InvalidSpec,
    ValidationError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
)
"""What ONNX's own reader and reckoner raise on what they cannot make sense of."""
MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Gather"})
FOLDS = MOVES | {
    "Constant",
    "Shape",
    "Concat",
    "Less",
    "And",
    "Not",
    "Where",
    "Cast",
    "Expand",
    "ConstantOfShape",
    "Add",
    "Sub",
    "Mul",
    "Div",
}
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
    try:
        reader = _Reader(model)
        for at, node in enumerate(model.graph.node):
            reader.read(at, node)
        return reader.done()
    except UNSOUND as error:
        raise InvalidData(f"the ONNX model is not sound, or not of our vocabulary: {str(error)[:300]}") from error


class _Reader:
    """Goes through the nodes in their order; what the last layer gives flows on, moved about or not."""

    def __init__(self, model: Any) -> None:
        graph, self.model = model.graph, model
        if graph.sparse_initializer or model.functions:
            raise InvalidData("sparse weights and functions are not read")
        for tensor in graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                hint = "Save the model as one file."
                raise InvalidData(f"the weight {tensor.name[:100]!r} lies in another file", hint=hint)
        if len(graph.node) > MOST_NODES:
            raise TooLarge(f"{len(graph.node):,} nodes; {MOST_NODES:,} are read")
        for node in graph.node:
            if node.op_type in ("Loop", "Scan", "If"):
                raise refused(node, "a program and no layer", UNROLLED)
        self.constants: dict[str, Array] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InvalidData(f"a model of {len(inputs)} inputs and {len(graph.output)} outputs; one and one are read")
        self.input, self.output = inputs[0].name, graph.output[0].name
        batch, dims, self.dtype = _input_of(inputs[0])
        self.row = Row(batch, dims, dims)
        self.words = Words(model, self.input, self.dtype)
        self.regions = Regions(model, self.output)
        self.views: dict[str, Array] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.past: set[int] = set()  # nodes that are in a layer already
        self.depth = 0  # of residual blocks
        self._flows(self.input, fresh(batch, dims))

    def _flows(self, name: str, ids: Array) -> None:
        """One more way in which what the last layer gives lies."""
        self.views[name], self.shapes[name] = ids, ids.shape

    def _made(self, name: str, ids: Array) -> None:
        """A layer's output: nothing of what was before it may be read any more."""
        self.views = {}
        self._flows(name, ids)

    @property
    def begins(self) -> bool:
        """Whether what came in still flows."""
        return not self.depth and not self.row.layers

    def read(self, at: int, node: Any) -> None:
        """One node: worked out, followed, or made a layer."""
        flows = [place for place, name in enumerate(node.input) if name in self.views]
        strange = [name for name in node.input if name and name not in self.constants and name not in self.views]
        if node.domain not in ("", "ai.onnx"):
            raise refused(node, "an operator of another domain")
        if at in self.past:
            return
        if node.op_type == "Shape" and node.input[0] in self.shapes:
            shape = np.broadcast_to(np.float32(0), self.shapes[node.input[0]])
            self.constants[node.output[0]] = reckon(self.model, [node], {node.input[0]: shape})
        elif self.begins and self.words.takes(node, self.constants):
            return
        elif strange and not (node.op_type == "Gather" and self.words.knows(node.input[1])):
            raise refused(node, "the graph branches: it reads what lies before the last layer, or beside it")
        elif not flows and not strange:
            self._fold(node)
        elif flows and (self._is_region(at, node, node.input[flows[0]]) or self._is_block(at, node.input[flows[0]])):
            return
        elif node.op_type == "Concat" and len(flows) == len(node.input):
            self._flows(node.output[0], self._moved(node))
        elif len(set(flows)) > 1:
            raise refused(node, "the graph branches, which only activations written out may")
        else:
            self._follow(node, flows[0] if flows else 1)

    def _is_region(self, at: int, node: Any, name: str) -> bool:
        """Whether an activation or a normalisation written out in simple operators begins here; it is a layer then."""
        ids = self.views[name]
        found = self.regions.at(at, name, ids, self.constants, self.row)
        if found is None:
            return False
        half = found.layer["kind"] == "swiglu"
        dims = (*self.row.dims[:-1], self.row.dims[-1] // 2) if half else self.row.dims
        if half and not self.row.shaped(ids):
            return False
        self.row.add(found.layer, dims, **found.weights)
        self.past |= found.nodes
        self._made(found.output, self.row.fresh() if half else ids)
        return True

    def _is_block(self, at: int, name: str) -> bool:
        """Whether a residual block begins here: layers whose answer is added to what they were given."""
        end = self.regions.join(at, name)
        if end is None:
            return False
        node, ids = self.model.graph.node[end], self.views[name]
        block = copy(self)
        block.row, block.depth = Row(self.row.batch, self.row.dims, ()), self.depth + 1
        if block.depth > DEEPEST:
            raise refused(node, f"more than {DEEPEST} sums within each other")
        block.regions, block.views = self.regions.within(name, end), {name: ids}
        for place in range(at, end):
            block.read(place, self.model.graph.node[place])
        (other,) = set(node.input) - {name}
        if other not in block.views or not block.row.layers:
            raise refused(node, "the graph branches, and what it adds is not made of the other alone")
        if block.row.dims != self.row.dims or not np.array_equal(block.row.last_step(block.views[other]), ids):
            raise refused(node, "it adds what lies in another order")
        prefix = f"{len(self.row.layers)}."
        self.row.weights |= {prefix + key: array for key, array in block.row.weights.items()}
        self.row.layers.append({"kind": "residual", "layers": block.row.layers})
        self.past |= set(range(at, end + 1))
        self._made(node.output[0], ids)
        return True

    def _follow(self, node: Any, at: int) -> None:
        name = node.input[at]
        if node.op_type in ("Dropout", "Identity"):
            self._flows(node.output[0], self.views[name])
        elif node.op_type == "Cast":
            self._flows(node.output[0], self._cast(node))
        elif node.op_type == "Pad" and at == 0:
            self._flows(node.output[0], padded(node, self.views[name], self.constants))
        elif node.op_type in MOVES and at == 0:
            self._flows(node.output[0], self._moved(node))
        else:
            self._layer(node, at)

    def _moved(self, node: Any) -> Array:
        given = {name: self.views[name] if name in self.views else self.constants[name] for name in node.input if name}
        bounded(node, list(given.values()))
        return reckon(self.model, [node], given)

    def _cast(self, node: Any) -> Array:
        whole = self.dtype.kind == "i" and self.begins
        if helper.get_node_attr_value(node, "to") not in _TYPES[whole]:
            raise refused(node, "changes the type of what flows")
        return self.views[node.input[0]]

    def _layer(self, node: Any, at: int) -> None:
        about = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        constants = tuple(self.constants.get(name) for name in node.input)
        if self.begins and (self.dtype.kind == "i" or self.words.knows(node.input[at])):
            constants = (self._table(node), *constants[1:])
        flow = Flow(node.input[at], self.row.last_step(self.views.get(node.input[at], self.row.fresh())))
        call = Call(node, flow, at, constants, about)
        if flow.ids.min(initial=0) < 0 and node.op_type not in ("Conv", "MaxPool"):
            raise refused(node, "reads what a Pad put around, which only a convolution or a pool may")
        if node.op_type in ("LSTM", "GRU", "RNN"):
            every, last = recurrent(self.row, call)
            self._made(node.output[0], every)
            if len(node.output) > 1 and node.output[1]:
                self._flows(node.output[1], last)
            return
        if node.op_type not in WORDS:
            raise refused(node, "not in the vocabulary")
        self._made(node.output[0], WORDS[node.op_type](self.row, call))

    def _table(self, node: Any) -> Array:
        """The rows of an embedding, in the order in which the words that come in pick them."""
        table = self.constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None:
            raise refused(node, "whole numbers come in, but no table is read by them")
        return table[self.words.picks(node.input[1], len(table), node, self.constants)]

    def _fold(self, node: Any) -> None:
        if node.op_type not in FOLDS or len(node.output) != 1:
            raise refused(node, "what it makes of constants is not worked out")
        given = {name: self.constants[name] for name in node.input if name}
        bounded(node, list(given.values()))
        self.constants[node.output[0]] = reckon(self.model, [node], given)

    def done(self) -> NetworkModel:
        """Everything read: the model that answers as the file does."""
        row = self.row
        if self.output not in self.views or not row.layers:
            raise InvalidData(f"the output {self.output[:100]!r} is not what the last layer gives")
        ids = row.last_step(self.views[self.output])
        if not row.shaped(ids.reshape(row.batch, -1)):
            raise InvalidData(f"the output {self.output[:100]!r} has its axes in another order")
        target = _target(row, self.output)
        network = NetworkSpec.model_validate({"layers": row.layers})
        dtype: Any = "float32" if row.vocabulary is None else "int32"
        encoder = Whole(self.input, "array", row.input_dims, row.input_dims, dtype, row.vocabulary, 1.0, 0.0)
        prepared = Preprocessor(encoder, target, frozenset({self.input}))
        loss: Any = TypeAdapter(Loss).validate_python({"kind": _LOSSES[target.kind]})
        signature = Signature(row.input_dims, dtype, vocabulary=row.vocabulary)
        facts = {"format": "onnx", "producer": self.model.producer_name[:100]}
        model = NetworkModel(network, signature, target.outputs, loss, "float32", prepared, facts, row.weights)
        model.bind()
        return model


def _input_of(info: Any) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """(rows, the shape of one, what its numbers are)"""
    kind = info.type.tensor_type
    sizes = [each.dim_value for each in kind.shape.dim]
    whole = kind.elem_type in (TensorProto.INT64, TensorProto.INT32)
    if not whole and kind.elem_type != TensorProto.FLOAT:
        raise InvalidData(f"the input {info.name[:100]!r} is neither float32 nor whole numbers")
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        hint = "Export it with fixed sizes; only the number of rows may be left open."
        raise InvalidData(f"the input {info.name[:100]!r} leaves sizes of a row open", hint=hint)
    return sizes[0] or BATCH, tuple(sizes[1:]), np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _target(row: Row, name: str) -> ClassTarget | BinaryTarget | NumberTarget:
    """What the last activation says that the answers are."""
    kind = row.layers[-1]["kind"] if row.layers[-1]["kind"] != "flatten" else ""
    if kind == "softmax" and row.size > 1:
        return ClassTarget(name, tuple(map(str, range(row.size))))
    if kind == "sigmoid" and row.size == 1:
        return BinaryTarget(name, ("0", "1"))
    names = (name,) if row.size == 1 else tuple(f"{name}_{at}" for at in range(row.size))
    return NumberTarget((name,), names, (0.0,) * row.size, (1.0,) * row.size)
