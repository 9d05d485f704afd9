"""Optimizers: how the gradient moves the parameters, all of them as one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Spec
from service.engine.schedules import Constant, Schedule

Update: TypeAlias = Callable[[int, float], None]
"""(t, rate): the t-th step from 1 with this learning rate; moves the parameters in place."""

CHUNK = 32_768  # numbers worked on at a time, so that five arrays stay in the second-level cache
Rate = Annotated[float, Field(gt=0, le=1e6, description="Learning rate, before its schedule.")]
Decay = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=0, le=1e6)]


class OptimizerSpec(Spec):
    """Contract of an optimizer. `slots`: the vectors it remembers, each as long as the parameters, zero at first.

    Before every step, in this order: clip_norm, clip_value, then g += weight_decay theta + l1 sign(theta).
    """

    schedule: Schedule = Field(default=Constant(), description="How the learning rate changes from step to step.")
    weight_decay: Penalty = Field(default=0.0, description="L2 penalty: adds weight_decay * theta to the gradient.")
    l1: Penalty = Field(default=0.0, description="L1 penalty: adds l1 * sign(theta) to the gradient.")
    clip_norm: float | None = Field(default=None, gt=0, le=1e9, description="Largest length of the whole gradient.")
    clip_value: float | None = Field(default=None, gt=0, le=1e9, description="Largest size of any number in it.")

    learning_rate: Rate = 0.01
    slots: ClassVar[tuple[str, ...]] = ()
    whole_batch: ClassVar[bool] = False
    decoupled: ClassVar[bool] = False

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        """The update of one piece of the vector. `spare`: working memory as long as the piece."""
        raise NotImplementedError


class GradientDescent(OptimizerSpec):
    """theta -= rate g, g the gradient over all rows: one step an epoch, batch_size is not used. Cauchy 1847."""

    kind: Literal["gradient_descent"] = "gradient_descent"
    learning_rate: Rate = 0.1
    whole_batch: ClassVar[bool] = True

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        return _descend(theta, gradient, spare)


class Sgd(OptimizerSpec):
    """v = momentum v + g; theta -= rate v, or with Nesterov theta -= rate (g + momentum v). PyTorch's convention.

    Robbins and Monro 1951, Polyak 1964, Nesterov 1983 as Sutskever et al. 2013 write it.
    """

    kind: Literal["sgd"] = "sgd"
    learning_rate: Rate = 0.01
    momentum: Decay = Field(default=0.0, description="Share of the last step kept.")
    nesterov: bool = Field(default=False, description="Look ahead by one momentum step.")
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        if self.momentum == 0:
            return _descend(theta, gradient, spare)
        v, share, step = slots["velocity"], constant(self.momentum, theta), _descend(theta, slots["velocity"], spare)
        ahead, look = np.empty_like(theta) if self.nesterov else spare, self.nesterov
        step_ahead = _descend(theta, ahead, spare)

        def update(t: int, rate: float) -> None:
            np.multiply(v, share, v)
            np.add(v, gradient, v)
            if look:
                np.multiply(v, share, ahead)
                np.add(ahead, gradient, ahead)
                step_ahead(t, rate)
            else:
                step(t, rate)

        return update


class Adagrad(OptimizerSpec):
    """h += g^2; theta -= rate g / (sqrt(h) + epsilon). Duchi et al. 2011; epsilon outside the root as in PyTorch."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Rate = 0.01
    epsilon: float = Field(default=1e-10, gt=0, le=1, description="Keeps the division finite.")
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        h, rate0, epsilon = slots["squares"], constant(0, theta), constant(self.epsilon, theta)

        def update(t: int, rate: float) -> None:
            rate0[...] = rate
            np.multiply(gradient, gradient, spare)
            np.add(h, spare, h)
            np.sqrt(h, spare)
            np.add(spare, epsilon, spare)
            np.divide(gradient, spare, spare)
            np.multiply(spare, rate0, spare)
            np.subtract(theta, spare, theta)

        return update


class Rmsprop(OptimizerSpec):
    """h = rho h + (1 - rho) g^2; u = g / (sqrt(h) + epsilon); v = momentum v + u; theta -= rate v. Hinton 2012.

    `centered` takes h - m^2 in the root, m = rho m + (1 - rho) g (Graves 2013). PyTorch's rho is alpha.
    """

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Rate = 0.01
    rho: Decay = Field(default=0.99, description="Share of the old mean square kept.")
    epsilon: float = Field(default=1e-8, gt=0, le=1, description="Keeps the division finite.")
    momentum: Decay = Field(default=0.0, description="Share of the last step kept.")
    centered: bool = Field(default=False, description="Divide by the deviation instead of the root mean square.")
    slots: ClassVar[tuple[str, ...]] = ("squares", "mean", "velocity")

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        h, m, v = slots["squares"], slots["mean"], slots["velocity"]
        rho, rest, share, epsilon = (constant(x, theta) for x in (self.rho, 1 - self.rho, self.momentum, self.epsilon))
        centered, moving = self.centered, self.momentum > 0
        step, step_v = _descend(theta, spare, spare), _descend(theta, v, spare)

        def update(t: int, rate: float) -> None:
            _blend(h, gradient, gradient, rho, rest, spare)
            if centered:
                np.multiply(m, rho, m)
                np.multiply(gradient, rest, spare)
                np.add(m, spare, m)
                np.multiply(m, m, spare)
                np.subtract(h, spare, spare)
                np.sqrt(spare, spare)
            else:
                np.sqrt(h, spare)
            np.add(spare, epsilon, spare)
            np.divide(gradient, spare, spare)
            if moving:
                np.multiply(v, share, v)
                np.add(v, spare, v)
                step_v(t, rate)
            else:
                step(t, rate)

        return update


class Adam(OptimizerSpec):
    """theta -= rate mean / (sqrt(square) + epsilon), bias-corrected. Kingma and Ba 2014.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, mean = m / (1 - beta1^t), square = v / (1 - beta2^t).
    Kept in memory are m / (1 - beta1) and v / (1 - beta2), which saves two passes over the vector.
    """

    kind: Literal["adam"] = "adam"
    learning_rate: Rate = 0.001
    beta1: Decay = Field(default=0.9, description="Share of the old mean kept.")
    beta2: Decay = Field(default=0.999, description="Share of the old mean square kept.")
    epsilon: float = Field(default=1e-8, gt=0, le=1, description="Keeps the division finite.")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        return _adam(
            self.beta1, self.beta2, self.epsilon, 0.0, (theta, gradient, slots["mean"], slots["square"], spare)
        )


class Adamw(OptimizerSpec):
    """Adam, after theta *= 1 - rate weight_decay: the decay bypasses the means. Loshchilov and Hutter 2017."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Rate = 0.001
    weight_decay: Penalty = Field(default=0.01, description="Share of every parameter lost, times the rate, each step.")
    beta1: Decay = Field(default=0.9, description="Share of the old mean kept.")
    beta2: Decay = Field(default=0.999, description="Share of the old mean square kept.")
    epsilon: float = Field(default=1e-8, gt=0, le=1, description="Keeps the division finite.")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    decoupled: ClassVar[bool] = True

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        arrays = (theta, gradient, slots["mean"], slots["square"], spare)
        return _adam(self.beta1, self.beta2, self.epsilon, self.weight_decay, arrays)


def _adam(
    beta1: float, beta2: float, epsilon: float, decay: float, arrays: tuple[Array, Array, Array, Array, Array]
) -> Update:
    theta, g, m, v, s = arrays
    b1, b2, rate0, epsilon0, kept = (constant(x, theta) for x in (beta1, beta2, 0, 0, 1))
    multiply, add, subtract, sqrt, divide, root = np.multiply, np.add, np.subtract, np.sqrt, np.divide, math.sqrt

    def update(t: int, rate: float) -> None:
        k = root((1 - beta2) / (1 - beta2**t))
        rate0[...] = rate * (1 - beta1) / ((1 - beta1**t) * k)
        epsilon0[...] = epsilon / k
        if decay:
            kept[...] = 1 - rate * decay
            multiply(theta, kept, theta)
        multiply(m, b1, m)
        add(m, g, m)
        multiply(g, g, s)
        multiply(v, b2, v)
        add(v, s, v)
        sqrt(v, s)
        add(s, epsilon0, s)
        divide(m, s, s)
        multiply(s, rate0, s)
        subtract(theta, s, theta)

    return update


def _descend(theta: Array, direction: Array, spare: Array) -> Update:
    rate0, multiply, subtract = constant(0, theta), np.multiply, np.subtract

    def update(t: int, rate: float) -> None:
        rate0[...] = rate
        multiply(direction, rate0, spare)
        subtract(theta, spare, theta)

    return update


def _blend(mean: Array, a: Array, b: Array, old: Array, new: Array, spare: Array) -> None:
    """mean = old mean + new a b."""
    np.multiply(a, b, spare)
    np.multiply(spare, new, spare)
    np.multiply(mean, old, mean)
    np.add(mean, spare, mean)


def constant(value: float, like: Array) -> Array:
    """A 0-d array: a Python number costs a conversion in every call."""
    return np.array(value, like.dtype)


Optimizer = Annotated[GradientDescent | Sgd | Adagrad | Rmsprop | Adam | Adamw, Field(discriminator="kind")]
