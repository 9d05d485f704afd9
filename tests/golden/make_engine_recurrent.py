"""Makes engine_recurrent.json: what PyTorch computes, in float64, for embeddings and recurrent layers.

Run `python tests/golden/make_engine_recurrent.py` with the oracle extra installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from make_engine import Case, Json, dense, write
from torch import nn
from torch.nn import functional as F  # noqa: N812  its usual name

TIME, VOCABULARY = 6, 7


def outputs(module: Any, last: bool = False) -> nn.Module:
    """The module, answering with its outputs, or with what the last step of each direction gives."""

    class Answering(type(module)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, state = super().forward(x)
            h = state[0] if isinstance(state, tuple) else state
            return torch.cat(list(h), -1) if last else y

    module.__class__ = Answering
    return module


def per_step(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(z.flatten(0, -2), y.flatten())


def numbers_in(word: Json, module: Any, last: bool = False) -> Case:
    """(time, 5) numbers in, three classes out, a step or a sequence."""
    layers = [word | ({"output": "last"} if last else {}), dense(3)]
    width = 4 * (2 if module.bidirectional else 1)
    modules = {"0": outputs(module, last), "1": nn.Linear(width, 3)}
    return Case(layers, modules, (TIME, 5), criterion=F.cross_entropy if last else per_step)


def letters(word: Json, module: Any) -> Case:
    """Ids in, the next id out: an embedding, a layer, and the same kind again."""
    layers = [{"kind": "embedding", "units": 5}, word, word | {"units": 4}, dense(VOCABULARY)]
    second = type(module)(4, 4, batch_first=True)  # before the first answers differently
    modules = {
        "0": nn.Embedding(VOCABULARY, 5), "1": outputs(module), "2": outputs(second), "3": nn.Linear(4, VOCABULARY),
    }  # fmt: skip
    return Case(layers, modules, (TIME,), VOCABULARY, criterion=per_step, vocabulary=VOCABULARY)


def both_ways(inner: Json, module: Any, last: bool = False) -> Case:
    inner = inner | ({"output": "last"} if last else {})
    case = numbers_in(inner, module, last)
    case.layers[0] = {"kind": "bidirectional", "layer": inner}
    return case


KINDS: dict[str, Any] = {"simple_rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CASES: dict[str, Callable[[], Case]] = {}
for _kind, _module in KINDS.items():
    _word = {"kind": _kind, "units": 4}
    CASES |= {
        _kind: lambda w=_word, m=_module: numbers_in(w, m(5, 4, batch_first=True)),  # type: ignore[misc]
        f"{_kind}-last": lambda w=_word, m=_module: numbers_in(w, m(5, 4, batch_first=True), last=True),  # type: ignore[misc]
        f"{_kind}-letters": lambda w=_word, m=_module: letters(w, m(5, 4, batch_first=True)),  # type: ignore[misc]
        f"{_kind}-bidirectional": lambda w=_word, m=_module: both_ways(  # type: ignore[misc]
            w, m(5, 4, batch_first=True, bidirectional=True)
        ),
    }
CASES["lstm-bidirectional-last"] = lambda: both_ways(
    {"kind": "lstm", "units": 4}, nn.LSTM(5, 4, batch_first=True, bidirectional=True), last=True
)

if __name__ == "__main__":
    write("engine_recurrent.json", CASES)
