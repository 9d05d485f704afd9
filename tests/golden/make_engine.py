"""Makes engine.json: what PyTorch computes, in float64, for every word of the engine it knows.

Run `python tests/golden/make_engine.py` with the oracle extra installed; the tests read only the file. A new word gets
a line in CASES (or in a script of its own: `from make_engine import Case, write`): our JSON, and the same in PyTorch.
Weights, rows and targets are drawn here and stored with the results: the outputs, the loss and the gradients at the
start, and every parameter after ten steps on batches of four rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  its usual name

ROWS, BATCH, STEPS = 20, 4, 10
Json = dict[str, Any]


def dense(units: int, activation: Any = None) -> Json:
    return {"kind": "dense", "units": units, "activation": activation}


@dataclass
class Case:
    """`layers` as JSON and `modules` by our layer numbers ("0a": no parameters); rows of shape `dims`."""

    layers: list[Json]
    modules: dict[str, nn.Module]
    dims: tuple[int, ...] = (5,)
    outputs: int = 3
    loss: Json = field(default_factory=lambda: {"kind": "cross_entropy"})
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy
    target: str = "class"
    optimizer: Json = field(default_factory=lambda: {"kind": "sgd", "learning_rate": 0.1})
    torch_optimizer: Callable[[Any], torch.optim.Optimizer] = lambda p: torch.optim.SGD(p, 0.1)
    clip: Callable[[Any], object] = lambda p: None
    vocabulary: int | None = None
    per_step: bool = False


class Swiglu(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = x.chunk(2, -1)
        return F.silu(gate) * value


class Around(nn.Sequential):  # type: ignore[misc]
    """x + f(x), the inner modules by their numbers."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


def activation(word: Any, module: nn.Module) -> Case:
    return Case([dense(6, word), dense(3)], {"0": nn.Linear(5, 6), "0a": module, "1": nn.Linear(6, 3)})


def loss(word: Json, criterion: Any, target: str, units: int = 3, end: str | None = None) -> Case:
    modules = {"0": nn.Linear(5, 6), "0a": nn.Tanh(), "1": nn.Linear(6, units)}
    outputs = 2 if target == "binary" else units
    layers = [dense(6, "tanh"), dense(units, end)]
    return Case(layers, modules, outputs=outputs, loss=word, criterion=criterion, target=target)


def optimizer(word: Json, make: Any, clip: Any = lambda p: None) -> Case:
    modules = {"0": nn.Linear(5, 6), "0a": nn.Tanh(), "1": nn.Linear(6, 3)}
    return Case([dense(6, "tanh"), dense(3)], modules, optimizer=word, torch_optimizer=make, clip=clip)


def hinge(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.clamp(1 - (2 * y - 1) * z, min=0).mean()


def kl(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.kl_div(F.log_softmax(z, -1), y, reduction="batchmean")


W = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
O = torch.optim  # noqa: E741
CASES: dict[str, Callable[[], Case]] = {
    # layers
    "dense": lambda: Case([dense(3)], {"0": nn.Linear(5, 3)}),
    "dense-without-bias": lambda: Case([dense(3) | {"bias": False}], {"0": nn.Linear(5, 3, bias=False)}),
    "flatten-reshape": lambda: Case(
        [{"kind": "flatten"}, dense(6), {"kind": "reshape", "shape": [2, 3]}, {"kind": "flatten"}, dense(3)],
        {"0": nn.Flatten(), "1": nn.Linear(12, 6), "4": nn.Linear(6, 3)},
        (3, 4),
    ),
    "dense-on-sequences": lambda: Case(
        [dense(4, "tanh"), {"kind": "flatten"}, dense(3)],
        {"0": nn.Linear(5, 4), "0a": nn.Tanh(), "1": nn.Flatten(), "2": nn.Linear(12, 3)},
        (3, 5),
    ),
    "residual": lambda: Case(
        [dense(5), {"kind": "residual", "layers": [dense(4, "tanh"), dense(5)]}, dense(3)],
        {
            "0": nn.Linear(5, 5),
            "1": Around({"0": nn.Linear(5, 4), "0a": nn.Tanh(), "1": nn.Linear(4, 5)}),
            "2": nn.Linear(5, 3),
        },
    ),
    # activations
    "sigmoid": lambda: activation("sigmoid", nn.Sigmoid()),
    "tanh": lambda: activation("tanh", nn.Tanh()),
    "relu": lambda: activation("relu", nn.ReLU()),
    "leaky_relu": lambda: activation("leaky_relu", nn.LeakyReLU(0.01)),
    "gelu": lambda: activation("gelu", nn.GELU()),
    "gelu-tanh": lambda: activation({"kind": "gelu", "approximate": "tanh"}, nn.GELU("tanh")),
    "silu": lambda: activation("silu", nn.SiLU()),
    "elu": lambda: activation({"kind": "elu", "alpha": 0.7}, nn.ELU(0.7)),
    "softplus": lambda: activation("softplus", nn.Softplus()),
    "softmax": lambda: activation("softmax", nn.Softmax(-1)),
    "log_softmax": lambda: activation("log_softmax", nn.LogSoftmax(-1)),
    "swiglu": lambda: Case(
        [dense(8, "swiglu"), dense(3)], {"0": nn.Linear(5, 8), "0a": Swiglu(), "1": nn.Linear(4, 3)}
    ),
    # losses
    "squared_error": lambda: loss({"kind": "squared_error"}, F.mse_loss, "number"),
    "absolute_error": lambda: loss({"kind": "absolute_error"}, F.l1_loss, "number"),
    "huber": lambda: loss(
        {"kind": "huber", "delta": 0.6}, lambda z, y: 0.6 * F.smooth_l1_loss(z, y, beta=0.6), "number"
    ),
    "binary_cross_entropy": lambda: loss(
        {"kind": "binary_cross_entropy"}, F.binary_cross_entropy_with_logits, "binary", 1, "sigmoid"
    ),
    "hinge": lambda: loss({"kind": "hinge"}, hinge, "binary", 1),
    "cross_entropy": lambda: loss({"kind": "cross_entropy"}, F.cross_entropy, "class", end="softmax"),
    "cross_entropy-smooth": lambda: loss(
        {"kind": "cross_entropy", "label_smoothing": 0.2},
        lambda z, y: F.cross_entropy(z, y, label_smoothing=0.2),
        "class",
    ),
    "cross_entropy-weights": lambda: loss(
        {"kind": "cross_entropy", "class_weights": W.tolist()}, lambda z, y: F.cross_entropy(z, y, W), "class"
    ),
    "cross_entropy-both": lambda: loss(
        {"kind": "cross_entropy", "class_weights": W.tolist(), "label_smoothing": 0.1},
        lambda z, y: F.cross_entropy(z, y, W, label_smoothing=0.1),
        "class",
    ),
    "kl_divergence": lambda: loss({"kind": "kl_divergence"}, kl, "distribution", end="softmax"),
    # optimizers
    "sgd-momentum": lambda: optimizer(
        {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}, lambda p: O.SGD(p, 0.1, momentum=0.9)
    ),
    "sgd-nesterov": lambda: optimizer(
        {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        lambda p: O.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adagrad": lambda: optimizer({"kind": "adagrad", "learning_rate": 0.05}, lambda p: O.Adagrad(p, 0.05)),
    "rmsprop": lambda: optimizer({"kind": "rmsprop", "learning_rate": 0.01}, lambda p: O.RMSprop(p, 0.01)),
    "rmsprop-centered": lambda: optimizer(
        {"kind": "rmsprop", "learning_rate": 0.01, "centered": True, "momentum": 0.8, "rho": 0.9},
        lambda p: O.RMSprop(p, 0.01, alpha=0.9, centered=True, momentum=0.8),
    ),
    "adam": lambda: optimizer({"kind": "adam", "learning_rate": 0.01}, lambda p: O.Adam(p, 0.01)),
    "adam-decay": lambda: optimizer(
        {"kind": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95},
        lambda p: O.Adam(p, 0.01, (0.8, 0.95), weight_decay=0.1),
    ),
    "adamw": lambda: optimizer(
        {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}, lambda p: O.AdamW(p, 0.01, weight_decay=0.1)
    ),
    "clip-norm": lambda: optimizer(
        {"kind": "sgd", "learning_rate": 0.5, "clip_norm": 0.2},
        lambda p: O.SGD(p, 0.5),
        lambda p: nn.utils.clip_grad_norm_(p, 0.2),
    ),
    "clip-value": lambda: optimizer(
        {"kind": "sgd", "learning_rate": 0.5, "clip_value": 0.05},
        lambda p: O.SGD(p, 0.5),
        lambda p: nn.utils.clip_grad_value_(p, 0.05),
    ),
}


def rows_of(case: Case) -> torch.Tensor:
    if case.vocabulary is not None:
        return torch.randint(0, case.vocabulary, (ROWS, *case.dims))
    return torch.randn(ROWS, *case.dims, dtype=torch.float32)


def targets_of(case: Case, z: torch.Tensor) -> torch.Tensor:
    if case.target == "class":
        return torch.randint(0, case.outputs, z.shape[:-1])
    if case.target == "binary":
        return torch.randint(0, 2, z.shape).double()
    y = torch.randn(z.shape, dtype=torch.float32).double()
    return torch.softmax(y, -1).float().double() if case.target == "distribution" else y


def numbers(tensors: dict[str, torch.Tensor]) -> Json:
    return {name: tensor.detach().tolist() for name, tensor in tensors.items()}


def made(case: Case) -> Json:
    """What PyTorch gives for one case."""
    model = nn.Sequential()
    for name, module in case.modules.items():
        model.add_module(name, module)
    model.double()
    x = rows_of(case)
    inputs = x if case.vocabulary is not None else x.double()
    model.eval()
    y = targets_of(case, model(inputs))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    answers = model(inputs)
    model.train()
    first = case.criterion(model(inputs[:BATCH]), y[:BATCH])
    first.backward()
    gradients = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.load_state_dict(start)
    optimizer = case.torch_optimizer(model.parameters())
    for step in range(STEPS):
        begin = step * BATCH % ROWS
        optimizer.zero_grad()
        case.criterion(model(inputs[begin : begin + BATCH]), y[begin : begin + BATCH]).backward()
        case.clip(list(model.parameters()))
        optimizer.step()
    return {
        "layers": case.layers, "loss": case.loss, "optimizer": case.optimizer, "outputs": case.outputs,
        "dims": list(case.dims), "vocabulary": case.vocabulary, "batch": BATCH, "steps": STEPS,
        "x": x.tolist(), "y": y.tolist(), "start": numbers(start), "answers": answers.tolist(),
        "first_loss": first.item(), "gradients": numbers(gradients), "end": numbers(model.state_dict()),
    }  # fmt: skip


def write(name: str, cases: dict[str, Callable[[], Case]]) -> None:
    """Makes `name` beside this script."""
    found = {}
    for case, make in cases.items():
        torch.manual_seed(sum(case.encode()))
        found[case] = made(make())
    path = Path(__file__).with_name(name)
    head = {"torch": torch.__version__, "made_by": "tests/golden/make_engine.py"}
    lines = [f"{json.dumps(case)}: {json.dumps(result)}" for case, result in found.items()]
    path.write_text("{" + f'"about": {json.dumps(head)},\n' + ",\n".join(lines) + "}\n")
    print(f"{path.name}: {len(found)} cases, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    write("engine.json", CASES)
