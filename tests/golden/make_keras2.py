"""Makes keras2.json: Sequential models of Keras 2 as `model.to_json()` wrote them, with weights and what they answer.

Run `python make_keras2.py` where tf_keras, the last Keras 2, is installed; the tests read only the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers as L  # noqa: N812  its usual name

Json = dict[str, Any]
SEED = 5


def models() -> dict[str, Any]:
    return {
        "pictures": tf_keras.Sequential([
            L.Conv2D(3, 3, strides=2, padding="same", activation="relu", input_shape=(7, 6, 2)),
            L.BatchNormalization(), L.MaxPooling2D((2, 1)), L.LeakyReLU(), L.Flatten(), L.Dropout(0.25),
            L.Dense(4, activation="softmax"),
        ]),
        "sequences": tf_keras.Sequential([
            L.InputLayer(input_shape=(5, 3)), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.GRU(4),
            L.Dense(2, activation=tf_keras.activations.swish), L.LayerNormalization(), L.ELU(0.5), L.Dense(1),
        ]),
        "letters": tf_keras.Sequential([
            L.Embedding(9, 4, input_length=6), L.SimpleRNN(3, return_sequences=True), L.GlobalAveragePooling1D(),
            L.Dense(3), L.Activation("softmax"),
        ]),
    }  # fmt: skip


def drawn(model: Any, chance: np.random.Generator) -> list[Any]:
    """Weights none of which is 0 or 1, variances above 0; rounded to float32 that JSON holds exactly."""
    found = []
    for variable in model.weights:
        array = chance.normal(0, 0.4, variable.shape).astype(np.float32)
        found.append(np.abs(array) + 0.2 if "variance" in variable.name else array)
    return found


def rows(model: Any, chance: np.random.Generator) -> Any:
    shape = (4, *model.input_shape[1:])
    if isinstance(model.layers[0], L.Embedding):
        return chance.integers(0, 9, shape)
    return chance.normal(0, 1, shape).astype(np.float32)


def told(name: str, model: Any) -> Json:
    chance = np.random.default_rng(SEED)
    model.set_weights(drawn(model, chance))
    x = rows(model, chance)
    weights = [[array.tolist() for array in layer.get_weights()] for layer in model.layers if layer.weights]
    return {"name": name, "document": json.loads(model.to_json()), "weights": weights, "x": x.tolist(),
            "y": np.asarray(model(x)).tolist()}  # fmt: skip


if __name__ == "__main__":
    found = [told(name, model) for name, model in models().items()]
    Path(__file__).with_name("keras2.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
