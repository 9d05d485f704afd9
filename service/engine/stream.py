"""A network that reads a stream step by step and hands out what it remembers: states are values, cheap to keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from service.engine.answers import Answers, bind_answers, ended
from service.engine.contract import Array, LayerSpec, Signature
from service.engine.layers.batch_norm import BatchNorm
from service.engine.layers.dense import Dense
from service.engine.layers.embedding import Embedding
from service.engine.layers.gru import Gru
from service.engine.layers.lstm import Lstm
from service.engine.layers.residual import Residual
from service.engine.layers.simple_rnn import SimpleRnn
from service.engine.layers.swiglu import Swiglu
from service.engine.losses import LossSpec
from service.engine.network import Compiled, NetworkSpec, kind_of
from service.errors import Fault, InvalidSpec

State: TypeAlias = tuple[Array, ...]
"""What the recurrent layers carry, (1, units) each; never written to."""

CHUNK = 64  # steps read by one program when there are so many: one product for all of them
_STEP_BY_STEP = (Dense, Embedding, SimpleRnn, Lstm, Gru, Swiglu, BatchNorm)


def stream_faults(layers: Sequence[LayerSpec], place: str = "/network/layers") -> list[Fault]:
    """The layers whose answer at a step hangs on more than that step and what was carried to it."""
    found: list[Fault] = []
    for index, layer in enumerate(layers):
        here = f"{place}/{index}"
        if isinstance(layer, Residual):
            found += stream_faults(layer.layers, f"{here}/layers")
        elif getattr(layer, "output", "sequence") == "last":
            message = f"{kind_of(layer)} gives its last step only, but every step is to be answered"
            found.append(Fault(f"{here}/output", "not_a_stream", message, 'leave out "output": "last"'))
        elif not (layer.elementwise or isinstance(layer, _STEP_BY_STEP)):
            message = f"{kind_of(layer)} needs the whole sequence: it cannot answer step by step, and would see ahead"
            found.append(Fault(here, "not_a_stream", message, "use simple_rnn, lstm or gru"))
    return found


class Stream:
    """`read(state, x) -> (state, y)`: the steps x that follow what `state` has read. Safe to use from several threads.

    Raises InvalidSpec when a layer cannot be walked through step by step.
    """

    def __init__(
        self, spec: NetworkSpec, signature: Signature, vectors: tuple[Array, Array], loss: LossSpec | None, dtype: str
    ) -> None:
        faults = stream_faults(spec.layers)
        if faults:
            raise InvalidSpec("the network cannot be read as a stream", faults=faults)
        self._spec, self._signature, self._vectors, self._loss, self._dtype = spec, signature, vectors, loss, dtype
        self._free: deque[_Reading] = deque()
        first = _Reading(self)
        self._free.append(first)
        self._begin = tuple(np.zeros_like(each) for each in first.carries.values())

    def start(self) -> State:
        """Before anything was read."""
        return self._begin

    def read(self, state: State, x: Array) -> tuple[State, Array]:
        """x: (steps, ...) of one row as the signature says; y: (steps, k), the last activation applied."""
        try:
            reading = self._free.pop()
        except IndexError:
            reading = _Reading(self)
        found = reading.read(state, x)
        self._free.append(reading)
        return found

    def bind(self, steps: int, carries: dict[str, Array]) -> Answers:
        """A new program of one row and so many steps."""
        signature = replace(self._signature, shape=(steps, *self._signature.shape[1:]), timed=False)
        net = Compiled(self._spec, signature, self._dtype)
        return bind_answers(net, ended(net, self._loss), signature, self._vectors, 1, carries)


class _Reading:
    """Programs of one step and of many over the same carried arrays, used by one thread at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._many: Answers | None = None
        self.carries: dict[str, Array] = {}
        self._one = stream.bind(1, self.carries)
        self._states = list(self.carries.values())

    def read(self, state: State, x: Array) -> tuple[State, Array]:
        for carry, each in zip(self._states, state, strict=True):
            np.copyto(carry, each)
        if len(x) == 1:
            y = _run(self._one, x)
        else:
            whole = len(x) - len(x) % CHUNK
            pieces = [_run(self._chunk(), x[at : at + CHUNK]) for at in range(0, whole, CHUNK)]
            pieces += [_run(self._one, x[at : at + 1]) for at in range(whole, len(x))]
            y = np.concatenate(pieces)
        return tuple(carry.copy() for carry in self._states), y

    def _chunk(self) -> Answers:
        if self._many is None:
            self._many = self._stream.bind(CHUNK, self.carries)
        return self._many


def _run(program: Answers, x: Array) -> Array:
    """One row's steps: (steps, ...) -> (steps, k)."""
    program.feed.put(x[None])
    with np.errstate(all="ignore"):
        for step in program.steps:
            step()
    return np.array(program.y[0])
