"""A network that takes rows of any length: which layers can tell a row's steps from the padding behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from service import engine
from service.data import Outline
from service.engine import LayerSpec, Recipe, Shape, Signature
from service.errors import Fault, InvalidSpec, TooLarge

_LAST = '"output": "last"'
_HINTS = {
    "flatten": f'take "global_average_pool", or {_LAST} of a recurrent layer',
    "reshape": "leave it out: a row is (steps, numbers) already",
    "conv": 'say "padding": "same" and leave out strides: then every step stays one',
    "pool": 'leave it out, or take "global_max_pool" or "global_average_pool"',
}
_FLAT = ("flatten", "reshape")


@contextmanager
def padding_told(found: Outline) -> Iterator[None]:
    """A training that is too large because of its longest row says so."""
    try:
        yield
    except TooLarge as error:
        if found.layout.timed:
            error.hint = f"all rows are padded to {found.shape[0]:,} steps: cut, split or leave out the longest"
        raise


def check_sequences(recipe: Recipe, signature: Signature, outputs: int, rows: int) -> None:
    """Raises InvalidSpec with every layer that would take padding for data, so that an answer hung on other rows."""
    engine.plan(recipe, signature, outputs, rows)
    shape = Shape(tuple(signature.shape), signature.vocabulary, timed=True)
    found = list[Fault]()
    last = _walk(recipe.network.layers, shape, "/network/layers", found)
    if last.timed and not found:
        found.append(_per_step(recipe.network.layers))
    if recipe.training.stateful:
        message = "rows of different lengths are no stream whose state is carried from row to row"
        found.append(Fault("/training/stateful", "unfit", message, "leave it out"))
    if found:
        raise InvalidSpec(found[0].message, hint=found[0].hint, faults=found)


def _walk(layers: Sequence[LayerSpec], shape: Shape, place: str, found: list[Fault]) -> Shape:
    """What comes out behind them; a layer at fault is taken to have kept the steps, so that all are found."""
    for index, layer in enumerate(layers):
        here, kind = f"{place}/{index}", str(getattr(layer, "kind", ""))
        inner: Sequence[LayerSpec] = getattr(layer, "layers", ())
        if inner and shape.timed:
            _walk(inner, shape, f"{here}/layers", found)
        out = layer.plan(shape).shape
        if shape.timed and not out.timed and (len(out.dims) > 1 or kind in _FLAT):
            message = f"{kind} cannot take rows of different lengths: padding would become part of its output"
            hint = next((words for part, words in _HINTS.items() if part in kind), None)
            found.append(Fault(here, "not_for_sequences", message, hint))
            out = replace(out, timed=len(out.dims) > 1)
        shape = out
    return shape


def _per_step(layers: Sequence[LayerSpec]) -> Fault:
    """The layer that should have ended the sequence."""
    for index in range(len(layers) - 1, -1, -1):
        layer, place = layers[index], f"/network/layers/{index}"
        one = getattr(layer, "layer", layer)
        if getattr(one, "output", None) == "sequence":
            place += "/output" if one is layer else "/layer/output"
            message = f"{getattr(one, 'kind', '')} gives every step, but a row has one target"
            return Fault(place, "output_misfit", message, f"say {_LAST}")
    message = "the last layer gives an answer for every step, but a row has one target"
    hint = 'put a "global_average_pool" or a recurrent layer before the last dense'
    return Fault(f"/network/layers/{len(layers) - 1}", "output_misfit", message, hint)
