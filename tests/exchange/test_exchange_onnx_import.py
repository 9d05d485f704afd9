"""ONNX models that other programs wrote, read as networks of ours: what both say, and what is refused."""

from __future__ import annotations

import base64
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx")

from service.errors import InvalidData, TooLarge  # noqa: E402
from service.exchange import from_onnx, is_onnx  # noqa: E402
from service.tensors import Array  # noqa: E402

Json = dict[str, Any]
WITHIN = 1e-5
F = onnx.TensorProto.FLOAT


def written(
    path: Path, nodes: list[Any], arrays: dict[str, Array], shape: list[Any], rank: int = 2, kind: int = F
) -> Path:
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = onnx.helper.make_tensor_value_info("x", kind, shape)
    y = onnx.helper.make_tensor_value_info("y", F, [None] * rank)
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, *inputs: str, to: str = "y", **about: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), [to], name=f"the {kind}", **about)


def drawn(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32)


def test_a_matrix_and_a_sum_are_one_layer_and_the_reference_says_the_same(tmp_path: Path) -> None:
    w, b, x = drawn(5, 3), drawn(3), drawn(4, 5)
    nodes = [node("MatMul", "x", "w", to="d"), node("Cast", "d", to="a"), node("Add", "b", "a", to="c")]
    nodes[1].attribute.append(onnx.helper.make_attribute("to", F))  # as Keras writes them
    nodes.append(node("Softmax", "c", axis=1))
    model = from_onnx(written(tmp_path / "m.onnx", nodes, {"w": w, "b": b}, ["n", 5]))
    assert [layer.kind for layer in model.network.layers] == ["dense", "softmax"]
    assert model.classes == ("0", "1", "2")
    powers = np.exp(x @ w + b)
    np.testing.assert_allclose(model.bind()(x), powers / powers.sum(1, keepdims=True), rtol=0, atol=WITHIN)


def test_a_flatten_of_channels_first_turns_the_weights_behind_it(tmp_path: Path) -> None:
    """x: (n, 2, 3, 4), a convolution of one place that keeps the channels, flattened in ONNX's order."""
    eye = np.eye(2, dtype=np.float32)[:, :, None, None]
    w, x = drawn(24, 3), drawn(5, 2, 3, 4)
    nodes = [node("Conv", "x", "eye", to="a"), node("Flatten", "a", to="b"), node("MatMul", "b", "w")]
    model = from_onnx(written(tmp_path / "m.onnx", nodes, {"eye": eye, "w": w}, ["n", 2, 3, 4]))
    found = model.bind()(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(found, x.reshape(5, -1) @ w, rtol=0, atol=WITHIN)


def test_a_row_that_is_reshaped_to_a_picture_keeps_its_order_or_is_refused(tmp_path: Path) -> None:
    arrays = {"one": np.array([0, 1, 3, 4]), "two": np.array([0, 2, 3, 2]), "w": drawn(2, 1, 2, 2)}
    nodes = [
        node("Reshape", "x", "one", to="a"),
        node("Conv", "a", "w", to="b"),
        node("GlobalAveragePool", "b", to="c"),
    ]
    path = written(tmp_path / "m.onnx", [*nodes, node("Flatten", "c")], arrays, ["n", 12])
    model, x = from_onnx(path), drawn(3, 12)
    assert model.signature.shape == (12,)
    windows = np.lib.stride_tricks.sliding_window_view(x.reshape(3, 3, 4), (2, 2), (1, 2))
    wanted = np.einsum("nijkl,fckl->nf", windows, arrays["w"]) / 6
    np.testing.assert_allclose(model.bind()(x), wanted, rtol=0, atol=WITHIN)
    nodes[0] = node("Reshape", "x", "two", to="a")
    with pytest.raises(InvalidData, match="'the Conv'"):
        from_onnx(written(path, [*nodes, node("Flatten", "c")], arrays | {"w": drawn(2, 2, 2, 2)}, ["n", 12]))


def test_words_pick_rows_of_a_table(tmp_path: Path) -> None:
    table, w = drawn(7, 4), drawn(12, 2)
    ids = np.array([[0, 6, 3], [1, 1, 2]], np.int32)
    nodes = [node("Gather", "t", "x", to="a"), node("Flatten", "a", to="b"), node("MatMul", "b", "w")]
    path = written(tmp_path / "m.onnx", nodes, {"t": table, "w": w}, ["n", 3], kind=onnx.TensorProto.INT64)
    model = from_onnx(path)
    assert model.signature.vocabulary == 7
    np.testing.assert_allclose(model.bind()(ids), table[ids].reshape(2, -1) @ w, rtol=0, atol=WITHIN)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Sin", "x")], r"'the Sin' \(Sin\): not in the vocabulary"),
        ([node("Softmax", "x", axis=0)], r"'the Softmax' .* not over the last axis"),
        ([node("Relu", "x", to="a"), node("Mul", "x", "a")], r"'the Mul' .* branches"),
        ([node("MatMul", "x", "w", to="a"), node("Sub", "x", "a")], r"'the Sub' .* branches"),
        ([node("Relu", "x", to="a"), node("Transpose", "a", to="b", perm=[1, 0]), node("Add", "x", "b")], "order"),
        ([node("MatMul", "w", "x")], r"'the MatMul' .* one constant matrix"),
        ([node("Relu", "x", to="a")], "output 'y'"),
        ([onnx.helper.make_node("Relu", ["x"], ["y"], name="odd", domain="their.own")], "'odd' .* another domain"),
    ],
)
def test_what_is_no_layer_is_refused_by_its_name(tmp_path: Path, nodes: list[Any], words: str) -> None:
    with pytest.raises(InvalidData, match=words):
        from_onnx(written(tmp_path / "m.onnx", nodes, {"w": drawn(4, 4)}, ["n", 4]))


def test_a_window_that_ours_has_not_is_refused(tmp_path: Path) -> None:
    nodes = [node("Conv", "x", "w", to="a", strides=[2], pads=[2, 0]), node("Flatten", "a")]
    with pytest.raises(InvalidData, match="nor as much behind as before"):
        from_onnx(written(tmp_path / "m.onnx", nodes, {"w": drawn(2, 1, 3)}, ["n", 1, 8]))


def test_weights_in_another_file_and_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("MatMul", "x", "w")], {"w": drawn(4, 4)}, ["n", 4])
    model = onnx.load(path)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidData, match="lies in another file"):
        from_onnx(path)
    with pytest.raises(TooLarge):
        from_onnx(written(path, [node("Relu", "x")], {}, ["n", 1 << 20, 1 << 20]))
    arrays = {"s": np.array([1 << 20, 1 << 20])}
    bomb = [node("ConstantOfShape", "s", to="a"), node("Add", "x", "a")]
    with pytest.raises(TooLarge):
        from_onnx(written(path, bomb, arrays, ["n", 4]))
    assert is_onnx(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InvalidData):
        from_onnx(path)


# --- what PyTorch and Keras export -------------------------------------------------------------------------------


NAMES = ["residual", "residual pictures", "mlp", "activations", "batch norm", "cnn", "global pool", "conv1d",
         "residual network's stem",         "windows that hang over", "lstm", "gru", "rnn", "both ways"]  # fmt: skip


def of_torch() -> dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]]:
    """Networks and the shape of a row, by name."""
    from torch import nn

    class Sequence(nn.Module):  # type: ignore[misc]
        def __init__(self, layer: Any, units: int, last: bool) -> None:
            super().__init__()
            self.layer, self.end, self.last = layer, nn.Linear(units, 3), last

        def forward(self, x: Any) -> Any:
            y = self.layer(x)[0]
            return self.end(y[:, -1] if self.last else y.mean(1))

    class Around(nn.Sequential):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    class Swiglu(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            gate, value = x.chunk(2, -1)
            return nn.functional.silu(gate) * value

    def block(channels: int) -> Any:
        return Around(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, channels, 1))

    return {
        "residual": (nn.Sequential(
            nn.Linear(5, 6),
            Around(nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), Around(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 6)),
            nn.Linear(6, 8), Swiglu(), Around(nn.SiLU()), nn.Linear(4, 3)), (5,)),
        "residual pictures": (nn.Sequential(
            nn.Conv2d(2, 5, 3), block(5), nn.ReLU(), block(5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
            (2, 8, 8)),
        "mlp": (nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.GELU(), nn.LayerNorm(8),
                              nn.Linear(8, 3), nn.Softmax(1)), (5,)),
        "activations": (nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8),
                                      nn.Softplus(), nn.LayerNorm(8, 1e-3), nn.Linear(8, 8), nn.ELU(0.5),
                                      nn.Linear(8, 8), nn.GELU("tanh"), nn.Linear(8, 8), nn.LeakyReLU(0.2),
                                      nn.Linear(8, 3), nn.LogSoftmax(1)), (5,)),
        "batch norm": (nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1),
                                     nn.Sigmoid()), (5,)),
        "cnn": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                              nn.Conv2d(4, 6, 3, groups=2), nn.ELU(), nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Flatten(),
                              nn.Dropout(0.5), nn.Linear(24, 10), nn.LogSoftmax(1)), (2, 12, 12)),
        "global pool": (nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1),
                                      nn.Flatten(), nn.Linear(4, 3)), (1, 9, 9)),
        "conv1d": (nn.Sequential(nn.Conv1d(3, 4, 3, dilation=2), nn.Tanh(), nn.MaxPool1d(2), nn.Flatten(),
                                 nn.Linear(24, 2)), (3, 16)),
        "residual network's stem": (nn.Sequential(
            nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(),
            nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.Flatten(), nn.Linear(24, 3)), (3, 32, 24)),
        "windows that hang over": (nn.Sequential(
            nn.ZeroPad2d(1), nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(),
            nn.Linear(36, 3)), (2, 9, 12)),
        "lstm": (Sequence(nn.LSTM(5, 6, batch_first=True), 6, True), (7, 5)),
        "gru": (Sequence(nn.GRU(5, 6, batch_first=True), 6, True), (7, 5)),
        "rnn": (Sequence(nn.RNN(5, 6, batch_first=True), 6, True), (7, 5)),
        "both ways": (Sequence(nn.LSTM(5, 6, batch_first=True, bidirectional=True), 12, False), (7, 5)),
    }  # fmt: skip


def ours(x: Array) -> Array:
    """Channels last, where the file has them second."""
    return np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by", ["opset 13", "opset 20", "dynamo"])
@pytest.mark.parametrize("name", NAMES)
def test_what_pytorch_exports_says_here_what_onnxruntime_says(tmp_path: Path, name: str, by: str) -> None:
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    dynamo, opset = by == "dynamo", 13 if by == "opset 13" else 20
    if dynamo:
        pytest.importorskip("onnxscript")
    network, shape = of_torch()[name]
    net: Any = network
    with torch.no_grad():
        for array in net.state_dict().values():
            if array.dtype.is_floating_point:
                array.add_(0.3 * torch.rand_like(array))
    path, x = tmp_path / "m.onnx", drawn(4, *shape)
    more: Any = {"dynamic_shapes": ({0: "n"},), "external_data": False} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.from_numpy(x),), path, input_names=["x"], opset_version=opset, dynamo=dynamo, **more
        )
    if (name, by) == ("rnn", "dynamo"):  # written out step by step
        with pytest.raises(InvalidData, match="only part"):
            from_onnx(path)
        return
    model = from_onnx(path)
    (wanted,) = runtime.InferenceSession(path).run(None, {"x": x})
    given = ours(x) if len(shape) == 3 or name == "conv1d" else x
    np.testing.assert_allclose(model.bind()(given), wanted, rtol=WITHIN, atol=WITHIN)


KERAS: list[Json] = json.loads((Path(__file__).parents[1] / "golden" / "keras_onnx.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("golden", KERAS, ids=[f"Keras {each['keras']} {each['name']}" for each in KERAS])
def test_what_keras_exported_says_here_what_keras_said(tmp_path: Path, golden: Json) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(base64.b64decode(golden["onnx"]))
    model = from_onnx(path)
    x = np.asarray(golden["x"], model.signature.dtype)
    np.testing.assert_allclose(model.bind()(x), golden["y"], rtol=0, atol=WITHIN)


def test_a_damaged_file_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    chance, path, refused = random.Random(1), tmp_path / "m.onnx", 0
    files = [base64.b64decode(golden["onnx"]) for golden in KERAS]
    for _ in range(120):
        damaged = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            from_onnx(path)
        except (InvalidData, TooLarge):
            refused += 1
    assert refused > 30
