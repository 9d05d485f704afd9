"""A model on its way to another server: its own file, with the record of its run beside the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import ngram, tensors
from service.errors import InvalidData, InvalidSpec
from service.specs import artifact

RECORD = "record"  # the name of the record among the file's metadata
_FORMAT = "netwright.bundle/1"


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of its run. The file itself is the model's, to the byte but for the record."""

    type: str  # "train" or "ngram"
    spec: Mapping[str, Any]
    report: Mapping[str, Any]
    receipt: Mapping[str, Any] | None
    weights_sha256: str | None


def bundled(path: Path, record: Bundle) -> Iterator[bytes | memoryview]:
    """The bundle's bytes, piece by piece, of a model's file and its run."""
    found = tensors.read(path)
    told = {"format": _FORMAT, **record.__dict__}
    yield from tensors.pieces(found.arrays, found.metadata | {RECORD: json.dumps(told)})


def opened(path: Path) -> Bundle:
    """The record of a bundle whose model is whole: it is loaded once. Raises InvalidData."""
    try:
        found = tensors.read(path)
    except InvalidData as error:
        raise InvalidData(f"neither a bundle nor ONNX: {error.message}", hint=_whose(path)) from error
    kind = artifact.kind_of(found)
    told = _record(found.metadata)
    try:
        if kind == "network":
            artifact.unpack(found).bind()
        else:
            ngram.load(found)
    except (InvalidSpec, KeyError, TypeError, ValueError) as error:
        raise InvalidData(f"the model in the bundle is not whole: {error}") from error
    return Bundle("train" if kind == "network" else "ngram", **told)


_TORCH = "A model of PyTorch or Keras comes in as ONNX; weights alone as safetensors, by POST /v1/datasets."
_STRANGERS = {
    b'{"': "What Keras' model.to_json() gave is read by POST /v1/specs/import.",
    b"PK": _TORCH,  # .keras, .pt
    b"\x89HDF": _TORCH,  # .h5
    **{bytes([0x80, protocol]): f"Pickles are never read. {_TORCH}" for protocol in (2, 3, 4, 5)},
}


def _whose(path: Path) -> str | None:
    """What to do with a file of another program's, by its first bytes."""
    with open(path, "rb") as file:
        begin = file.read(4)
    return next((hint for magic, hint in _STRANGERS.items() if begin.startswith(magic)), None)


def _record(metadata: Mapping[str, str]) -> dict[str, Any]:
    hint = "Send the file that GET /v1/runs/{id}/export?format=bundle gave."
    try:
        told = json.loads(metadata[RECORD])
        known = {name: told[name] for name in ("spec", "report", "receipt", "weights_sha256")}
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidData("the file is a model, but not a bundle", hint=hint) from error
    if told.get("format") != _FORMAT:
        raise InvalidData(f"a bundle of the format {told.get('format')!r}, not {_FORMAT!r}")
    if not isinstance(known["spec"], dict) or not isinstance(known["report"], dict):
        raise InvalidData("the record of the bundle is damaged", hint=hint)
    return known
