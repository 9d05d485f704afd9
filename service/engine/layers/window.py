"""How a window moves over the space of an input: sizes, padding, and the words a spec uses for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from service.engine.contract import Shape, Unfit

Extent = Annotated[int, Field(ge=1, le=100_000)]
AXES = {1: "(time, channels)", 2: "(height, width, channels)", 3: "(depth, height, width, channels)"}


def _repeated(rank: int) -> BeforeValidator:
    """One number stands for all axes."""

    def spread(value: Any) -> Any:
        return (value,) * rank if type(value) is int else value

    return BeforeValidator(spread, json_schema_input_type=int | list[int])


Extents1: TypeAlias = Annotated[tuple[Extent], Field(strict=False), _repeated(1)]
Extents2: TypeAlias = Annotated[tuple[Extent, Extent], Field(strict=False), _repeated(2)]
Extents3: TypeAlias = Annotated[tuple[Extent, Extent, Extent], Field(strict=False), _repeated(3)]


def _form(value: Any) -> str:
    """Which of the forms of a padding this is meant to be, so that a wrong one is one fault."""
    return "number" if type(value) is int else "numbers" if isinstance(value, list | tuple) else "word"


Zeros = Annotated[int, Field(ge=0, le=100_000)]
Padding = Annotated[
    Annotated[Literal["valid", "same"], Tag("word")]
    | Annotated[Zeros, Tag("number")]
    | Annotated[tuple[Zeros, ...], Field(strict=False, min_length=1, max_length=3), Tag("numbers")],
    Discriminator(_form),
]
AROUND = "valid: none; same: zeros around, size / strides; a number: so many zeros on either side, one for each axis."


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel's way over the space of one row; every field has one number per axis.

    `before`: zeros put in front; what is missing behind follows. `out`: number of positions.
    same: out = ceil(size / stride), the odd zero behind (as TensorFlow does, and PyTorch where stride is 1).
    A number p: out = floor((size + 2 p - reach) / stride) + 1, reach = (kernel - 1) dilation + 1, as in PyTorch.
    valid: p = 0.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]

    def needed(self, positions: Sequence[int]) -> tuple[int, ...]:
        """How far the padded input is read by the first `positions` of each axis."""
        each = zip(positions, self.strides, self.kernel, self.dilation, strict=True)
        return tuple((n - 1) * stride + (k - 1) * d + 1 for n, stride, k, d in each)

    def inside(self, needed: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """The part of the padded input, up to `needed`, that is input and not padding: (from, to) for each axis."""
        each = zip(self.before, self.size, needed, strict=True)
        return tuple((before, min(before + size, need)) for before, size, need in each)


def window(
    shape: Shape,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: Padding,
    field: str,
) -> Window:
    """The window on this input. Raises Unfit, naming `field`, when it is larger than the input."""
    size = space(shape, len(kernel))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if padding == "same":
        out = tuple(-(-n // stride) for n, stride in zip(size, strides, strict=True))
        each = zip(out, strides, reach, size, strict=True)
        before = tuple(max((o - 1) * stride + r - n, 0) // 2 for o, stride, r, n in each)
        return Window(size, kernel, strides, dilation, before, out)
    before = _zeros(padding, reach)
    padded = tuple(n + 2 * p for n, p in zip(size, before, strict=True))
    if any(r > n for r, n in zip(reach, padded, strict=True)):
        spread = f" with dilation {by(dilation)} covers {by(reach)}," if max(dilation) > 1 else ""
        message = f"{field} {by(kernel)}{spread} is larger than the input {by(size)}"
        raise Unfit(message, f"/{field}", hint='make it smaller, or use padding "same"')
    out = tuple((n - r) // stride + 1 for n, r, stride in zip(padded, reach, strides, strict=True))
    return Window(size, kernel, strides, dilation, before, out)


def _zeros(padding: Padding, reach: tuple[int, ...]) -> tuple[int, ...]:
    """Zeros before each axis of space. Raises Unfit where a window would see nothing else."""
    if isinstance(padding, tuple) and len(padding) != len(reach):
        raise Unfit(f"{len(padding)} paddings for {len(reach)} axes of space", "/padding", hint="give one for each")
    each = 0 if isinstance(padding, str) else padding
    before = each if isinstance(each, tuple) else (each,) * len(reach)
    if any(p >= r for p, r in zip(before, reach, strict=True)):
        raise Unfit(
            f"padding {by(before)} lets a window of {by(reach)} see zeros only", "/padding", hint="make it smaller"
        )
    return before


def space(shape: Shape, rank: int) -> tuple[int, ...]:
    """The axes of a row before its channels. Raises Unfit when there are not `rank` of them."""
    if len(shape.dims) == rank + 1:
        return shape.dims[:-1]
    hint = "use dense" if len(shape.dims) < 2 else None
    if len(shape.dims) == rank:
        hint = f"put a reshape to {[*shape.dims, 1]} before it"
    elif len(shape.dims) > rank + 1:
        hint = f"use the {len(shape.dims) - 1}d kind, or a reshape before it"
    raise Unfit(f"takes rows of {AXES[rank]}, but its input is {by(shape.dims)}", hint=hint)


def by(extents: Sequence[int]) -> str:
    """(3, 3) as a reader says it: 3 x 3."""
    return " x ".join(map(str, extents))


def space_first(rank: int) -> tuple[int, ...]:
    """The order of axes (space, batch, channels), in which neighbours of a window lie furthest apart."""
    return (*range(1, rank + 1), 0, rank + 1)
