"""A trained network as one file: arrays under PyTorch's names, and all it takes to turn raw rows into answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from service.data import Letters, Preprocessor, stored_preprocessor
from service.engine import Loss, Network, NetworkSpec, Signature, weights_of
from service.errors import InvalidData
from service.tensors import Array, Tensors

FORMAT = "netwright.network/1"
Kind = Literal["network", "ngram"]
_LOSS: TypeAdapter[Loss] = TypeAdapter(Loss)


@dataclass(frozen=True)
class NetworkModel:
    """What a network's file says. `weights` are views of the file's pages.

    `facts`: run_id, weights_sha256, scores; for people.
    """

    network: NetworkSpec
    signature: Signature
    outputs: int
    loss: Loss
    dtype: Literal["float32", "float64"]
    preprocessor: Preprocessor | Letters
    facts: Mapping[str, Any]
    weights: Mapping[str, Array]

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.preprocessor.classes

    def shaped(self, shape: tuple[int, ...]) -> NetworkModel:
        """The same for rows of this shape: of sequences, with more steps or fewer."""
        return self if shape == self.signature.shape else replace(self, signature=replace(self.signature, shape=shape))

    def bind(self) -> Network:
        """The network, ready to answer."""
        return Network(self.network, self.signature, self.outputs, self.weights, self.loss, self.dtype)


def pack(model: NetworkModel) -> tuple[dict[str, Array], dict[str, str]]:
    """The file's arrays and metadata."""
    document = {
        "network": model.network.model_dump(mode="json"), "signature": asdict(model.signature),
        "outputs": model.outputs, "loss": model.loss.model_dump(mode="json"), "dtype": model.dtype,
        "target": model.loss.target, "classes": model.classes, "preprocessor": model.preprocessor.to_json(),
        "facts": dict(model.facts),
    }  # fmt: skip
    return dict(model.weights), {"kind": "network", "format": FORMAT, "model": json.dumps(document)}


def kind_of(tensors: Tensors) -> Kind:
    """Which kind of model a file holds. Raises InvalidData when it is none of ours."""
    kind = tensors.metadata.get("kind")
    if kind == "network" and tensors.metadata.get("format") == FORMAT:
        return "network"
    if kind == "ngram":
        return "ngram"
    raise InvalidData("not a model of this service")


def unpack(tensors: Tensors) -> NetworkModel:
    """The network of a file. Raises InvalidData when it holds none."""
    if kind_of(tensors) != "network":
        raise InvalidData("not a network")
    document = json.loads(tensors.metadata["model"])
    signature = document["signature"]
    return NetworkModel(
        network=NetworkSpec.model_validate_json(json.dumps(document["network"])),
        signature=Signature(**signature | {"shape": tuple(signature["shape"])}), outputs=document["outputs"],
        loss=_LOSS.validate_python(document["loss"]), dtype=document["dtype"],
        preprocessor=stored_preprocessor(document["preprocessor"]), facts=document["facts"],
        weights=tensors.arrays,
    )  # fmt: skip


def with_state(file: Tensors, state: Tensors) -> Tensors:
    """A network's file with the weights of a training state of the same run: as they stood, not the best."""
    model = unpack(file)
    return Tensors(weights_of(model.network, model.signature, state.arrays, model.dtype), file.metadata)
