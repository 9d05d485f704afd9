"""Networks with weights drawn at random: one for each example of the engine's vocabulary, and some on real rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from service.data import SAMPLES, Dataset, DatasetSpec, Upload, prepare, read, rows_to_dataset, sample
from service.engine import Loss, Network, NetworkSpec, Signature
from service.engine.network import Compiled
from service.specs import signature_of
from service.specs.artifact import NetworkModel
from service.tensors import Array

__all__ = ["DATA", "ENDS", "EXAMPLES", "LAYERS", "drawn", "labels_of", "model_of", "network_of", "rows_of", "table_of"]
DATA = Path(__file__).parents[3] / "shared" / "data"

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from engine_examples import LAYERS, LayerExample  # noqa: E402

EXAMPLES = [
    (f"{kind}-{at}", example)
    for kind, examples in LAYERS.items()
    for at, example in enumerate(examples)
    if example.lengths is None
]


ENDS: dict[str, list[dict[str, Any]]] = {
    "dense": [{"kind": "flatten"}, {"kind": "dense", "units": 10}],
    "pool": [{"kind": "conv2d", "filters": 10, "kernel_size": 3}, {"kind": "global_average_pool"}],
    "log_softmax": [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "log_softmax"}],
}
"""How a network that tells ten digits apart may end."""


def drawn(spec: NetworkSpec, signature: Signature, seed: int = 0) -> dict[str, Array]:
    """Weights in PyTorch's names, none of them 0 or 1; variances above 0."""
    chance = np.random.default_rng(seed)
    net = Compiled(spec, signature)
    found = net.export(*net.begin(seed))
    for name, array in found.items():
        if array.dtype.kind == "f":
            found[name] = (array + chance.normal(0, 0.2, array.shape)).astype(np.float32)
        if name.endswith("running_var"):
            found[name] = np.abs(found[name]) + 0.1
    return found


def network_of(example: LayerExample) -> tuple[NetworkSpec, Signature, dict[str, Array], Network]:
    """The example alone, its weights, and it bound to answer."""
    spec = NetworkSpec.model_validate({"layers": [example.json]})
    dtype: Any = "float32" if example.vocabulary is None else "int32"
    signature = Signature(example.dims, dtype, vocabulary=example.vocabulary)
    weights = drawn(spec, signature)
    outputs = Compiled(spec, signature).plan.out.size
    return spec, signature, weights, Network(spec, signature, outputs, weights)


def rows_of(example: LayerExample, rows: int) -> Array:
    chance = np.random.default_rng(rows)
    if example.vocabulary is not None:
        return chance.integers(0, example.vocabulary, (rows, *example.dims)).astype(np.int32)
    return chance.normal(0, 1, (rows, *example.dims)).astype(np.float32)


def model_of(
    folder: Path, file: str | None, layers: list[Any], *, target: str | list[str] | None = None, kind: Any = "class",
    loss: str, features: list[str] | None = None,
) -> NetworkModel:  # fmt: skip
    """An untrained network on a real table of ../shared/data, a sample, or what is parsed there already."""
    parsed = folder / "parsed"
    if file in SAMPLES:
        sample(file, parsed)
    elif file is not None:
        read([Upload(file, DATA / file)], parsed)
    reference = DatasetSpec(id="ds_x", target=target, features=features)
    prepared = prepare(Dataset.open(parsed), reference, kind)
    spec = NetworkSpec.model_validate({"layers": layers})
    signature = signature_of(prepared)
    chosen: Any = TypeAdapter(Loss).validate_python({"kind": loss})
    return NetworkModel(
        network=spec, signature=signature, outputs=prepared.outline.outputs, loss=chosen, dtype="float32",
        preprocessor=prepared.preprocessor, facts={"run_id": "run_x"}, weights=drawn(spec, signature),
    )  # fmt: skip


def table_of(folder: Path) -> Dataset:
    return Dataset.open(folder / "parsed")


def labels_of(folder: Path) -> tuple[NetworkModel, list[Any]]:
    """A model of three labels over a word and a number, and rows of both."""
    chance = np.random.default_rng(3)
    rows = [
        {"x": x, "word": "uvw"[at % 3], "a": at % 2, "b": "yn"[at // 2 % 2], "c": at // 4 % 2}
        for at, x in enumerate(chance.normal(size=24).round(3).tolist())
    ]
    rows_to_dataset(rows, folder / "parsed")
    layers = [{"kind": "dense", "units": 5, "activation": "tanh"}, {"kind": "dense", "units": 3}]
    model = model_of(folder, None, layers, target=["a", "b", "c"], kind="binary", loss="binary_cross_entropy")
    return model, [{"x": row["x"], "word": row["word"]} for row in rows]
