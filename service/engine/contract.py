"""The engine's words: what a spec is, what a shape is, and what every layer must be able to say and do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from service.engine.arena import Arena, Bits

Array: TypeAlias = NDArray[Any]
Step: TypeAlias = Callable[[], object]
"""One bound piece of work: no arguments, reads and writes arrays fixed when it was bound."""

Initial = Literal["glorot", "he", "orthogonal", "zeros"]
Target = Literal["class", "binary", "number", "distribution"]
Units = Annotated[int, Field(ge=1, le=2**31)]


class Spec(BaseModel):
    """Base of everything JSON may say: frozen, strict, nothing unknown, no NaN; `kind` must be given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        if "kind" in schema.get("properties", {}):
            schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]
        return reference


@dataclass(frozen=True, slots=True)
class Signature:
    """What one row of input is: `x = raw * scale + offset`, done batch by batch.

    `shape`: one row's shape, channels last. `vocabulary`: the rows are whole numbers below it.
    `timed`: the first axis is time and rows may be shorter (`Examples.lengths`).
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8", "int32"] = "float32"
    scale: float = 1.0
    offset: float = 0.0
    vocabulary: int | None = None
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """One row's shape between two layers, without the batch axis; channels are last."""

    dims: tuple[int, ...]
    vocabulary: int | None = None
    timed: bool = False

    @property
    def size(self) -> int:
        product = 1
        for n in self.dims:
            product *= n
        return product


@dataclass(frozen=True, slots=True)
class Parameter:
    """One array of a layer, in our layout, and how PyTorch names and lays it out.

    `name`: PyTorch's, without the layer's number. `fans`: (in, out) for the start values, None: constant `value`,
    or one for each of so many equal parts.
    `axes`, `exported`: `ours.transpose(axes).reshape(exported)` is PyTorch's array.
    `trained` False: kept with the model but not moved by gradients (running statistics).
    """

    name: str
    shape: tuple[int, ...]
    fans: tuple[int, int] | None = None
    initial: Initial | None = None
    value: float | tuple[float, ...] = 0.0
    axes: tuple[int, ...] | None = None
    exported: tuple[int, ...] | None = None
    dtype: str | None = None
    trained: bool = True

    @property
    def size(self) -> int:
        return Shape(self.shape).size


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What a layer makes of a shape. `flops` and `workspace` (numbers, not bytes) are per row, forward only."""

    shape: Shape
    parameters: tuple[Parameter, ...] = ()
    flops: int = 0
    workspace: int = 0
    warnings: tuple[str, ...] = ()


class Unfit(Exception):  # noqa: N818  a finding, collected with others
    """A layer cannot take this shape; `place` is a pointer inside the layer, such as `/units` or ``.

    `assume`: a shape to go on with, so that faults further on are found in the same answer. `code`: the fault's.
    """

    def __init__(
        self, message: str, place: str = "", hint: str | None = None, assume: Shape | None = None, code: str = "unfit"
    ) -> None:
        super().__init__(message)
        self.message, self.place, self.hint, self.assume, self.code = message, place, hint, assume, code


Layout: TypeAlias = Literal["rows", "ones"] | tuple[int, ...]
"""How an input should lie in memory: row by row; an order of the axes, (1, 0) for features first; or "ones", features
first with one more feature that is always 1."""


@dataclass(slots=True)
class Site:
    """Where a layer is bound: fixed arrays of one program. Nothing here is ever reallocated.

    `x, y`: (rows, *dims) input and output; `dx, dy`: the loss's gradients in them, both free to be overwritten
    by backward; `dx` is None when nobody needs it. `ones`: (n + 1, rows) the memory of x and a last row of ones, if
    that was the layout.
    `theta, gradient, state`: this layer's arrays by name (ours, not exported). Backward overwrites gradients.
    `lengths`: (rows,) whole numbers, the valid steps of each row, or None when all are full.
    `stateful`: the rows go on where those of the step before ended: begin from `carry` and leave the last state there.
    `frozen`: theta and state will never change: what follows from them alone is worked out when binding.
    """

    rows: int
    shape: Shape
    plan: LayerPlan
    x: Array
    y: Array
    dx: Array | None
    dy: Array
    ones: Array | None
    theta: dict[str, Array]
    gradient: dict[str, Array]
    state: dict[str, Array]
    lengths: Array | None
    training: bool
    stateful: bool
    backward: bool
    path: str
    arena: Arena
    bits: Bits
    frozen: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.y.dtype

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """Working memory, zero at first; the same array whenever this layer asks again for the same rows."""
        return self.arena.array(f"{self.path}.{name}", (self.rows, *shape), dtype or self.dtype, rows=self.rows)

    def alike(self, name: str, dtype: Any = None) -> Array:
        """Working memory shaped like x and in its order of memory, so that both are walked through side by side."""
        order = memory_order(self.x)
        shape = tuple(self.x.shape[axis] for axis in order)
        memory = self.arena.array(f"{self.path}.{name}", shape, dtype or self.dtype, rows=self.rows)
        return memory.transpose(np.argsort(order))

    def loose(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """The same for an array that does not begin with the batch axis."""
        return self.arena.array(f"{self.path}.{name}", shape, dtype or self.dtype, rows=self.rows)

    def carry(self, name: str, shape: tuple[int, ...]) -> Array:
        """(rows, *shape) kept from step to step, zero when a stream begins, saved with the training state."""
        return self.arena.carried(f"{self.path}.{name}", (self.rows, *shape), self.dtype)

    def random(self, name: str, dtype: Any = np.uint8, shape: tuple[int, ...] | None = None) -> Array:
        """Unsigned random numbers, fresh for every step, by (seed, epoch, step, shard).

        Shaped and laid like x, or (rows, *shape).
        """
        if shape is not None:
            return self.bits.array(f"{self.path}.{name}", (self.rows, *shape), dtype)
        order = memory_order(self.x)
        memory = self.bits.array(f"{self.path}.{name}", tuple(self.x.shape[axis] for axis in order), dtype)
        return memory.transpose(np.argsort(order))


def features_first(array: Array) -> bool:
    """Whether a (rows, n) array lies in memory feature by feature."""
    return array.ndim == 2 and array.strides[0] < array.strides[1]


def memory_order(array: Array) -> tuple[int, ...]:
    """The axes from the slowest to the fastest in memory."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))


class LayerSpec(Spec):
    """Contract of a layer: a frozen description that can plan, and bind itself to arrays.

    alias           y is x reshaped; there is nothing to bind
    overwrites      y may be x's memory (the derivative is known from y)
    elementwise     dx may be dy's memory
    reads_output    backward reads y, so the next layer must not overwrite it
    writes_rows     y must lie row by row where it has more axes than one
    takes_indices   x may be ids of a vocabulary (whole numbers) instead of numbers
    couples_rows    a row's output depends on the others of its batch (batch norm): never sharded by default
    """

    alias: ClassVar[bool] = False
    overwrites: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    reads_output: ClassVar[bool] = False
    writes_rows: ClassVar[bool] = False
    takes_indices: ClassVar[bool] = False
    couples_rows: ClassVar[bool] = False
    gain: ClassVar[Initial] = "glorot"

    def plan(self, shape: Shape) -> LayerPlan:
        """Output shape, parameters and costs for one row. Raises Unfit."""
        raise NotImplementedError

    def bind(self, site: Site) -> tuple[Step | None, Step | None]:
        """(forward, backward) over the site's arrays; None where there is nothing to do."""
        raise NotImplementedError

    def parts(self) -> tuple[LayerSpec, ...]:
        """The layers this one stands for, itself first: `dense` with an activation is two."""
        return (self,)

    def fuse(self, following: LayerSpec, shape: Shape) -> LayerSpec | None:
        """One layer that does the work of this one, on this shape, and the next, faster; None when there is none.

        It gets the arrays of both: its own as before, those of a layer i further on as `i+weight`.
        """
        return None

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        """Numbers of working memory beside x and y when bound for so many rows."""
        return rows * plan.workspace

    def layout(self, shape: Shape, rows: int) -> Layout:
        """How this layer would like its input to lie in memory."""
        return "rows"
