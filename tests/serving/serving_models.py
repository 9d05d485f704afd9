"""Models small enough to be checked with a pencil, put into a real store as a worker would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from service import ngram, storage
from service.data import Dataset, DatasetSpec, prepare, rows_to_dataset
from service.engine import Loss, NetworkSpec, Signature
from service.specs import artifact
from service.storage import Owner, Store
from service.tensors import Array

OWNER = Owner(1, "1", "boot")
POINTS: list[Any] = [{"x": 0.0, "y": 1.0, "side": "left"}, {"x": 1.0, "y": 0.0, "side": "right"}] * 3


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """A store of the test's own."""
    store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
    try:
        yield store
    finally:
        store.close()


def points_model(folder: Path, weights: Array) -> tuple[dict[str, Array], dict[str, str]]:
    """One dense layer with softmax over raw (x, y): p = softmax(W (x, y)), classes left and right. W: (2, 2)."""
    rows_to_dataset(POINTS, folder / "points")
    reference = DatasetSpec(rows=POINTS, target="side", preprocess="none")
    prepared = prepare(Dataset.open(folder / "points"), reference, "class")
    layers = [{"kind": "dense", "units": 2, "activation": "softmax"}]
    loss: Any = TypeAdapter(Loss).validate_python({"kind": "cross_entropy"})
    model = artifact.NetworkModel(
        network=NetworkSpec.model_validate({"layers": layers}), signature=Signature((2,), "float32"), outputs=2,
        loss=loss, dtype="float32", preprocessor=prepared.preprocessor, facts={},
        weights={"0.weight": weights.astype(np.float32), "0.bias": np.zeros(2, np.float32)},
    )  # fmt: skip
    return artifact.pack(model)


def text_model(text: str, order: int = 2) -> tuple[dict[str, Array], dict[str, str]]:
    """An n-gram model of a text."""
    last = list(ngram.train(ngram.NgramSpec(order=order), memoryview(text.encode())))[-1]
    assert isinstance(last, ngram.Trained)
    return dict(last.arrays), dict(last.metadata)


def publish(store: Store, model: tuple[dict[str, Array], dict[str, str]], type: str = "train") -> str:
    """A run that ended with this model; returns its id."""
    job = store.jobs.submit(type=type, spec={})
    attempt = store.runs.claim(OWNER, 60.0)
    assert attempt is not None
    store.runs.finish(attempt, "succeeded", stopped_by="epochs", model_blob=store.blobs.put(*model).sha256)
    return job.run_ids[0]
