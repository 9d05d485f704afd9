"""Makes engine_conv.json: what PyTorch computes, in float64, for convolutions, pools and normalisations.

Run `python tests/golden/make_engine_conv.py` with the oracle extra installed. PyTorch wants channels before space, so
every case turns its rows on the way in and, before they are laid flat, back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from make_engine import Case, Json, dense, write
from torch import nn
from torch.nn import functional as F  # noqa: N812  its usual name

FLAT = {"kind": "flatten"}


class Turn(nn.Module):  # type: ignore[misc]
    """Channels to the second axis, or back to the last."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.back = back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1) if self.back else x.movedim(-1, 1)


class Pad(nn.Module):  # type: ignore[misc]
    """Zeros (or less than everything) as "same" padding with strides wants them: the odd one behind."""

    def __init__(self, *pad: int, value: float = 0.0) -> None:
        super().__init__()
        self.pad, self.value = pad, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, self.pad, value=self.value)


class Lasting(nn.Module):  # type: ignore[misc]
    """A function of the whole row."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def spatial(dims: tuple[int, ...], layers: list[Json], modules: dict[str, nn.Module], units: int) -> Case:
    """The layers on rows of `dims`, then flatten and dense; `units`: numbers that come out of the layers."""
    n = len(layers)
    turned = {"0-": Turn(), **modules, f"{n}-": Turn(back=True)}
    end = {f"{n}": nn.Flatten(), f"{n + 1}": nn.Linear(units, 3)}
    return Case([*layers, FLAT, dense(3)], {**turned, **end}, dims)


def conv(rank: int, filters: int, kernel: Any, **given: Any) -> Json:
    return {"kind": f"conv{rank}d", "filters": filters, "kernel_size": kernel, **given}


def pool(kind: str, size: Any, **given: Any) -> Json:
    return {"kind": kind, "pool_size": size, **given}


CASES: dict[str, Callable[[], Case]] = {
    "conv1d": lambda: spatial((6, 2), [conv(1, 3, 3)], {"0": nn.Conv1d(2, 3, 3)}, 12),
    "conv1d-same": lambda: spatial(
        (5, 2), [conv(1, 3, 4, padding="same", dilation=2)], {"0": nn.Conv1d(2, 3, 4, padding="same", dilation=2)}, 15
    ),
    "conv2d": lambda: spatial((5, 4, 1), [conv(2, 3, 3)], {"0": nn.Conv2d(1, 3, 3)}, 18),
    "conv2d-wide": lambda: spatial(
        (4, 4, 9), [conv(2, 2, [2, 3], bias=False)], {"0": nn.Conv2d(9, 2, (2, 3), bias=False)}, 12
    ),
    "conv2d-strides": lambda: spatial(
        (5, 6, 2), [conv(2, 3, 3, strides=[2, 1])], {"0": nn.Conv2d(2, 3, 3, stride=(2, 1))}, 24
    ),
    "conv2d-same-strides": lambda: spatial(
        (5, 6, 2),
        [conv(2, 3, 3, strides=2, padding="same")],
        {"0_": Pad(0, 1, 1, 1), "0": nn.Conv2d(2, 3, 3, stride=2)},
        27,
    ),
    "conv2d-padding": lambda: spatial(
        (7, 6, 2),
        [conv(2, 3, 3, strides=2, padding=1), pool("max_pool2d", 3, strides=2, padding=[1, 0])],
        {"0": nn.Conv2d(2, 3, 3, stride=2, padding=1), "1": nn.MaxPool2d(3, 2, padding=(1, 0))},
        6,
    ),
    "conv2d-dilation": lambda: spatial(
        (6, 5, 2), [conv(2, 2, 2, dilation=2)], {"0": nn.Conv2d(2, 2, 2, dilation=2)}, 24
    ),
    "conv2d-groups": lambda: spatial((4, 4, 4), [conv(2, 6, 2, groups=2)], {"0": nn.Conv2d(4, 6, 2, groups=2)}, 54),
    "conv2d-depthwise": lambda: spatial(
        (4, 4, 3), [conv(2, 3, 3, groups=3, padding="same")], {"0": nn.Conv2d(3, 3, 3, groups=3, padding="same")}, 48
    ),
    "conv2d-winograd": lambda: Case(
        [conv(2, 8, 1), conv(2, 8, 3, padding="same", activation="relu"), {"kind": "global_average_pool"}, dense(3)],
        {
            "0-": Turn(),
            "0": nn.Conv2d(1, 8, 1),
            "1": nn.Conv2d(8, 8, 3, padding="same"),
            "1a": nn.ReLU(),
            "2": Lasting(lambda x: x.mean((2, 3))),
            "3": nn.Linear(8, 3),
        },
        (11, 9, 1),
    ),
    "conv2d-winograd-pool": lambda: spatial(
        (12, 13, 1),
        [conv(2, 8, 1), conv(2, 8, 3, activation="relu"), pool("max_pool2d", 2), pool("max_pool2d", [5, 2])],
        {
            "0": nn.Conv2d(1, 8, 1),
            "1": nn.Conv2d(8, 8, 3),
            "1a": nn.ReLU(),
            "2": nn.MaxPool2d(2),
            "3": nn.MaxPool2d((5, 2)),
        },
        16,
    ),
    "conv2d-relu-pool": lambda: spatial(
        (7, 9, 2),
        [conv(2, 3, 2, activation="relu"), pool("max_pool2d", [2, 3])],
        {"0": nn.Conv2d(2, 3, 2), "0a": nn.ReLU(), "1": nn.MaxPool2d((2, 3))},
        18,
    ),
    "conv3d": lambda: spatial(
        (3, 4, 3, 2), [conv(3, 2, [2, 3, 2], activation="tanh")], {"0": nn.Conv3d(2, 2, (2, 3, 2)), "0a": nn.Tanh()}, 16
    ),
    "max_pool1d": lambda: spatial((7, 2), [pool("max_pool1d", 3, strides=2)], {"0": nn.MaxPool1d(3, 2)}, 6),
    "max_pool2d": lambda: spatial((5, 6, 2), [pool("max_pool2d", [2, 3])], {"0": nn.MaxPool2d((2, 3))}, 8),
    "max_pool2d-same": lambda: spatial(
        (5, 6, 2),
        [pool("max_pool2d", 3, strides=2, padding="same")],
        {"0_": Pad(0, 1, 1, 1, value=-float("inf")), "0": nn.MaxPool2d(3, 2)},
        18,
    ),
    "max_pool3d": lambda: spatial((2, 4, 3, 2), [pool("max_pool3d", 2)], {"0": nn.MaxPool3d(2)}, 4),
    "average_pool1d": lambda: spatial((7, 2), [pool("average_pool1d", 3, strides=2)], {"0": nn.AvgPool1d(3, 2)}, 6),
    "average_pool2d": lambda: spatial((5, 6, 2), [pool("average_pool2d", 2)], {"0": nn.AvgPool2d(2)}, 12),
    "average_pool2d-same": lambda: spatial(
        (5, 5, 2),
        [pool("average_pool2d", 3, padding="same", strides=1)],
        {"0": nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)},
        50,
    ),
    "average_pool3d": lambda: spatial((2, 4, 3, 2), [pool("average_pool3d", 2)], {"0": nn.AvgPool3d(2)}, 4),
    "global_max_pool": lambda: Case(
        [{"kind": "global_max_pool"}, dense(3)],
        {"0": Lasting(lambda x: x.amax((1, 2))), "1": nn.Linear(2, 3)},
        (3, 4, 2),
    ),
    "global_average_pool": lambda: Case(
        [{"kind": "global_average_pool"}, dense(3)],
        {"0": Lasting(lambda x: x.mean((1, 2))), "1": nn.Linear(2, 3)},
        (3, 4, 2),
    ),
    "batch_norm": lambda: Case(
        [dense(6) | {"bias": False}, {"kind": "batch_norm"}, {"kind": "tanh"}, dense(3)],
        {"0": nn.Linear(5, 6, bias=False), "1": nn.BatchNorm1d(6), "2": nn.Tanh(), "3": nn.Linear(6, 3)},
    ),
    "batch_norm-2d": lambda: spatial(
        (6, 5, 2),
        [
            conv(2, 4, 3, bias=False),
            {"kind": "batch_norm", "momentum": 0.3, "epsilon": 0.01},
            {"kind": "relu"},
            pool("max_pool2d", 2),
        ],
        {
            "0": nn.Conv2d(2, 4, 3, bias=False),
            "1": nn.BatchNorm2d(4, 0.01, 0.3),
            "2": nn.ReLU(),
            "3": nn.MaxPool2d(2),
        },
        8,
    ),
    "layer_norm": lambda: Case(
        [dense(6), {"kind": "layer_norm"}, {"kind": "tanh"}, dense(3)],
        {"0": nn.Linear(5, 6), "1": nn.LayerNorm(6), "2": nn.Tanh(), "3": nn.Linear(6, 3)},
    ),
    "layer_norm-sequences": lambda: Case(
        [{"kind": "layer_norm", "epsilon": 0.1}, FLAT, dense(3)],
        {"0": nn.LayerNorm(5, 0.1), "1": nn.Flatten(), "2": nn.Linear(15, 3)},
        (3, 5),
    ),
}


if __name__ == "__main__":
    write("engine_conv.json", CASES)
