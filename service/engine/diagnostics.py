"""What a network's gradients look like inside: how much of the last step's error reaches each step before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Signature
from service.engine.feed import Examples
from service.engine.network import Compiled
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe


def gradient_by_time(
    recipe: Recipe, signature: Signature, weights: Mapping[str, Array], rows: Examples
) -> dict[str, list[float]]:
    """By recurrent layer ("1"): the norm of dL/dh_t for every step t, L being the loss of the last step alone.

    Where it vanishes, what happened so long ago cannot be learned. Bengio, Simard and Frasconi 1994.
    Empty when the network does not answer at every step.
    """
    timed = replace(signature, timed=True)
    net = Compiled(recipe.network, timed, recipe.dtype)
    if not net.plan.out.timed:
        return {}
    memory = Memory(net.trained.empty(net.dtype), net.trained.empty(net.dtype), net.kept.empty(net.dtype))
    net.load(weights, memory.theta, memory.state)
    arena = Arena()
    program = Program(net, recipe.loss, timed, Setting(len(rows), training=True, masked=True), memory, arena)
    whole = Examples(rows.x, rows.y, np.full(len(rows), signature.shape[0]))
    program.load(whole, np.arange(len(rows)), 0)
    program.divisors[0] = len(rows)
    assert program.mask is not None
    program.mask[0, :, :-1] = 0
    with np.errstate(all="ignore"):
        for step in program.steps.of(0):
            step()
    found = {str(part.index): arena.known(f"net.{i}.dh", len(rows)) for i, part in enumerate(program.row.parts)}
    return {layer: _norms(dh[1:]) for layer, dh in found.items() if dh is not None}


def _norms(dh: Array) -> list[float]:
    return [float(norm) for norm in np.sqrt(np.square(dh, dtype=np.float64).sum(axis=(1, 2)))]
