"""A Keras Sequential model, as `model.to_json()` writes it, read as a spec of ours; Keras itself is not needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.engine import Layer, Loss, Optimizer
from service.errors import InvalidSpec
from service.exchange.keras_compile import loss_of, optimizer_of
from service.exchange.keras_config import Report, class_of, settings_of
from service.exchange.keras_layers import ZEROS, Json, layer
from service.specs import faults

MOST_LAYERS = 1_000
_LAYER: TypeAdapter[Any] = TypeAdapter(Layer)
_COMPILED: dict[str, TypeAdapter[Any]] = {"loss": TypeAdapter(Loss), "optimizer": TypeAdapter(Optimizer)}
_SEQUENTIAL = "A model whose layers stand in one row is one: keras.Sequential(model.layers).to_json()."


@dataclass(frozen=True)
class Translated:
    """Parts of a job's spec; the shape of a row that Keras was told, and the size of its vocabulary.

    `notes`: what begins, or goes, a little otherwise than in Keras.
    """

    spec: Json
    input_shape: tuple[int | None, ...] | None
    vocabulary: int | None
    notes: tuple[str, ...]


def from_keras(document: object) -> Translated:
    """The spec. Raises InvalidSpec with every setting that has no counterpart, at its place in the document."""
    if isinstance(document, str):  # to_json() gives a text; sent as JSON it is one in quotes
        document = _told(document)
    listed, place = _listed(document)
    report = Report()
    shape = _input_shape(listed)
    report.rank = None if shape is None else len(shape) + 1
    report.channels = shape[-1] if shape else None
    layers, vocabulary = _layers(listed, place, report)
    compiled = document.get("compile_config") if isinstance(document, Mapping) else None
    spec: Json = {"network": {"layers": layers}}
    if isinstance(compiled, Mapping):
        spec |= _compiled(compiled, layers, report)
    if report.faults:
        count = len(report.faults)
        words = report.faults[0].message if count == 1 else f"{count} things of the model have no counterpart here"
        raise InvalidSpec(words, faults=report.faults)
    return Translated(spec, shape, vocabulary, tuple(report.notes))


def _told(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _compiled(given: Mapping[str, Any], layers: list[Json], report: Report) -> Json:
    """What the model was compiled with; its metrics are chosen here."""
    found: Json = {}
    last = layers[-1] if layers else {}
    ends = last.get("activation") or last
    if given.get("loss") is not None:
        finish = ends.get("kind") if isinstance(ends, Mapping) else ends
        found["loss"] = loss_of(given["loss"], "/compile_config/loss", finish, report)
    if given.get("optimizer") is not None:
        found["optimizer"] = optimizer_of(given["optimizer"], "/compile_config/optimizer", report)
    for name, made in found.items():
        if made is not None:
            _check(made, f"/compile_config/{name}/config", report, _COMPILED[name])
    return found


def _listed(document: object) -> tuple[list[Any], str]:
    """The layers and where they stand; before 2018 they were the config itself."""
    if not isinstance(document, Mapping) or "class_name" not in document:
        raise InvalidSpec("this is not what Keras' model.to_json() gives", hint="It has class_name and config.")
    if document["class_name"] != "Sequential":
        raise InvalidSpec(f"a {str(document['class_name'])[:60]} model; Sequential ones are read", hint=_SEQUENTIAL)
    config = document.get("config")
    listed, place = (config.get("layers"), "/config/layers") if isinstance(config, Mapping) else (config, "/config")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_LAYERS:
        raise InvalidSpec(f"a model has 1 to {MOST_LAYERS} layers in its config")
    return listed, place


def _input_shape(listed: list[Any]) -> tuple[int | None, ...] | None:
    """One row's, from an InputLayer or, in Keras 2, from the first layer; None stands for any length."""
    config = listed[0].get("config") if isinstance(listed[0], Mapping) else None
    if not isinstance(config, Mapping):
        return None
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if not isinstance(shape, list) or not all(each is None or type(each) is int for each in shape):
        return None
    return tuple(shape[1:])


def _layers(listed: list[Any], place: str, report: Report) -> tuple[list[Json], int | None]:
    """The layers, and the vocabulary that an embedding was told."""
    found: list[Json] = []
    vocabulary: int | None = None
    zeros: Json | None = None
    for at, given in enumerate(listed):
        pointer = f"{place}/{at}"
        kind = class_of(given) if isinstance(given, Mapping) else ""
        if kind == "inputlayer" and at == 0:
            continue
        if kind == "embedding":
            if found:
                report.fault(pointer, "untranslatable", "only what comes in may be read by an embedding")
            size = settings_of(given).get("input_dim")
            vocabulary = size if type(size) is int and size > 0 else None
        before = len(report.faults)
        made = layer(given, pointer, report)
        if zeros is not None:
            made = _around(zeros, made, pointer, report)
        zeros = made if made is not None and made["kind"] == ZEROS else None
        if made is not None and zeros is None:
            if len(report.faults) == before:
                _check(made, f"{pointer}/config", report)
            found.append({name: value for name, value in made.items() if value is not None})
        _follow(made, report)
    if zeros is not None or not found:
        report.fault(
            place, "untranslatable", "the model ends with nothing that learns" if found else "no layer is left"
        )
    return found, vocabulary


def _around(zeros: Json, made: Json | None, pointer: str, report: Report) -> Json | None:
    """The convolution with the zeros that stood before it."""
    if made is None or not made["kind"].startswith("conv") or made["padding"] != "valid":
        report.fault(pointer, "untranslatable", "zeros around are taken by a convolution of padding valid alone")
        return None
    return made | {"padding": zeros["padding"]}


def _check(made: Json, pointer: str, report: Report, adapter: TypeAdapter[Any] = _LAYER) -> None:
    """Numbers that ours may not have are told where the settings stand."""
    given = {name: value for name, value in made.items() if value is not None}
    try:
        adapter.validate_python(given)
    except ValidationError as error:
        for each in faults(error, adapter, given):
            report.fault(
                pointer, each.code, f"{each.pointer.removeprefix('/')}: {each.message}", each.hint, each.allowed
            )


def _follow(made: Json | None, report: Report) -> None:
    """How many axes flow behind the layer, and how long the last is."""
    if made is None:
        return
    kind, inner = made["kind"], made.get("layer") or made
    wide = inner.get("filters", inner.get("units"))
    if kind in ("flatten", "reshape") or wide is not None:
        report.channels = wide * (1 + (kind == "bidirectional")) if type(wide) is int else None
    if kind.startswith("global_") or kind == "flatten" or inner.get("output") == "last":
        report.rank = 2
    elif kind == "reshape" and isinstance(made["shape"], list):
        report.rank = 1 + len(made["shape"])
    elif kind == "embedding" and report.rank is not None:
        report.rank += 1
    elif kind[-2:] in ("1d", "2d", "3d"):
        report.rank = 2 + int(kind[-2])
