"""Flatten and reshape: the same numbers under another shape."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.engine.contract import LayerPlan, LayerSpec, Shape, Unfit, Units


class Flatten(LayerSpec):
    """y = all numbers of a row side by side, channels fastest. x: (batch, ...), y: (batch, product of the rest).

    PyTorch's Flatten has the channels slowest.
    """

    kind: Literal["flatten"] = "flatten"
    alias: ClassVar[bool] = True
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        warnings = ("the padding of shorter rows becomes part of the input",) if shape.timed else ()
        return LayerPlan(Shape((shape.size,), shape.vocabulary), warnings=warnings)


class Reshape(LayerSpec):
    """y = the numbers of a row in another shape; one axis may be -1 and is worked out.

    x: (batch, ...), y: (batch, *shape), in NumPy's C order.
    """

    kind: Literal["reshape"] = "reshape"
    shape: Annotated[tuple[Units | Literal[-1], ...], Field(strict=False, min_length=1, max_length=8)] = Field(
        description="The new shape of one row, without the batch axis."
    )
    alias: ClassVar[bool] = True
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        known = Shape(tuple(n for n in self.shape if n != -1)).size
        free = self.shape.count(-1)
        if free > 1:
            raise Unfit("may leave only one axis open", "/shape", hint="use -1 once")
        if shape.size % known if free else shape.size != known:
            given = " x ".join(map(str, shape.dims))
            raise Unfit(f"cannot make {list(self.shape)} of {given} = {shape.size} numbers", "/shape")
        dims = tuple(shape.size // known if n == -1 else n for n in self.shape)
        return LayerPlan(Shape(dims, shape.vocabulary))
