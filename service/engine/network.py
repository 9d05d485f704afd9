"""A network: the layers as JSON says them, their parameters laid out in one vector, and PyTorch's names for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from service.engine.arena import aligned
from service.engine.contract import Array, LayerSpec, Parameter, Shape, Signature, Spec
from service.engine.initial import draw
from service.engine.layers import Layer
from service.engine.randomness import generator
from service.engine.row import RowPlan, fuse, plan_row
from service.errors import Fault, InvalidSpec

LINE = 16  # a layer's parameters begin on a cache line: a multiple of so many numbers


class NetworkSpec(Spec):
    """A row of layers, each taking what the one before gives."""

    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1, max_length=1000)] = Field(
        description="The layers in order. Their numbers in messages and weight names count from 0."
    )
    initial_weights: str | None = Field(
        default=None, max_length=300, description="A model reference or an uploaded file to start from."
    )

    @property
    def end(self) -> str:
        """The kind of what comes last: a layer, or its activation."""
        return kind_of(self.layers[-1].parts()[-1])


@dataclass(frozen=True, slots=True)
class Placed:
    """A parameter and where it lies in its vector."""

    parameter: Parameter
    start: int

    def view(self, vector: Array) -> Array:
        return vector[self.start : self.start + self.parameter.size].reshape(self.parameter.shape)


class Vector:
    """Many arrays in one: by name, in order, each layer from a cache line on."""

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        self.places: list[Placed] = []
        start, layer = 0, None
        for each in parameters:
            index = each.name.split(".", 1)[0]
            if index != layer:
                start, layer = -(-start // LINE) * LINE, index
            self.places.append(Placed(each, start))
            start += each.size
        self.size = -(-start // LINE) * LINE

    def views(self, vector: Array) -> dict[str, Array]:
        return {each.parameter.name: each.view(vector) for each in self.places}

    def empty(self, dtype: Any) -> Array:
        return aligned((self.size,), np.dtype(dtype))


class Compiled:
    """A planned network with its two vectors: what gradients move, and what is only kept."""

    def __init__(
        self, spec: NetworkSpec | tuple[LayerSpec, ...], signature: Signature, dtype: str = "float32"
    ) -> None:  # fmt: skip
        layers: tuple[LayerSpec, ...] = spec.layers if isinstance(spec, NetworkSpec) else spec
        self.dtype = np.dtype(dtype)
        self.plan: RowPlan = plan_row(layers, shape_of(signature))
        parameters = self.plan.parameters
        self.trained = Vector(tuple(each for each in parameters if each.trained))
        self.kept = Vector(tuple(each for each in parameters if not each.trained))

    def row(self, without: tuple[str, ...] = ()) -> RowPlan:
        """The row to bind, without its final activation when that is among `without` (the loss computes it)."""
        parts = self.plan.parts
        if len(parts) > 1 and kind_of(parts[-1].layer) in without:
            parts = parts[:-1]
        return fuse(RowPlan(parts, self.plan.shape, parts[-1].plan.shape))

    def upto(self, index: int) -> RowPlan:
        """The row to bind that ends behind layer `index`."""
        parts = tuple(each for each in self.plan.parts if each.index <= index)
        return fuse(RowPlan(parts, self.plan.shape, parts[-1].plan.shape))

    def begin(self, seed: int) -> tuple[Array, Array]:
        """(theta, state) at the start: drawn by (seed, name), so that a layer's start does not hang on the others."""
        theta, state = self.trained.empty(self.dtype), self.kept.empty(self.dtype)
        for vector, places in ((theta, self.trained.places), (state, self.kept.places)):
            for place in places:
                each, view = place.parameter, place.view(vector)
                if each.fans is None:
                    view.reshape(np.size(each.value), -1)[...] = np.reshape(each.value, (-1, 1))
                else:
                    view[...] = draw(
                        each.initial or "glorot", each.shape, each.fans, generator(seed, "initial", each.name)
                    )
        return theta, state

    def export(self, theta: Array, state: Array) -> dict[str, Array]:
        """Every array by PyTorch's name, in PyTorch's layout."""
        found = {}
        for vector, places in ((theta, self.trained.places), (state, self.kept.places)):
            for place in places:
                each = place.parameter
                ours = place.view(vector).transpose(each.axes) if each.axes else place.view(vector)
                theirs = ours.reshape(torch_shape(each)).astype(each.dtype or ours.dtype)
                found[each.name] = np.ascontiguousarray(theirs).reshape(theirs.shape)
        return found

    def misfits(self, weights: Mapping[str, Array]) -> list[Fault]:
        """What of these arrays is missing, of another shape, or unknown; at most 20 faults."""
        parameters = [place.parameter for place in (*self.trained.places, *self.kept.places)]
        faults = [fault for each in parameters if (fault := _misfit(each, weights)) is not None]
        known = {each.name for each in parameters}
        faults += [_weight_fault(name, "is not in the network") for name in weights if name not in known]
        return faults[:20]

    def load(
        self, weights: Mapping[str, Array], theta: Array, state: Array, without: Collection[str] = ()
    ) -> None:  # fmt: skip
        """Fills the vectors from arrays in PyTorch's names and layouts. Raises InvalidSpec with every misfit.

        Those `without` are checked, but left as they are.
        """
        faults = self.misfits(weights)
        if faults:
            raise InvalidSpec("the weights do not fit the network", faults=faults)
        places = [(theta, place) for place in self.trained.places] + [(state, place) for place in self.kept.places]
        for vector, place in places:
            each, view = place.parameter, place.view(vector)
            if each.name in without:
                continue
            axes = each.axes or tuple(range(len(each.shape)))
            moved = tuple(each.shape[axis] for axis in axes)
            view[...] = weights[each.name].reshape(moved).transpose(np.argsort(axes))


def weight_faults(spec: NetworkSpec, signature: Signature, weights: Mapping[str, Array]) -> list[Fault]:
    """Why these arrays, by PyTorch's names and in its layouts, cannot be the network's; their shapes alone are read."""
    return Compiled(spec, signature).misfits(weights)


def weights_of(
    spec: NetworkSpec, signature: Signature, state: Mapping[str, Array], dtype: str = "float32"
) -> dict[str, Array]:
    """The weights as they stood in a training's state, by PyTorch's names and in its layouts."""
    return Compiled(spec, signature, dtype).export(state["theta"], state["kept"])


def torch_shape(parameter: Parameter) -> tuple[int, ...]:
    """The shape under which PyTorch knows it."""
    if parameter.exported is not None:
        return parameter.exported
    axes = parameter.axes or tuple(range(len(parameter.shape)))
    return tuple(parameter.shape[axis] for axis in axes)


def _misfit(parameter: Parameter, weights: Mapping[str, Array]) -> Fault | None:
    if parameter.name not in weights:
        return _weight_fault(parameter.name, "is missing")
    given, wanted = weights[parameter.name].shape, torch_shape(parameter)
    return None if given == wanted else _weight_fault(parameter.name, f"is {list(given)}, not {list(wanted)}")


def _weight_fault(name: str, message: str) -> Fault:
    return Fault("/network/initial_weights", "weights_misfit", f"{name} {message}")


def shape_of(signature: Signature) -> Shape:
    """The shape of one row as the first layer sees it."""
    return Shape(tuple(signature.shape), signature.vocabulary, signature.timed)


def kind_of(layer: LayerSpec) -> str:
    return str(getattr(layer, "kind", type(layer).__name__))
