"""SwiGLU: one half of the input gates the other."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from service.engine.contract import Initial, LayerPlan, LayerSpec, Shape, Site, Step, Unfit


class Swiglu(LayerSpec):
    """y = silu(a) * b, where (a, b) are the two halves of the last axis: the gate comes first.

    x: (batch, ..., 2 n), y: (batch, ..., n). dy/da = b (s + silu(a) (1 - s)) with s = sigmoid(a), dy/db = silu(a).
    Shazeer 2020; gate first as in Llama and ONNX (PyTorch's F.glu has it last).
    """

    kind: Literal["swiglu"] = "swiglu"
    gain: ClassVar[Initial] = "glorot"

    def plan(self, shape: Shape) -> LayerPlan:
        if not shape.dims or shape.dims[-1] % 2:
            last = shape.dims[-1] if shape.dims else 0
            raise Unfit(f"halves its input, but the last axis has {last} numbers, which is odd", hint="make it even")
        out = Shape((*shape.dims[:-1], shape.dims[-1] // 2), timed=shape.timed)
        return LayerPlan(out, flops=10 * out.size, workspace=3 * out.size)

    def bind(self, site: Site) -> tuple[Step, Step]:
        n = site.plan.shape.dims[-1]
        a, b, y, dy = site.x[..., :n], site.x[..., n:], site.y, site.dy
        s, g, t = (site.scratch(name, site.plan.shape.dims) for name in ("s", "g", "t"))
        half, one = np.array(0.5, site.dtype), np.array(1, site.dtype)

        def forward() -> None:
            np.multiply(a, half, s)
            np.tanh(s, s)
            np.multiply(s, half, s)
            np.add(s, half, s)
            np.multiply(a, s, g)
            np.multiply(g, b, y)

        if site.dx is None:
            return forward, forward
        da, db = site.dx[..., :n], site.dx[..., n:]

        def backward() -> None:
            np.multiply(dy, g, db)
            np.subtract(one, s, t)
            np.multiply(t, g, t)
            np.add(t, s, t)
            np.multiply(t, b, t)
            np.multiply(dy, t, da)

        return forward, backward
