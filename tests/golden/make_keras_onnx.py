"""Makes keras_onnx.json: models that Keras 2 and Keras 3 exported as ONNX (by tf2onnx), and what Keras says of rows.

Run `python make_keras_onnx.py` where tensorflow-cpu, tf_keras and tf2onnx are installed; the tests read only the file.
Keras 3 exports its GRU and SimpleRNN as loops, and GELU by an operator that ONNX has not: none of them is here.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tf2onnx
import tf_keras

Json = dict[str, Any]


def of_keras_3() -> dict[str, Any]:
    L = keras.layers
    return {
        "mlp": keras.Sequential([keras.Input((5,)), L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(6, "silu"),
                                 L.LayerNormalization(), L.Dense(4, L.LeakyReLU()), L.Dense(3, "softmax")]),
        "pictures": keras.Sequential([keras.Input((9, 8, 2)), L.ZeroPadding2D(1), L.Conv2D(4, 3, strides=2),
                                      L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2, padding="same"),
                                      L.Conv2D(3, 3, padding="same", activation="elu"), L.Flatten(), L.Dense(3)]),
        "lstm": keras.Sequential([keras.Input((6, 3)), L.LSTM(4), L.Dense(2)]),
        "both ways": keras.Sequential([keras.Input((6, 3)), L.Bidirectional(L.LSTM(3)), L.Dense(2, "sigmoid")]),
        "words": keras.Sequential([keras.Input((6,), dtype="int32"), L.Embedding(9, 4), L.GlobalAveragePooling1D(),
                                   L.Dense(2, "softplus")]),
    }  # fmt: skip


def of_keras_2() -> dict[str, Any]:
    L = tf_keras.layers
    return {
        "lstms": tf_keras.Sequential([tf_keras.Input((6, 3)), L.LSTM(4, return_sequences=True), L.LSTM(3), L.Dense(2)]),
        "gru": tf_keras.Sequential([tf_keras.Input((6, 3)), L.GRU(4), L.Dense(2, "softmax")]),
        "grus both ways": tf_keras.Sequential([tf_keras.Input((6, 3)), L.Bidirectional(L.GRU(3)), L.Dense(2)]),
        "every step": tf_keras.Sequential([tf_keras.Input((4, 3)), L.Bidirectional(L.LSTM(2, return_sequences=True)),
                                           L.Flatten(), L.Dense(2)]),
    }  # fmt: skip


def exported(model: Any, to: Path) -> None:
    if isinstance(model, tf_keras.Model):
        tf2onnx.convert.from_keras(model, output_path=str(to))
    else:
        model.export(str(to), format="onnx", verbose=False)


def told() -> Iterator[Json]:
    chance = np.random.default_rng(6)
    for name, model in {**of_keras_3(), **of_keras_2()}.items():
        arrays = [chance.normal(0, 0.5, each.shape).astype(np.float32) for each in model.weights]
        positive = ["variance" in each.name for each in model.weights]
        model.set_weights([np.abs(a) + 0.2 if p else a for a, p in zip(arrays, positive, strict=True)])
        shape = (4, *model.input_shape[1:])
        x = chance.integers(0, 9, shape) if name == "words" else chance.normal(0, 1, shape).astype(np.float32)
        y = np.asarray(model(x.astype("int32" if name == "words" else "float32")))
        with tempfile.TemporaryDirectory() as folder:
            exported(model, Path(folder) / "m.onnx")
            file = base64.b64encode((Path(folder) / "m.onnx").read_bytes()).decode()
        keras_version = 2 if isinstance(model, tf_keras.Model) else 3
        yield {"name": name, "keras": keras_version, "onnx": file, "x": x.tolist(), "y": y.tolist()}


if __name__ == "__main__":
    Path(__file__).with_name("keras_onnx.json").write_text(json.dumps(list(told())) + "\n", encoding="utf-8")
