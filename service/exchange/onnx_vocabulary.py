"""Whole numbers that come into an ONNX graph and pick rows of a table, whatever is done to each of them before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from service.exchange.onnx_flow import refused
from service.exchange.onnx_reckon import reckon
from service.tensors import Array

EACH = frozenset({"Add", "Sub", "Mul", "Less", "LessOrEqual", "Greater", "Not", "And", "Or", "Where", "Cast", "Max",
                  "Min", "Clip"})  # fmt: skip
_WHOLE = (TensorProto.INT32, TensorProto.INT64)


class Words:
    """Nodes that work on each word by itself, as Keras writes them for words that are counted from the end.

    What they do to each word of the table is worked out, and the table's rows are put into that order.
    """

    def __init__(self, model: Any, name: str, dtype: np.dtype[Any]) -> None:
        self._model, self._name, self._dtype = model, name, dtype
        readers = [node for node in model.graph.node if name in node.input and node.op_type != "Shape"]
        casts = [node.op_type == "Cast" and helper.get_node_attr_value(node, "to") in _WHOLE for node in readers]
        self._whole = dtype.kind == "i" or (bool(casts) and all(casts))  # words may come as float32
        self._derived = {name}
        self._nodes: list[Any] = []

    def takes(self, node: Any, constants: Mapping[str, Array]) -> bool:
        """Whether the node only works on words; it is remembered then."""
        strange = [name for name in node.input if name and name not in self._derived and name not in constants]
        if not self._whole or node.op_type not in EACH or strange or not self._derived & set(node.input):
            return False
        self._nodes.append(node)
        self._derived.add(node.output[0])
        return True

    def knows(self, name: str) -> bool:
        """Whether it is made of words alone."""
        return self._whole and name in self._derived

    def picks(self, name: str, size: int, node: Any, constants: Mapping[str, Array]) -> Array:
        """(size,) the row that each word picks. Raises InvalidData when one is beyond the table."""
        words = np.arange(size).astype(self._dtype)
        nodes = self._nodes[: 1 + max((at for at, each in enumerate(self._nodes) if name in each.output), default=-1)]
        given = {each: constants[each] for one in nodes for each in one.input if each in constants}
        if any(each.size != 1 for each in given.values()):
            raise refused(node, "its words are not all treated alike")
        found = reckon(self._model, nodes, {**given, self._name: words}) if nodes else words
        places = found.reshape(-1).astype(np.int64)
        if places.shape != (size,) or (places < -size).any() or (places >= size).any():
            raise refused(node, "its words lie beyond the table")
        return places
