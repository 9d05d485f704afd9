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
LARGEST = 2_000


def asked(case: Any, to: Path) -> tuple[Array, Array]:
    """Its other inputs made constants, and behind it a flatten and a matrix of ones: what it gives, channels or not."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    inputs, outputs = case.data_sets[0]
    (x, *rest), wanted = inputs, outputs[0]
    graph, end = model.graph, model.graph.output[0].name
    for info, array in zip(graph.input[1:], rest, strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    flat = wanted.reshape(len(wanted), -1)
    if flat.shape[1] > LARGEST or wanted.dtype != np.float32 or len(wanted) != len(x):
        raise ServiceError("no rows of float32 of a moderate size")
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
    counts = {"run": 0, "skipped": 0}
    wrong: list[str] = []
    from onnx.backend.test.case.node import collect_testcases

    for case in (case for name in sorted(OPERATORS) for case in collect_testcases(name)):
        if len(case.model.graph.node) != 1 or case.model.graph.node[0].op_type not in OPERATORS:
            continue
        try:
            x, wanted = asked(case, tmp_path / "m.onnx")
            read = from_onnx(tmp_path / "m.onnx")
        except (ServiceError, ValueError, TypeError, IndexError, AttributeError):
            counts["skipped"] += 1
            continue
        found = read.bind()(given(x, case.model.graph.node[0].op_type))
        counts["run"] += 1
        if not np.allclose(found, wanted, rtol=1e-3, atol=1e-5):  # the tolerance of ONNX's own runner is 1e-3
            wrong.append(case.name)
    with capsys.disabled():
        print(f"\nONNX's node cases: {counts}, wrong: {wrong}")  # noqa: T201  the count is what is shown
    assert not wrong
    assert counts["run"] >= 20
