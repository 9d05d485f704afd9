"""The weights that a training begins with: which file a reference means, and whether it fits the network."""

from __future__ import annotations

from service import tensors
from service.engine import NetworkSpec, Signature, weight_faults
from service.errors import Fault, InvalidSpec, NotFound, ServiceError
from service.storage import Store

BLOB = "sha256:"  # how the resolved spec refers to them
_DATASET = "ds_"
_PLACE = "/network/initial_weights"


def pinned(network: NetworkSpec, signature: Signature, store: Store) -> NetworkSpec:
    """The network with the very file that its reference means now, which an alias may leave before the job begins.

    A model's reference, or the id of an uploaded safetensors file. Raises InvalidSpec when there is none such, or it
    does not fit.
    """
    reference = network.initial_weights
    if reference is None:
        return network
    try:
        sha256 = _blob(reference, store)
        path = store.blobs.path(sha256)
        if not path.exists():
            raise NotFound(f"no weights {reference[:100]}")
        faults = weight_faults(network, signature, tensors.read(path).arrays)
    except ServiceError as error:
        fault = Fault(_PLACE, error.code, error.message, error.hint)
        raise InvalidSpec(error.message, hint=error.hint, faults=[fault]) from error
    if faults:
        hint = "Names and layouts are PyTorch's: 0.weight is (out, in), the number the layer's place in the list."
        raise InvalidSpec("the weights do not fit the network", hint=hint, faults=faults)
    return network.model_copy(update={"initial_weights": BLOB + sha256})


def _blob(reference: str, store: Store) -> str:
    if reference.startswith(BLOB):
        return reference.removeprefix(BLOB)
    if not reference.startswith(_DATASET):
        return store.models.resolve(reference).blob
    row = store.datasets.get(reference)
    if row.kind != "weights":
        raise NotFound(f"{reference} is a data set of kind {row.kind}, not weights", hint="Upload a safetensors file.")
    return row.blob
