"""Recurrent networks against PyTorch at its best settings; `make bench-engine-recurrent`.

A letter model of 2 layers x 128 units, windows of 50 steps, batch 50, vocabulary 65, Adam, the state carried on from
batch to batch. PyTorch reads one-hot letters by an embedding that is the unit matrix and never trained, which costs it
less than a product with one-hot rows; its Adam is the fused one. In turn, lower quartile of several rounds.
Run alone: `OPENBLAS_NUM_THREADS=1 quiet .venv/bin/python tests/benchmarks/bench_engine_recurrent.py [lstm gru ...]`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from bench_engine import Round, race
from torch import nn

from service.engine import Epoch, Examples, Recipe, Signature, Training
from service.engine.contract import Array

pytestmark = [pytest.mark.benchmark, pytest.mark.oracle]

VOCABULARY, TIME, BATCH, UNITS, STEPS = 65, 50, 50, 128, 8
KINDS: dict[str, tuple[Any, float]] = {
    "lstm": (nn.LSTM, 1.08),
    "gru": (nn.GRU, 1.4),
    "simple_rnn": (nn.RNN, 1.0),
}
SIGNATURE = Signature((TIME,), "int32", vocabulary=VOCABULARY)


def data() -> Examples:
    """Row r + steps goes on where row r ends; letters that hang on those before them."""
    random = np.random.default_rng(0)
    shape = (BATCH * STEPS, TIME)
    x = np.cumsum(random.integers(0, 3, shape), axis=1) % VOCABULARY
    return Examples(x.astype(np.int32), np.roll(x, -1, axis=1).astype(np.int32))


def ours(kind: str, examples: Examples) -> tuple[Round, dict[str, Array]]:
    layers = [{"kind": kind, "units": UNITS}] * 2 + [{"kind": "dense", "units": VOCABULARY, "activation": "softmax"}]
    recipe = Recipe.model_validate(
        {
            "network": {"layers": layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {"epochs": 1_000_000, "batch_size": BATCH, "stateful": True},
            "metrics": [],
        }
    )
    training = Training(recipe, SIGNATURE, VOCABULARY, examples)
    stream = iter(training)
    weights = training.weights()

    def once() -> float:
        return next(event.scores["train_loss"] for event in stream if isinstance(event, Epoch))

    return once, weights


def model_of(kind: str, weights: dict[str, Array]) -> tuple[Any, Any, Any]:
    """(one-hot rows, the recurrent layers, the dense one)"""
    layers = KINDS[kind][0](VOCABULARY, UNITS, 2, batch_first=True)
    named = {f"{name[2:-1]}{name[0]}": each for name, each in weights.items() if name[0] != "2"}
    layers.load_state_dict({name: torch.from_numpy(each) for name, each in named.items()})
    head = nn.Linear(UNITS, VOCABULARY)
    head.load_state_dict({name: torch.from_numpy(weights[f"2.{name}"]) for name in ("weight", "bias")})
    return nn.Embedding.from_pretrained(torch.eye(VOCABULARY)), layers, head


def theirs(kind: str, examples: Examples, weights: dict[str, Array]) -> Round:
    torch.set_flush_denormal(True)
    one_hot, layers, head = model_of(kind, weights)
    optimizer = torch.optim.Adam([*layers.parameters(), *head.parameters()], fused=True)
    x, y, criterion = torch.from_numpy(examples.x).long(), torch.from_numpy(examples.y).long(), nn.CrossEntropyLoss()
    rows = [np.arange(BATCH) * STEPS + step for step in range(STEPS)]  # streams side by side, as we walk them

    def once() -> float:
        total, state = torch.zeros(()), None
        for chosen in rows:
            optimizer.zero_grad(set_to_none=True)
            h, state = layers(one_hot(x[chosen]), state)
            state = tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()
            loss = criterion(head(h).reshape(-1, VOCABULARY), y[chosen].reshape(-1))
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / STEPS

    return once


def compared(kind: str, rounds: int = 9) -> tuple[str, float, float]:
    """(text, ratio, floor)"""
    examples = data()
    mine, weights = ours(kind, examples)
    seconds, losses = race({"ours": mine, "torch": theirs(kind, examples, weights)}, rounds)
    rows, ratio, floor = BATCH * STEPS, seconds["torch"] / seconds["ours"], KINDS[kind][1]
    text = f"{kind:10} " + "  ".join(f"{who} {rows / s:>6,.0f}/s" for who, s in seconds.items())
    text += f"  ratio {ratio:5.2f} (floor {floor})  first losses {losses['ours'][0]:.5f} {losses['torch'][0]:.5f}"
    return text, ratio, floor


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_network_trains_faster_than_in_pytorch_by_its_floor(kind: str) -> None:
    torch.set_num_threads(1)
    text, ratio, floor = compared(kind)
    assert ratio >= floor, text


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in [kind for kind in KINDS if kind in sys.argv[1:]] or list(KINDS):
        print(compared(each)[0], flush=True)
