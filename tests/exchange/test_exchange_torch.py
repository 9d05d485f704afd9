"""Weights to and from PyTorch: `load_state_dict` takes an export, and what PyTorch saves is where a training begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_models import drawn
from pydantic import TypeAdapter

from service import tensors
from service.client import Client
from service.data import ClassTarget, Preprocessor
from service.data import Whole as WholeRows
from service.engine import Loss, Network, NetworkSpec, Signature
from service.specs import artifact
from service.specs.artifact import NetworkModel
from service.tensors import Array

pytestmark = pytest.mark.oracle
Json = dict[str, Any]
WITHIN = 1e-5
MLP: list[Json] = [
    {"kind": "dense", "units": 16}, {"kind": "relu"}, {"kind": "layer_norm"}, {"kind": "dense", "units": 3},
]  # fmt: skip
NORMED: list[Json] = [
    {"kind": "dense", "units": 8}, {"kind": "batch_norm"}, {"kind": "tanh"}, {"kind": "dense", "units": 3},
]  # fmt: skip
CNN: list[Json] = [
    {"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same"}, {"kind": "batch_norm"}, {"kind": "relu"},
    {"kind": "max_pool2d", "pool_size": 2}, {"kind": "flatten"}, {"kind": "dense", "units": 3},
]  # fmt: skip


def recurrent(kind: str) -> list[Json]:
    return [{"kind": kind, "units": 6, "output": "last"}, {"kind": "dense", "units": 3}]


def built(name: str) -> Any:
    """The same network as PyTorch's users write it."""
    from torch import nn

    class Flat(nn.Module):  # type: ignore[misc]
        """Channels last, as our flatten has them."""

        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    class LastLstm(nn.LSTM):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            return super().forward(x)[0][:, -1]

    class LastGru(nn.GRU):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            return super().forward(x)[0][:, -1]

    window = nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    rows = {
        "mlp": (nn.Linear(5, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3)),
        "batch norm": (nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)),
        "cnn": (*window, Flat(), nn.Linear(36, 3)),
        "lstm": (LastLstm(5, 6, batch_first=True), nn.Linear(6, 3)),
        "gru": (LastGru(5, 6, batch_first=True), nn.Linear(6, 3)),
    }
    return nn.Sequential(*rows[name]).eval()


CASES: list[Any] = [
    ("mlp", MLP, (5,)),
    ("batch norm", NORMED, (5,)),
    ("cnn", CNN, (6, 6, 2)),
    ("lstm", recurrent("lstm"), (4, 5)),
    ("gru", recurrent("gru"), (4, 5)),
]


def told(network: Any, x: Array) -> Array:
    """What PyTorch says; it wants channels second."""
    import torch

    given = torch.from_numpy(x)
    found: Array = network(given.permute(0, 3, 1, 2) if x.ndim == 4 else given).detach().numpy()
    return found


@pytest.mark.parametrize(("name", "layers", "shape"), CASES)
def test_pytorch_loads_an_export_and_says_the_same(name: str, layers: list[Json], shape: tuple[int, ...]) -> None:
    torch_files = pytest.importorskip("safetensors.torch")
    spec, signature = NetworkSpec.model_validate({"layers": layers}), Signature(shape)
    weights = drawn(spec, signature)
    file = b"".join(tensors.pieces(*artifact.pack(_model(spec, signature, weights))))
    x = np.random.default_rng(1).normal(0, 1, (7, *shape)).astype(np.float32)
    theirs = built(name)
    theirs.load_state_dict(torch_files.load(file))  # strict: every name, every shape
    np.testing.assert_allclose(Network(spec, signature, 3, weights)(x), told(theirs, x), rtol=0, atol=WITHIN)


@pytest.fixture(scope="module")
def client(serve: Callable[..., Any]) -> Any:
    with Client(serve(None, "--workers", "1").url) as client:
        yield client


@pytest.mark.parametrize(("name", "layers", "shape"), CASES)
def test_a_training_begins_where_pytorch_ended(
    client: Client, name: str, layers: list[Json], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """A step of next to nothing changes no weight but the running statistics: the export is PyTorch's."""
    torch_files = pytest.importorskip("safetensors.torch")
    x = np.random.default_rng(2).normal(0, 1, (6, *shape)).astype(np.float32)
    theirs = built(name)
    torch_files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    np.savez(tmp_path / "rows.npz", x=x, label=np.arange(6) % 3)
    spec: Json = {
        "dataset": {"id": client.upload(tmp_path / "rows.npz")["id"], "target": "label", "preprocess": "none"},
        "network": {"layers": layers, "initial_weights": client.upload(tmp_path / "theirs.safetensors")["id"]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "sgd", "learning_rate": 1e-30},
        "training": {"epochs": 1},
    }
    ended = client.wait(client.submit({"type": "train", "spec": spec})["id"], timeout_s=60)
    assert ended["status"] == "succeeded", ended["error"]
    theirs.load_state_dict(torch_files.load(client.export(ended["run_id"])))
    logits = told(theirs, x)
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for found, wanted in zip(client.predict(ended["run_id"], x.tolist()), likely, strict=True):
        assert [found["probabilities"][each] for each in "012"] == pytest.approx(wanted, abs=WITHIN)
    begun = torch_files.load_file(tmp_path / "theirs.safetensors")
    for key, array in theirs.state_dict().items():
        follows = "running" in key or "tracked" in key
        assert follows or np.abs(array.numpy() - begun[key].numpy()).max() < 1e-20


def _model(spec: NetworkSpec, signature: Signature, weights: dict[str, Array]) -> NetworkModel:
    rows = WholeRows("x", "array", signature.shape, signature.shape, "float32", None, 1.0, 0.0)
    prepared = Preprocessor(rows, ClassTarget("label", ("a", "b", "c")), frozenset({"x", "label"}))
    loss: Any = TypeAdapter(Loss).validate_python({"kind": "cross_entropy"})
    return NetworkModel(spec, signature, 3, loss, "float32", prepared, {}, weights)
