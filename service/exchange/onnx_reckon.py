"""Parts of an ONNX graph worked out by the reference evaluator: constants, what only moves numbers, small functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from service.errors import TooLarge
from service.exchange.onnx_flow import NUMBERS
from service.tensors import Array


def reckon(model: Any, nodes: Sequence[Any], given: Mapping[str, Array]) -> Array:
    """What the last of the nodes gives first."""
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
              for name, each in given.items()]  # fmt: skip
    outputs = [onnx.ValueInfoProto(name=nodes[-1].output[0])]
    graph = helper.make_graph(list(nodes), "part", inputs, outputs)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return np.asarray(ReferenceEvaluator(part).run(None, dict(given))[0])


def bounded(node: Any, given: list[Array]) -> None:
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
