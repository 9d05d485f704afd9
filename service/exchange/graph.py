"""An ONNX graph being written: values get names, arrays become initializers, nodes are checked by their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.tensors import Array

OPSET = 20  # has Gelu and LayerNormalization, and every runtime of the last years reads it
IR_VERSION = 9
LEARNED = "ai.onnx.ml"  # the operators that read words
LEARNED_OPSET = 3


@dataclass(frozen=True)
class Value:
    """Something that flows: its name, and how many axes it has, the batch among them. `vocabulary`: it holds ids.

    `dims`: one row's shape, None where rows may be longer or shorter.
    """

    name: str
    rank: int
    vocabulary: int | None = None
    dims: tuple[int, ...] | None = None


@dataclass
class Graph:
    """Nodes in the order they are added, which is an order they can run in.

    `taken`: names that inputs have; whatever else would be called so gets an underscore.
    """

    taken: frozenset[str] = frozenset()
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:
        """A node; the names of its outputs. An empty input is one left out."""
        begin = f"{kind.lower()}_{len(self.nodes)}"
        names = [self._free(begin + (f"_{at}" if at else "")) for at in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; its name."""
        return self.add(kind, *inputs, **attributes)[0]

    def constant(self, values: Array | Sequence[int] | Sequence[float] | float, dtype: str = "float32") -> str:
        """An array that every run reads."""
        name = self._free(f"constant_{len(self.arrays)}")
        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(values, dtype)), name))
        return name

    def named(self, name: str, values: Array) -> str:
        """A weight, under the name it has in PyTorch; told once however often it is read."""
        name = self._free(name)
        if all(each.name != name for each in self.arrays):
            self.arrays.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def input(self, name: str, element: int, shape: Sequence[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def output(self, name: str, value: str, element: int, shape: Sequence[int | str]) -> None:
        """Calls a value by a name of our choice."""
        name = self._free(name)
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, element, shape))

    def _free(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        return name

    def bytes(self, name: str, told: dict[str, str]) -> bytes:
        """The model's file; `told` are its metadata. Raises onnx.checker.ValidationError when it is not sound."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.arrays)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(LEARNED, LEARNED_OPSET)]
        model = helper.make_model(graph, opset_imports=sets, producer_name="netwright", ir_version=IR_VERSION)
        helper.set_model_props(model, told)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
