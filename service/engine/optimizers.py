"""Optimizers: how the gradient moves the parameters, all of them as one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Spec, Step
from service.engine.loops import bound, constants
from service.engine.schedules import Constant, Schedule

Update: TypeAlias = Callable[[int, float], None]
"""(t, rate): the t-th step from 1 with this learning rate; moves the parameters in place."""

CHUNK = 65_536  # numbers worked on at a time, so that five arrays stay in the second-level cache
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
        v, (k, share, rate0) = slots["velocity"], constants(self.momentum, 0, like=theta)
        loop = None if self.nesterov else bound("momentum", (theta, gradient, v), k)
        ahead = np.empty_like(theta) if self.nesterov else v

        def passes() -> None:
            np.multiply(v, share, v)
            np.add(v, gradient, v)
            if ahead is not v:
                np.multiply(v, share, ahead)
                np.add(ahead, gradient, ahead)
            np.multiply(ahead, rate0, spare)
            np.subtract(theta, spare, theta)

        return _paced(rate0, loop or passes)


class Adagrad(OptimizerSpec):
    """h += g^2; theta -= rate g / (sqrt(h) + epsilon). Duchi et al. 2011; epsilon outside the root as in PyTorch."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Rate = 0.01
    epsilon: float = Field(default=1e-10, gt=0, le=1, description="Keeps the division finite.")
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def bind(self, theta: Array, gradient: Array, slots: Mapping[str, Array], spare: Array) -> Update:
        h, (k, epsilon, rate0) = slots["squares"], constants(self.epsilon, 0, like=theta)

        def passes() -> None:
            np.multiply(gradient, gradient, spare)
            np.add(h, spare, h)
            np.sqrt(h, spare)
            np.add(spare, epsilon, spare)
            np.divide(gradient, spare, spare)
            np.multiply(spare, rate0, spare)
            np.subtract(theta, spare, theta)

        return _paced(rate0, bound("adagrad", (theta, gradient, h), k) or passes)


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
        k, rho, rest, epsilon, rate0 = constants(self.rho, 1 - self.rho, self.epsilon, 0, like=theta)
        share, centered, moving = constant(self.momentum, theta), self.centered, self.momentum > 0
        loop = None if centered or moving else bound("rmsprop", (theta, gradient, h), k)

        def passes() -> None:
            np.multiply(gradient, gradient, spare)
            np.multiply(spare, rest, spare)
            np.multiply(h, rho, h)
            np.add(h, spare, h)
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
            np.multiply(v if moving else spare, rate0, spare)
            np.subtract(theta, spare, theta)

        return _paced(rate0, loop or passes)


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
    k, b1, b2, epsilon0, rate0, kept = constants(beta1, beta2, 0, 0, 1, like=theta)
    multiply, add, subtract, sqrt, divide, root = np.multiply, np.add, np.subtract, np.sqrt, np.divide, math.sqrt

    def passes() -> None:
        if decay:
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

    move = bound("adam", (theta, g, m, v), k) or passes

    def update(t: int, rate: float) -> None:
        scale = root((1 - beta2) / (1 - beta2**t))
        k[2] = epsilon / scale
        k[3] = rate * (1 - beta1) / ((1 - beta1**t) * scale)
        if decay:
            k[4] = 1 - rate * decay
        move()

    return update


def _descend(theta: Array, direction: Array, spare: Array) -> Update:
    k, rate0 = constants(0, like=theta)

    def passes() -> None:
        np.multiply(direction, rate0, spare)
        np.subtract(theta, spare, theta)

    return _paced(rate0, bound("descend", (theta, direction), k) or passes)


def _paced(rate0: Array, move: Step) -> Update:
    """`move` with the step's learning rate in `rate0`."""

    def update(t: int, rate: float) -> None:
        rate0[...] = rate
        move()

    return update


def constant(value: float, like: Array) -> Array:
    """A 0-d array: a Python number costs a conversion in every call."""
    return np.array(value, like.dtype)


Optimizer = Annotated[GradientDescent | Sgd | Adagrad | Rmsprop | Adam | Adamw, Field(discriminator="kind")]
