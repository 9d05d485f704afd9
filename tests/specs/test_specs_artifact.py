"""A model's file says everything that serving it takes."""

from __future__ import annotations

import numpy as np
import pytest

from service import tensors
from service.data import Dataset, DatasetSpec, prepare, sample
from service.engine import Recipe, Training
from service.errors import InvalidData
from service.specs import artifact, examples_of, signature_of
from service.specs.artifact import NetworkModel
from service.tensors import Tensors


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NetworkModel:
    """Of three epochs on the digits; linear at its end, so that the loss has to say how answers are made."""
    path = tmp_path_factory.mktemp("digits") / "digits"
    sample("digits", path)
    prepared = prepare(Dataset.open(path), DatasetSpec(sample="digits"), "class")
    recipe = Recipe.model_validate(
        {
            "network": {"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10}]},
            "loss": {"kind": "cross_entropy"},
            "training": {"epochs": 3},
        }
    )
    signature = signature_of(prepared)
    training = Training(recipe, signature, prepared.outline.outputs, examples_of(prepared.train))
    list(training)
    facts = {"run_id": "run_1", "weights_sha256": training.weights_sha256(), "scores": {"train_loss": 0.5}}
    return NetworkModel(
        network=recipe.network, signature=signature, outputs=10, loss=recipe.loss, dtype="float32",
        preprocessor=prepared.preprocessor, facts=facts, weights=training.weights(),
    )  # fmt: skip


def test_a_model_survives_its_file_bit_for_bit(model: NetworkModel) -> None:
    data = b"".join(map(bytes, tensors.pieces(*artifact.pack(model))))
    again = artifact.unpack(tensors.parse(data))
    x = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1), np.uint8)
    assert (again.network, again.signature, again.loss, again.facts) == (
        model.network, model.signature, model.loss, model.facts,
    )  # fmt: skip
    assert again.preprocessor.to_json() == model.preprocessor.to_json()
    assert np.array_equal(again.bind()(x), model.bind()(x))
    assert np.allclose(again.bind()(x).sum(axis=1), 1), "a linear end answers with probabilities"


def test_its_weights_have_pytorchs_names_and_layouts(model: NetworkModel) -> None:
    arrays, _ = artifact.pack(model)
    assert {name: array.shape for name, array in arrays.items()} == {"1.weight": (10, 64), "1.bias": (10,)}


def test_other_files_are_no_models() -> None:
    with pytest.raises(InvalidData, match="not a model"):
        artifact.kind_of(Tensors({}, {"kind": "state"}))
    with pytest.raises(InvalidData, match="not a network"):
        artifact.unpack(Tensors({}, {"kind": "ngram"}))
