"""Activations that work number by number, formula and derivative side by side; a layer, or a field of one."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import BeforeValidator, Field

from service.engine.contract import Array, Initial, Site, Step
from service.engine.fast import clip
from service.engine.layers.elementwise import Activation, constant, logistic, spare
from service.engine.layers.gelu import Gelu
from service.engine.layers.softmax import LogSoftmax, Softmax
from service.engine.layers.swiglu import Swiglu
from service.engine.loops import bound, flat

FEW = 4096  # numbers


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2; dy/dx = y (1 - y).

    x, y: (batch, ...). Rumelhart et al. 1986.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    overwrites: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        half, t = constant(0.5, site), spare(site)
        multiply, add, subtract, tanh = np.multiply, np.add, np.subtract, np.tanh

        def forward() -> None:
            multiply(x, half, y)
            tanh(y, y)
            multiply(y, half, y)
            add(y, half, y)

        def backward() -> None:
            multiply(y, y, t)
            subtract(y, t, t)
            multiply(dy, t, dx)

        return forward, backward


class Tanh(Activation):
    """y = tanh(x); dy/dx = 1 - y^2. x, y: (batch, ...). LeCun et al. 1998."""

    kind: Literal["tanh"] = "tanh"
    overwrites: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        one, t = constant(1, site), spare(site)
        multiply, subtract, tanh = np.multiply, np.subtract, np.tanh

        def forward() -> None:
            tanh(x, y)

        def backward() -> None:
            multiply(y, y, t)
            subtract(one, t, t)
            multiply(dy, t, dx)

        return forward, backward


class Relu(Activation):
    """y = max(x, 0); dy/dx = 1 where y > 0, else 0. x, y: (batch, ...). Nair and Hinton 2010."""

    kind: Literal["relu"] = "relu"
    overwrites: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True
    gain: ClassVar[Initial] = "he"

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        zero, infinity = constant(0, site), constant(np.inf, site)
        forward = partial(clip, x, zero, infinity, y)
        vectors = flat(y, dy, dx) if site.backward else None
        if vectors is not None and (gate := bound("gate", vectors, zero.reshape(1))) is not None:
            return forward, gate
        if x.size <= FEW:
            return forward, _gate_few(y, dy, dx, spare(site))
        on, greater, multiply = spare(site, np.bool_), np.greater, np.multiply

        def backward() -> None:
            greater(y, zero, on)
            multiply(dy, on, dx)

        return forward, backward


def _gate_few(y: Array, dy: Array, dx: Array | None, t: Array) -> Step:
    """dx = dy where y > 0: with few numbers the sign is quicker than a comparison, whose truths must be converted."""
    sign, multiply = np.sign, np.multiply

    def backward() -> None:
        sign(y, t)
        multiply(dy, t, dx)

    return backward


class LeakyRelu(Activation):
    """y = x where x > 0, else slope * x; dy/dx = 1 or slope. x, y: (batch, ...). Maas et al. 2013."""

    kind: Literal["leaky_relu"] = "leaky_relu"
    slope: float = Field(default=0.01, ge=0, lt=1, description="Slope on the negative side.")
    gain: ClassVar[Initial] = "he"

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        slope, rest, zero = constant(self.slope, site), constant(1 - self.slope, site), constant(0, site)
        on, t = spare(site, np.bool_), spare(site)
        greater, multiply, maximum, add = np.greater, np.multiply, np.maximum, np.add

        def forward() -> None:
            multiply(x, slope, y)
            maximum(x, y, out=y)

        def backward() -> None:
            greater(x, zero, on)
            multiply(rest, on, t)
            add(t, slope, t)
            multiply(dy, t, dx)

        return forward, backward


class Elu(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1); dy/dx = 1 or alpha exp(x). x, y: (batch, ...).

    Clevert et al. 2015.
    """

    kind: Literal["elu"] = "elu"
    alpha: float = Field(default=1.0, gt=0, le=100, description="The limit on the negative side is -alpha.")
    gain: ClassVar[Initial] = "he"

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        alpha, zero = constant(self.alpha, site), constant(0, site)
        low, high, off, t = constant(-np.inf, site), constant(np.inf, site), spare(site, np.bool_), spare(site)

        def forward() -> None:
            clip(x, low, zero, t)
            np.expm1(t, t)
            np.multiply(t, alpha, t)
            clip(x, zero, high, y)
            np.add(y, t, y)

        def backward() -> None:
            clip(x, low, zero, t)
            np.exp(t, t)
            np.multiply(t, alpha, t)
            np.less_equal(x, zero, off)
            np.multiply(t, off, t)
            np.logical_not(off, off)
            np.add(t, off, t)
            np.multiply(dy, t, dx)

        return forward, backward


class Silu(Activation):
    """y = x sigmoid(x); dy/dx = s + y (1 - s) with s = sigmoid(x). x, y: (batch, ...). Elfwing et al. 2018."""

    kind: Literal["silu"] = "silu"
    gain: ClassVar[Initial] = "he"

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        half, one, s, t = constant(0.5, site), constant(1, site), spare(site, name="s"), spare(site)

        def forward() -> None:
            logistic(x, s, half)
            np.multiply(x, s, y)

        def backward() -> None:
            np.subtract(one, s, t)
            np.multiply(t, y, t)
            np.add(t, s, t)
            np.multiply(dy, t, dx)

        return forward, backward

    reads_output: ClassVar[bool] = True


class Softplus(Activation):
    """y = log(1 + exp(x)), computed as max(x, 0) + log1p(exp(-|x|)); dy/dx = sigmoid(x).

    x, y: (batch, ...). Dugas et al. 2000.
    """

    kind: Literal["softplus"] = "softplus"

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx, t = site.x, site.y, site.dy, site.dx, spare(site)
        zero, infinity, half = constant(0, site), constant(np.inf, site), constant(0.5, site)

        def forward() -> None:
            np.absolute(x, t)
            np.negative(t, t)
            np.exp(t, t)
            np.log1p(t, t)
            clip(x, zero, infinity, y)
            np.add(y, t, y)

        def backward() -> None:
            logistic(x, t, half)
            np.multiply(dy, t, dx)

        return forward, backward


AnyActivation = Annotated[
    Sigmoid | Tanh | Relu | LeakyRelu | Gelu | Silu | Elu | Softplus | Softmax | LogSoftmax | Swiglu,
    Field(discriminator="kind"),
]
Name = Literal[
    "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "elu", "softplus", "softmax", "log_softmax", "swiglu"
]

ACTIVATIONS: tuple[str, ...] = get_args(Name)


def _spelled_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


ActivationField = Annotated[AnyActivation, BeforeValidator(_spelled_out, json_schema_input_type=Name | AnyActivation)]
"""An activation by its name, or as an object with its settings."""
