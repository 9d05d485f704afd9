"""ONNX's own node test cases for the operators that are read: counted, and none of those that run is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx")

from service.errors import ServiceError  # noqa: E402
from service.exchange import from_onnx  # noqa: E402
from service.exchange.onnx_words import WORDS  # noqa: E402
from service.tensors import Array  # noqa: E402

pytestmark = pytest.mark.oracle
OPERATORS = {*WORDS, "LSTM", "GRU", "RNN", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice"}
LARGEST = 3_000
TURNED = {"LSTM": (1, 0, 2), "GRU": (1, 0, 2), "RNN": (1, 0, 2)}  # time before rows, as these have it


def asked(case: Any, to: Path) -> tuple[Array, Array]:
    """Its other inputs made constants, and behind it a flatten and a matrix of ones: what it gives, channels or not.

    What has time before its rows is turned before and behind it.
    """
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    inputs, outputs = case.data_sets[0]
    (x, *rest), graph = inputs, model.graph
    operator, at = graph.node[0].op_type, next(at for at, name in enumerate(graph.node[0].output) if name)
    wanted, end = outputs[0], graph.node[0].output[at]
    for info, array in zip(graph.input[1:], rest, strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    if operator in TURNED and np.ndim(x) == 3:
        x, name = x.transpose(TURNED[operator]), graph.input[0].name
        graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("turned", onnx.TensorProto.FLOAT, x.shape))
        graph.node.insert(0, onnx.helper.make_node("Transpose", ["turned"], [name], perm=TURNED[operator]))
        back = (1, 0, 2) if wanted.ndim == 3 else (2, 0, 1, 3)
        graph.node.append(onnx.helper.make_node("Transpose", [end], ["back"], perm=back))
        wanted, end = wanted.transpose(back), "back"
    if np.ndim(x) < 2 or wanted.dtype != np.float32 or len(wanted) != len(x):
        raise ServiceError("no rows of float32")
    flat = wanted.reshape(len(wanted), -1)
    if flat.shape[1] > LARGEST:
        raise ServiceError("larger than needed")
    eye = onnx.numpy_helper.from_array(np.eye(flat.shape[1], dtype=np.float32), "eye")
    graph.initializer.append(eye)
    graph.node.append(onnx.helper.make_node("Flatten", [end], ["flat"], axis=1))
    graph.node.append(onnx.helper.make_node("MatMul", ["flat", "eye"], ["told"]))
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("told", onnx.TensorProto.FLOAT, None))
    to.write_bytes(model.SerializeToString())
    return x, flat


def given(x: Array, operator: str) -> Array:
    """Channels last for the operators that have them second."""
    turned = operator.startswith(("Conv", "MaxPool", "AveragePool", "Global", "Batch")) and x.ndim > 2
    return np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1) if turned else x)


@pytest.mark.filterwarnings("ignore")
def test_no_case_that_runs_is_wrong(tmp_path: Path, capsys: Any) -> None:
    counts: dict[str, list[int]] = {name: [0, 0] for name in sorted(OPERATORS)}
    wrong: list[str] = []
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        operator = case.model.graph.node[0].op_type
        if len(case.model.graph.node) != 1 or operator not in OPERATORS:
            continue
        try:
            x, wanted = asked(case, tmp_path / "m.onnx")
            read = from_onnx(tmp_path / "m.onnx")
        except ServiceError:
            counts[operator][1] += 1
            continue
        found = read.bind()(given(x, operator))
        counts[operator][0] += 1
        if not np.allclose(found, wanted, rtol=1e-3, atol=1e-5):  # the tolerance of ONNX's own runner is 1e-3
            wrong.append(case.name)
    run, left = (sum(each[at] for each in counts.values()) for at in (0, 1))
    with capsys.disabled():
        print(f"\nONNX's node cases: {run} run, {left} refused, wrong: {wrong}")  # noqa: T201  shown on purpose
        print(", ".join(f"{name} {ran}/{ran + not_read}" for name, (ran, not_read) in counts.items()))  # noqa: T201
    assert not wrong
    assert run >= 70
