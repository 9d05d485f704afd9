"""Keras Sequential models as specs: what Keras 2 and 3 write down, their defaults, and everything that is refused."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_keras import carried

from service.engine import Network, NetworkSpec, Signature
from service.engine.network import Compiled
from service.errors import InvalidSpec
from service.exchange import Translated, from_keras
from service.tensors import Array

Json = dict[str, Any]
WITHIN = 1e-5
KERAS2: list[Json] = json.loads((Path(__file__).parents[1] / "golden" / "keras2.json").read_text(encoding="utf-8"))


def answered(found: Translated, weights: list[list[Array]], x: Array) -> Array:
    """What the translated network says with Keras' own weights."""
    layers = found.spec["network"]["layers"]
    shape = tuple(n for n in found.input_shape or () if n is not None)
    dtype: Any = "int32" if found.vocabulary else "float32"
    signature = Signature(shape, dtype, vocabulary=found.vocabulary)
    spec = NetworkSpec.model_validate(found.spec["network"])
    outputs = Compiled(spec, signature).plan.out.size
    return Network(spec, signature, outputs, carried(layers, weights))(x.astype(dtype))


@pytest.mark.parametrize("golden", KERAS2, ids=[each["name"] for each in KERAS2])
def test_what_keras_2_wrote_answers_as_it_did(golden: Json) -> None:
    weights = [[np.asarray(array, np.float32) for array in layer] for layer in golden["weights"]]
    y = answered(from_keras(golden["document"]), weights, np.asarray(golden["x"]))
    np.testing.assert_allclose(y, golden["y"], rtol=0, atol=WITHIN)


def layer(name: str, **config: Any) -> Json:
    return {"class_name": name, "config": config}


def model(*layers: Any, **more: Any) -> Json:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}, **more}


def test_what_is_left_out_is_keras_default_and_not_ours() -> None:
    found = from_keras(model(
        layer("InputLayer", batch_shape=[None, 8, 5]), layer("LSTM", units=4, return_sequences=True),
        layer("BatchNormalization"), layer("LayerNormalization"), layer("LeakyReLU"), layer("GRU", units=3),
        layer("Dense", units=2, activation="leaky_relu"),
    ))  # fmt: skip
    assert found.spec["network"]["layers"] == [
        {"kind": "lstm", "units": 4, "output": "sequence", "recurrent_dropout": 0.0, "forget_bias": 1.0},
        {"kind": "batch_norm", "momentum": 0.01, "epsilon": 1e-3},
        {"kind": "layer_norm", "epsilon": 1e-3},
        {"kind": "leaky_relu", "slope": 0.3},
        {"kind": "gru", "units": 3, "output": "last", "recurrent_dropout": 0.0},
        {"kind": "dense", "units": 2, "bias": True, "initial": "glorot",
         "activation": {"kind": "leaky_relu", "slope": 0.2}},
    ]  # fmt: skip
    assert (found.input_shape, found.vocabulary, found.notes) == ((8, 5), None, ())


def test_activations_are_words_layers_or_functions_and_zeros_go_into_the_convolution() -> None:
    found = from_keras(model(
        layer("ZeroPadding2D", padding=[[1, 1], [2, 2]]),
        layer("Conv2D", filters=2, kernel_size=[3, 5], strides=2, activation=layer("ELU", alpha=0.5)),
        layer("Activation", activation={"class_name": "function", "config": "gelu"}),
        layer("Flatten"), layer("Dense", units=1, activation=layer("ReLU", negative_slope=0.1)), layer("ReLU"),
    ))  # fmt: skip
    conv, gelu, _, dense, relu = found.spec["network"]["layers"]
    assert (conv["padding"], conv["activation"]) == ([1, 2], {"kind": "elu", "alpha": 0.5})
    assert (gelu, relu) == ({"kind": "gelu"}, {"kind": "relu"})
    assert dense["activation"] == {"kind": "leaky_relu", "slope": 0.1}


def test_the_end_that_compile_told_comes_along() -> None:
    compiled = {
        "loss": layer("SparseCategoricalCrossentropy", from_logits=True, reduction="sum_over_batch_size"),
        "optimizer": layer("Adam", learning_rate=0.0010000000474974513, weight_decay=0.02, global_clipnorm=1.0),
        "metrics": ["accuracy"],
    }
    found = from_keras(model(layer("Dense", units=3), compile_config=compiled))
    assert found.spec["loss"] == {"kind": "cross_entropy", "label_smoothing": 0.0}
    assert found.spec["optimizer"] == {
        "kind": "adamw", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7, "weight_decay": 0.02,
        "clip_norm": 1.0,
    }  # fmt: skip
    (note,) = found.notes
    assert "epsilon" in note


def test_a_depthwise_convolution_needs_to_know_its_channels() -> None:
    deep = layer("DepthwiseConv2D", kernel_size=3, depth_multiplier=2)
    found = from_keras(
        model(layer("Conv2D", filters=5, kernel_size=1), deep, layer("Flatten"), layer("Dense", units=2))
    )
    assert {"filters": 10, "groups": 5}.items() <= found.spec["network"]["layers"][1].items()
    with pytest.raises(InvalidSpec, match="how many channels"):
        from_keras(model(deep, layer("Flatten"), layer("Dense", units=2)))


def test_a_text_in_quotes_is_read_as_what_it_says() -> None:
    document = model(layer("Dense", units=2))
    assert from_keras(json.dumps(document)) == from_keras(document)


def test_every_fault_is_told_at_its_place_with_a_hint() -> None:
    end = layer("Dense", units=2, activation="sofmax", kernel_regularizer=layer("L2", l2=0.01))
    with pytest.raises(InvalidSpec) as caught:
        from_keras(model(
            layer("Conv1D", filters=2, kernel_size=3, padding="causal", data_format="channels_first"),
            layer("Rescaling", scale=0.1), layer("GRU", units=2, reset_after=False, return_sequences=True, dropout=0.1),
            layer("Dens", units=1), layer("BatchNormalization", axis=1), layer("Dense", units=0),
            layer("Dense", units=2, trainable=False), end,
            layer("LSTM", units=2, recurrent_activation="hard_sigmoid", news=3),
            compile_config={"loss": "binary_crossentropy", "optimizer": layer("Adam", amsgrad=True)},
        ))  # fmt: skip
    faults = {each.pointer.removeprefix("/config/layers"): each for each in caught.value.faults}
    assert set(faults) == {
        "/0/config/padding", "/0/config/data_format", "/1/class_name", "/2/config/reset_after", "/2/config/dropout",
        "/3/class_name", "/4/config/axis", "/5/config", "/6/config/trainable", "/7/config/activation",
        "/7/config/kernel_regularizer", "/8/config/recurrent_activation", "/8/config/news", "/compile_config/loss",
        "/compile_config/optimizer/config/amsgrad",
    }  # fmt: skip
    assert faults["/3/class_name"].hint == "Did you mean 'Dense'?"
    assert faults["/7/config/activation"].hint == "Did you mean 'softmax'?"
    assert "units" in faults["/5/config"].message
    assert all(each.hint for place, each in faults.items() if place != "/5/config")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "to_json"),
        ([], "to_json"),
        ("{", "to_json"),
        ("[" * 100_000, "to_json"),
        ({"class_name": "Functional", "config": {}}, "Sequential ones"),
        (model(), "1 to 1000 layers"),
        (model(layer("InputLayer", batch_shape=[None, 3])), "no layer is left"),
        (model(layer("Dense", units=2), layer("ZeroPadding1D")), "nothing that learns"),
        (model(layer("Dense", units=2), layer("Embedding", input_dim=3, output_dim=2)), "what comes in"),
        (model({"class_name": "Dense"}), "class_name and config"),
        (
            model(layer("Bidirectional", layer=layer("LSTM", units=2), backward_layer=layer("LSTM", units=3))),
            "backward",
        ),
        (model(layer("TimeDistributed", layer=layer("Conv1D", filters=2, kernel_size=1))), "layer = 'Conv1D'"),
        (model(layer("Dense", units=[2] * 5)), "units"),
        (model("Dense"), "an object with class_name"),
    ],
)
def test_what_is_no_row_of_layers_is_refused(document: Any, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        from_keras(document)
    assert words in str([caught.value.message, *caught.value.faults])


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        yield from places(value, (*path, key))


JUNK: list[Any] = [None, True, -1, 1.5, 10**400, "", "relu", [], [[], []], {}, {"class_name": "LSTM", "config": []}]


def test_a_damaged_model_is_refused_or_read_and_nothing_else() -> None:
    chance, refused = random.Random(2), 0
    for _ in range(300):
        document = copy.deepcopy(chance.choice(KERAS2)["document"])
        *way, last = chance.choice([each for each in places(document) if each])
        at = document
        for key in way:
            at = at[key]
        at[last] = chance.choice(JUNK)
        try:
            from_keras(document)
        except InvalidSpec:
            refused += 1
    assert refused > 100


# --- the Keras of today -----------------------------------------------------------------------------------------


def of_keras() -> dict[str, Any]:
    import keras
    from keras import layers as L  # noqa: N812  its usual name

    def row(shape: tuple[int, ...], *layers: Any) -> Any:
        return keras.Sequential([keras.Input(shape), *layers])

    return {
        "mlp": row((5,), L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(6, "gelu"), L.LayerNormalization(),
                   L.Dropout(0.5), L.Dense(6, L.LeakyReLU()), L.Activation("swish"), L.Dense(3, "softmax")),
        "pictures": row((9, 8, 2), L.Conv2D(4, 3, padding="same", strides=2), L.ReLU(), L.AveragePooling2D(2),
                        L.ZeroPadding2D(1), L.Conv2D(4, 2, dilation_rate=2, groups=2, use_bias=False),
                        L.BatchNormalization(), L.ELU(0.3), L.Flatten(), L.Dense(3)),
        "depthwise": row((7, 6, 2), L.Conv2D(3, 1), L.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2,
                         activation="relu"), L.DepthwiseConv2D(2, use_bias=False), L.Flatten(), L.Dense(2)),
        "same pools": row((7, 6, 2), L.MaxPooling2D(3, 2, padding="same"), L.Conv2D(3, 1),
                          L.AveragePooling2D(2, 1, padding="same"), L.GlobalMaxPooling2D(), L.Dense(2)),
        "signals": row((12, 3), L.Conv1D(4, 3, activation="elu"), L.MaxPooling1D(2), L.TimeDistributed(L.Dense(3)),
                       L.GlobalAveragePooling1D(), L.Reshape((3, 1)), L.SimpleRNN(2), L.Dense(1, "sigmoid")),
        "lstm": row((6, 3), L.LSTM(4, return_sequences=True), L.LSTM(3), L.Dense(2, "log_softmax")),
        "gru": row((6, 3), L.GRU(4, return_sequences=True), L.Bidirectional(L.GRU(3)), L.Dense(2, "softplus")),
        "letters": row((6,), L.Embedding(9, 4), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Flatten(),
                       L.Dense(4, "leaky_relu"), L.Softmax()),
    }  # fmt: skip


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_what_keras_3_writes_answers_as_keras_does(monkeypatch: Any) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    chance = np.random.default_rng(3)
    for name, theirs in of_keras().items():
        arrays = [np.abs(chance.normal(0.3, 0.4, w.shape)).astype(np.float32) + 0.05 if "variance" in w.name else
                  chance.normal(0, 0.4, w.shape).astype(np.float32) for w in theirs.weights]  # fmt: skip
        theirs.set_weights(arrays)
        found = from_keras(json.loads(theirs.to_json()))
        shape = (5, *theirs.input_shape[1:])
        x = chance.integers(0, 9, shape) if name == "letters" else chance.normal(0, 1, shape).astype(np.float32)
        weights = [layer.get_weights() for layer in theirs.layers if layer.weights]
        wanted = np.asarray(theirs(x).detach())
        np.testing.assert_allclose(answered(found, weights, x), wanted, rtol=0, atol=WITHIN, err_msg=name)
