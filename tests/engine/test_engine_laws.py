"""Laws that every layer, activation and network keeps."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import pytest
from engine_examples import (
    AUGMENTATIONS,
    EVERY_LAYER,
    EVERY_LOSS,
    EVERY_OPTIMIZER,
    SCHEDULES,
    LayerExample,
)
from engine_harness import bound, bound_loss, targets_for
from pydantic import TypeAdapter

from service.engine import Examples, Layer, Loss, Network, NetworkSpec, Optimizer, Recipe, Schedule, Signature, Training
from service.engine.arena import Arena
from service.engine.augmentation import Augmentation
from service.engine.layers.erf import Erf
from service.engine.losses import LossSpec
from service.engine.network import Compiled
from service.engine.optimizers import OptimizerSpec
from service.engine.schedules import Pace, ScheduleSpec

LAYER = pytest.mark.parametrize("example", [e for _, e in EVERY_LAYER], ids=[n for n, _ in EVERY_LAYER])


def digits(layers: list[dict[str, Any]], **training: Any) -> Recipe:
    given = {"epochs": 3, "batch_size": 16, "seed": 3, **training}
    return Recipe.model_validate({"network": {"layers": layers}, "loss": {"kind": "cross_entropy"}, "training": given})


def data(rows: int = 100) -> Examples:
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, 6)).astype(np.float32)
    return Examples(x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0))


SIGNATURE = Signature((6,))
NET = [
    {"kind": "dense", "units": 12, "activation": "relu"},
    {"kind": "dropout", "rate": 0.3},
    {"kind": "dense", "units": 3, "activation": "softmax"},
]


@LAYER
def test_plan_is_the_shape_that_forward_gives(example: LayerExample) -> None:
    lengths = None if example.lengths is None else (example.lengths * 3)[:3]
    it = bound(example.layer, example.shape, lengths=lengths)
    plan = example.layer.plan(example.shape)
    for part in example.layer.parts()[1:]:
        plan = part.plan(plan.shape)
    assert it.forward().shape == (3, *plan.shape.dims)


@LAYER
def test_a_row_has_the_same_answer_alone_as_among_others(example: LayerExample) -> None:
    lengths = None if example.lengths is None else (example.lengths * 4)[:4]
    many = bound(example.layer, example.shape, 4, training=False, lengths=lengths)
    whole = many.forward().copy()
    for row in range(4):
        one = bound(
            example.layer, example.shape, 1, training=False, lengths=None if lengths is None else lengths[row:][:1]
        )
        one.x[...] = many.x[row]
        np.testing.assert_allclose(one.forward()[0], whole[row], rtol=1e-12, atol=1e-13)


@LAYER
def test_saturated_inputs_give_finite_values_and_gradients(example: LayerExample) -> None:
    if example.vocabulary is not None:
        pytest.skip("ids cannot be large")
    lengths = None if example.lengths is None else (example.lengths * 4)[:4]
    for dtype in ("float32", "float64"):
        it = bound(example.layer, example.shape, 4, dtype, lengths=lengths)
        it.x[...] = np.where(np.arange(it.x.size).reshape(it.x.shape) % 2, 1e4, -1e4)
        with np.errstate(over="ignore", under="ignore"):
            assert np.isfinite(it.forward()).all()
            it.dy[...] = 1
            it.backward()
        assert np.isfinite(it.gradient).all()
        assert it.dx is None or np.isfinite(it.dx).all()


@LAYER
def test_float32_follows_float64(example: LayerExample) -> None:
    lengths = None if example.lengths is None else (example.lengths * 3)[:3]
    narrow = bound(example.layer, example.shape, dtype="float32", lengths=lengths)
    wide = bound(example.layer, example.shape, dtype="float64", lengths=lengths)
    np.testing.assert_allclose(narrow.forward(), wide.forward(), rtol=1e-4, atol=2e-5)


@LAYER
def test_backward_overwrites_and_never_adds(example: LayerExample) -> None:
    lengths = None if example.lengths is None else (example.lengths * 3)[:3]
    it = bound(example.layer, example.shape, lengths=lengths)
    state, seen = it.state.copy(), []
    for _ in range(2):
        it.state[:] = state
        it.forward()
        it.dy[...] = 1
        it.backward()
        seen.append(it.gradient.tobytes() + (b"" if it.dx is None else it.dx.tobytes()))
    assert seen[0] == seen[1]


@LAYER
def test_weights_come_back_from_pytorchs_layout(example: LayerExample) -> None:
    spec = NetworkSpec.model_validate({"layers": [example.json]})
    signature = Signature(example.dims, "float32" if example.vocabulary is None else "int32",
                          vocabulary=example.vocabulary, timed=example.lengths is not None)  # fmt: skip
    net = Compiled(spec, signature)
    theta, state = net.begin(1)
    theta += np.arange(theta.size, dtype=theta.dtype)
    weights = net.export(theta, state)
    other, other_state = net.begin(2)
    net.load(weights, other, other_state)
    again = net.export(other, other_state)
    assert list(weights) == list(again)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, again[name])


@LAYER
def test_a_layers_spec_survives_json(example: LayerExample) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Layer)
    text = json.dumps(adapter.dump_python(example.layer, mode="json"))
    assert adapter.validate_json(text) == example.layer
    assert adapter.validate_python(json.loads(text)) == example.layer


@pytest.mark.parametrize("loss", [e for _, e in EVERY_LOSS], ids=[n for n, _ in EVERY_LOSS])
def test_a_losss_spec_survives_json(loss: LossSpec) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Loss)
    assert adapter.validate_json(adapter.dump_json(loss)) == loss


@pytest.mark.parametrize("optimizer", [e for _, e in EVERY_OPTIMIZER], ids=[n for n, _ in EVERY_OPTIMIZER])
def test_an_optimizers_spec_survives_json(optimizer: OptimizerSpec) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Optimizer)
    assert adapter.validate_json(adapter.dump_json(optimizer)) == optimizer


@pytest.mark.parametrize("loss", [e for _, e in EVERY_LOSS], ids=[n for n, _ in EVERY_LOSS])
def test_a_loss_of_saturated_outputs_is_finite(loss: LossSpec) -> None:
    random = np.random.default_rng(4)
    for dtype in (np.float32, np.float64):
        z = (random.choice([-1e4, 1e4], (8, 4))).astype(dtype)
        y = targets_for(loss, (8, 4), random)
        it = bound_loss(loss, z, y if loss.target == "class" else y.astype(dtype))
        assert np.isfinite(it.value())
        assert np.isfinite(it.dz).all()


def test_tanh_is_two_sigmoids_of_twice_less_one() -> None:
    tanh, sigmoid = (bound(TypeAdapter(Layer).validate_python({"kind": kind}), LayerExample({}, (50,)).shape)
                     for kind in ("tanh", "sigmoid"))  # fmt: skip
    sigmoid.x[...] = 2 * tanh.x
    np.testing.assert_allclose(tanh.forward(), 2 * sigmoid.forward() - 1, atol=1e-15)


def test_probabilities_sum_to_one() -> None:
    it = bound(TypeAdapter(Layer).validate_python({"kind": "softmax"}), LayerExample({}, (7, 9)).shape)
    it.x[...] *= 30
    np.testing.assert_allclose(it.forward().sum(-1), 1, atol=1e-14)
    other = bound(TypeAdapter(Layer).validate_python({"kind": "log_softmax"}), LayerExample({}, (7, 9)).shape)
    other.x[...] = it.x
    np.testing.assert_allclose(np.exp(other.forward()), it.forward(), atol=1e-14)


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-7), ("float64", 1e-15)])
def test_our_error_function_is_as_close_as_it_says(dtype: str, within: float) -> None:
    x = np.linspace(-7, 7, 200_001).astype(dtype)
    y = np.empty_like(x)
    Erf(x.dtype, Arena())(x, y)
    assert np.abs(y - np.array([math.erf(float(each)) for each in x])).max() <= within


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    def sha(seed: int) -> str:
        training = Training(digits(NET, seed=seed), SIGNATURE, 3, data())
        list(training)
        return training.weights_sha256()

    assert sha(3) == sha(3)
    assert sha(3) != sha(4)


def test_inference_ignores_dropout() -> None:
    training = Training(digits(NET), SIGNATURE, 3, data())
    list(training)
    weights = {name.replace("2.", "1."): value for name, value in training.weights().items()}
    without = NetworkSpec.model_validate({"layers": [NET[0], NET[2]]})
    x = data(40).x
    left = Network(training.recipe.network, SIGNATURE, 3, training.weights())(x)
    np.testing.assert_array_equal(left, Network(without, SIGNATURE, 3, weights)(x))


def test_one_network_gives_many_threads_the_same_answers() -> None:
    training = Training(digits(NET, epochs=1), SIGNATURE, 3, data())
    list(training)
    network = Network(training.recipe.network, SIGNATURE, 3, training.weights())
    x = data(300).x
    sizes = (1, 3, 16, 100, 300)
    wanted = {n: network(x[:n]) for n in sizes}
    wrong: list[int] = []

    def ask(start: int) -> None:
        for i in range(200):
            n = sizes[(start + i) % len(sizes)]
            if network(x[:n]).tobytes() != wanted[n].tobytes():
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_linear_end_answers_with_probabilities_when_its_loss_is_known() -> None:
    layers = [{"kind": "dense", "units": 3}]
    recipe = digits(layers)
    training = Training(recipe, SIGNATURE, 3, data())
    list(training)
    raw = Network(recipe.network, SIGNATURE, 3, training.weights())(data(5).x)
    answers = Network(recipe.network, SIGNATURE, 3, training.weights(), recipe.loss)(data(5).x)
    np.testing.assert_allclose(answers, np.exp(raw) / np.exp(raw).sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "kl_divergence", "binary_cross_entropy", "hinge"])
@pytest.mark.parametrize(
    "end",
    ["dropout", "tanh", "softmax", "sigmoid", "log_softmax", "global_average_pool", {"kind": "reshape", "shape": [-1]}],
    ids=lambda end: end if isinstance(end, str) else end["kind"],
)
def test_answers_of_classes_are_probabilities_that_follow_the_loss_whatever_ends_the_network(
    loss: str, end: str | dict[str, Any]
) -> None:
    chosen: LossSpec = TypeAdapter(Loss).validate_python({"kind": loss})
    width = 3 if chosen.finish == "softmax" else 1
    last = {"kind": end, **({"rate": 0.1} if end == "dropout" else {})} if isinstance(end, str) else end
    over = [1] if last["kind"] == "global_average_pool" else []
    layers = [{"kind": "reshape", "shape": [*over, 6]}, {"kind": "dense", "units": width}, last]
    spec = NetworkSpec.model_validate({"layers": layers})
    net, x = Compiled(spec, SIGNATURE, "float64"), data(20).x
    weights = net.export(*net.begin(0))
    kept = layers[:2] if last["kind"] in chosen.absorbs else layers  # z: what the loss takes
    z = Network(NetworkSpec.model_validate({"layers": kept}), SIGNATURE, width, weights, dtype="float64")(x)
    z = z.reshape(20, width)
    want = 1 / (1 + np.exp(-z)) if width == 1 else np.exp(z) / np.exp(z).sum(1, keepdims=True)
    found = Network(spec, SIGNATURE, width, weights, chosen, "float64")(x)
    np.testing.assert_allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedules_factor_lies_between_nothing_and_one(kind: str) -> None:
    adapter: TypeAdapter[ScheduleSpec] = TypeAdapter(Schedule)
    for given in SCHEDULES[kind]:
        schedule = adapter.validate_python({"kind": kind, **given})
        factors = [schedule.factor(step, Pace(10, 100)) for step in range(120)]
        assert all(0 <= factor <= 1 for factor in factors)
        rising = factors[: schedule.warmup_steps]
        assert rising == sorted(rising)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_an_augmentation_is_decided_by_its_generator(kind: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Augmentation)
    for given, dims in AUGMENTATIONS[kind]:
        seen = []
        for seed in (1, 1, 2):
            x = np.random.default_rng(0).random((5, *dims)).astype(np.float32)
            t = np.eye(5, dtype=np.float32)
            adapter.validate_python({"kind": kind, **given}).apply(x, t, np.random.default_rng(seed))
            assert x.dtype == np.float32
            assert np.isfinite(x).all()
            seen.append(x.tobytes() + t.tobytes())
        assert seen[0] == seen[1] != seen[2]
