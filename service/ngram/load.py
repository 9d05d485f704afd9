"""A model's file: one model, or a mixture with all its models inside, so that it needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.errors import InvalidData
from service.ngram.interpolate import Common, Mixture
from service.ngram.language import Static
from service.ngram.model import Model
from service.tensors import Array, Tensors

MIXTURE = "mixture/1"


def load(file: Tensors) -> Static[Any]:
    """The model of a file. Raises InvalidData."""
    if file.metadata.get("kind") != "ngram" or file.metadata.get("format") != MIXTURE:
        return Model(file)
    try:
        return _mixture(file)
    except (KeyError, ValueError) as error:
        raise InvalidData("this file is no mixture of a known format") from error


def pack_mixture(mixture: Mixture, files: Sequence[Tensors]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and strings of a mixture of these files' models."""
    arrays = dict(mixture.common.vocabulary)
    for number, (file, ours) in enumerate(zip(files, mixture.common.ours, strict=True)):
        arrays |= {f"{number}/{name}": array for name, array in file.arrays.items()} | {f"{number}/ours": ours}
    parts = [dict(file.metadata) for file in files]
    metadata = {"weights": json.dumps(mixture.weights), "parts": json.dumps(parts), "facts": json.dumps(mixture.facts)}
    return arrays, {"kind": "ngram", "format": MIXTURE, **metadata}


def _mixture(file: Tensors) -> Mixture:
    parts: list[Mapping[str, str]] = json.loads(file.metadata["parts"])
    models = [Model(Tensors(_inside(file, f"{number}/"), dict(part))) for number, part in enumerate(parts)]
    common = Common(file.arrays, [file.arrays[f"{number}/ours"] for number in range(len(parts))])
    mixture = Mixture(models, json.loads(file.metadata["weights"]), common)
    mixture.facts = json.loads(file.metadata["facts"])
    return mixture


def _inside(file: Tensors, prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in file.arrays.items() if name.startswith(prefix)}
