"""GELU: the input times the chance that a normal number is smaller."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Initial, Site, Step
from service.engine.layers.elementwise import Activation, constant, spare
from service.engine.layers.erf import Erf


class Gelu(Activation):
    """y = x Phi(x); dy/dx = Phi(x) + x phi(x), Phi the normal distribution. Hendrycks and Gimpel 2016.

    x, y: (batch, ...).

    approximate "none": Phi(x) = (1 + erf(x / sqrt 2)) / 2, our erf within 1e-7 (float32) or 1e-15 (float64).
    approximate "tanh": Phi(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, differs by up to 4.7e-4.
    """

    kind: Literal["gelu"] = "gelu"
    approximate: Literal["none", "tanh"] = Field(default="none", description="Exact, or the faster formula by tanh.")
    gain: ClassVar[Initial] = "he"

    def bind(self, site: Site) -> tuple[Step, Step]:
        return _gelu_tanh(site) if self.approximate == "tanh" else _gelu_exact(site)


def _gelu_exact(site: Site) -> tuple[Step, Step]:
    x, y, dy, dx = site.x, site.y, site.dy, site.dx
    phi, t, half = spare(site, name="phi"), spare(site), constant(0.5, site)
    root, density = constant(np.sqrt(0.5), site), constant(1 / np.sqrt(2 * np.pi), site)
    minus_half, erf = constant(-0.5, site), Erf(site.dtype, site.arena)

    def forward() -> None:
        np.multiply(x, root, t)
        erf(t, phi)
        np.multiply(phi, half, phi)
        np.add(phi, half, phi)
        np.multiply(x, phi, y)

    def backward() -> None:
        np.multiply(x, x, t)
        np.multiply(t, minus_half, t)
        np.exp(t, t)
        np.multiply(t, density, t)
        np.multiply(t, x, t)
        np.add(t, phi, t)
        np.multiply(dy, t, dx)

    return forward, backward


def _gelu_tanh(site: Site) -> tuple[Step, Step]:
    x, y, dy, dx = site.x, site.y, site.dy, site.dx
    h, t, u = spare(site, name="h"), spare(site), spare(site, name="u")
    c, cubic, three_cubic = np.sqrt(2 / np.pi), 0.044715, 3 * 0.044715
    root, a, a3 = constant(c, site), constant(c * cubic, site), constant(c * three_cubic, site)
    half, one = constant(0.5, site), constant(1, site)

    def forward() -> None:  # h = (1 + tanh(c x + a x^3)) / 2
        np.multiply(x, x, h)
        np.multiply(h, a, h)
        np.add(h, root, h)
        np.multiply(h, x, h)
        np.tanh(h, h)
        np.multiply(h, half, h)
        np.add(h, half, h)
        np.multiply(x, h, y)

    def backward() -> None:  # h + 2 x h (1 - h) (c + 3 a x^2)
        np.multiply(x, x, t)
        np.multiply(t, a3, t)
        np.add(t, root, t)
        np.subtract(one, h, u)
        np.multiply(u, t, t)
        np.multiply(t, y, t)
        np.add(t, t, t)
        np.add(t, h, t)
        np.multiply(dy, t, dx)

    return forward, backward
