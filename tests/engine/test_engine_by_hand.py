"""Examples small enough for a pencil; the arithmetic stands in the comments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_examples import loss_of, optimizer_of
from engine_harness import bound, bound_loss
from pydantic import TypeAdapter

from service.engine import Layer, Schedule, Shape
from service.engine.contract import Array
from service.engine.early_stopping import Best
from service.engine.order import epoch_order
from service.engine.recipe import TrainingSpec
from service.engine.schedules import Pace, Plateau, ScheduleSpec
from service.engine.scores import SCORES
from service.engine.shards import shard_sizes
from service.engine.update import bind_update, slot_arrays


def answer(layer: dict[str, Any], x: list[float]) -> list[float]:
    it = bound(TypeAdapter(Layer).validate_python(layer), Shape((len(x),)), 1, training=False)
    it.x[0] = x
    return [round(float(each), 12) for each in it.forward()[0]]


def test_dense_multiplies_and_adds() -> None:
    it = bound(TypeAdapter(Layer).validate_python({"kind": "dense", "units": 2}), Shape((2,)), 1)
    it.theta[:6] = [1, 2, 3, 4, 10, 20]  # W = [[1, 2], [3, 4]] as (in, out), b = [10, 20]
    it.x[0] = [1, 2]
    assert it.forward()[0].tolist() == [17, 30]  # 1*1 + 2*3 + 10, 1*2 + 2*4 + 20
    it.dy[0] = [1, -1]
    it.backward()
    assert it.gradient[:6].tolist() == [1, -1, 2, -2, 1, -1]  # x outer dy, then dy
    assert it.dx is not None
    assert it.dx[0].tolist() == [-1, -1]  # 1*1 - 1*2, 1*3 - 1*4


def test_activations_at_round_places() -> None:
    assert answer({"kind": "leaky_relu"}, [-100, 0, 3]) == [-1, 0, 3]  # slope 0.01
    assert answer({"kind": "elu"}, [-math.log(2), 5]) == [-0.5, 5]  # exp(-log 2) - 1
    assert answer({"kind": "softplus"}, [0]) == [round(math.log(2), 12)]
    assert answer({"kind": "softmax"}, [0, math.log(3)]) == [0.25, 0.75]
    assert answer({"kind": "swiglu"}, [0, math.log(3), 5, 4]) == [0, round(3 * math.log(3), 12)]  # gate first: b a s(a)
    assert answer({"kind": "gelu"}, [1]) == [round((1 + math.erf(math.sqrt(0.5))) / 2, 12)]


@pytest.mark.parametrize(
    ("kind", "given", "z", "y", "wanted"),
    [
        ("squared_error", {}, [[1, 2], [3, 5]], [[1, 0], [0, 5]], (0 + 4 + 9 + 0) / 4),
        ("absolute_error", {}, [[1, 2], [3, 5]], [[1, 0], [0, 5]], (0 + 2 + 3 + 0) / 4),
        ("huber", {"delta": 2.0}, [[1.0], [5.0]], [[0.0], [0.0]], (0.5 + 2 * (5 - 1)) / 2),
        ("binary_cross_entropy", {}, [[0.0], [math.log(3)]], [[1.0], [0.0]], (math.log(2) + math.log(4)) / 2),
        ("hinge", {}, [[0.5], [0.5]], [[1.0], [0.0]], (0.5 + 1.5) / 2),
        ("cross_entropy", {}, [[0.0, math.log(3)]], [0], math.log(4)),  # softmax = 1/4, 3/4
        # smoothing 0.2 of 2 classes: targets 0.9 and 0.1
        ("cross_entropy", {"label_smoothing": 0.2}, [[0.0, math.log(3)]], [0],
         0.9 * math.log(4) + 0.1 * math.log(4 / 3)),
        # weights 1 and 3: (1 * log 4 + 3 * log 4/3) / (1 + 3)
        ("cross_entropy", {"class_weights": [1.0, 3.0]}, [[0.0, math.log(3)]] * 2, [0, 1],
         (math.log(4) + 3 * math.log(4 / 3)) / 4),
        ("kl_divergence", {}, [[0.0, math.log(3)]], [[0.5, 0.5]],
         0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)),
    ],
)  # fmt: skip
def test_losses_by_hand(kind: str, given: dict[str, Any], z: list[Any], y: list[Any], wanted: float) -> None:
    assert bound_loss(loss_of(kind, given), np.array(z, float), np.array(y)).value() == pytest.approx(wanted, abs=1e-12)


def test_padded_steps_count_for_nothing() -> None:
    z, y = np.array([[[1.0], [9.0]], [[2.0], [4.0]]]), np.zeros((2, 2, 1))
    mask = np.array([[1.0, 0.0], [1.0, 1.0]])  # the 9 is padding
    it = bound_loss(loss_of("squared_error", {}), z, y, mask)
    assert it.value() == (1 + 4 + 16) / 3
    assert it.dz[0, 1, 0] == 0


def moved(kind: str, given: dict[str, Any], gradients: list[float], start: float = 1.0) -> list[float]:
    theta, gradient = np.array([start]), np.zeros(1)
    optimizer = optimizer_of(kind, given)
    update = bind_update(optimizer, theta, gradient, slot_arrays(optimizer, theta))
    found = []
    for t, g in enumerate(gradients, 1):
        gradient[0] = g
        update(t, optimizer.learning_rate)
        found.append(round(float(theta[0]), 7))
    return found


def test_optimizers_by_hand() -> None:
    assert moved("sgd", {"learning_rate": 0.1}, [1, 2]) == [0.9, 0.7]
    assert moved("sgd", {"learning_rate": 0.1, "momentum": 0.5}, [1, 2]) == [0.9, 0.65]  # v = 1, then 2.5
    assert moved("sgd", {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True}, [1, 2]) == [0.85, 0.525]  # 1.5, 3.25
    assert moved("sgd", {"learning_rate": 0.1, "weight_decay": 0.5}, [1]) == [0.85]  # g = 1 + 0.5
    assert moved("sgd", {"learning_rate": 0.1, "l1": 0.5}, [1], -1.0) == [-1.05]  # g = 1 - 0.5
    assert moved("sgd", {"learning_rate": 0.1, "clip_value": 0.5}, [-3]) == [1.05]
    assert moved("adagrad", {"learning_rate": 0.1}, [3, 4]) == [0.9, 0.82]  # 3 / 3, then 4 / 5
    assert moved("rmsprop", {"learning_rate": 0.1, "rho": 0.75}, [2]) == [0.8]  # h = 1: 2 / 1
    assert moved("adam", {"learning_rate": 0.1}, [5]) == [0.9]  # the first step is the rate itself
    assert moved("adamw", {"learning_rate": 0.1, "weight_decay": 0.5}, [5]) == [0.85]  # 1 * (1 - 0.05), then - 0.1


def test_clipping_by_norm_keeps_the_direction() -> None:
    theta, gradient = np.zeros(2), np.array([3.0, 4.0])  # length 5
    optimizer = optimizer_of("sgd", {"learning_rate": 1.0, "clip_norm": 1.0})
    bind_update(optimizer, theta, gradient, slot_arrays(optimizer, theta))(1, 1.0)
    assert theta == pytest.approx([-0.6, -0.8], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "steps", "wanted"),
    [
        ({"kind": "constant", "warmup_steps": 3}, [0, 1, 2, 3], [0.25, 0.5, 0.75, 1]),
        ({"kind": "step", "every_epochs": 2, "gamma": 0.5}, [0, 19, 20, 40], [1, 1, 0.5, 0.25]),  # 10 steps an epoch
        ({"kind": "exponential", "gamma": 0.5}, [0, 9, 10, 25], [1, 1, 0.5, 0.25]),
        ({"kind": "cosine"}, [0, 50, 100], [1, 0.5, 0]),
        ({"kind": "cosine", "minimum": 0.2}, [50], [0.6]),
    ],
)
def test_schedules_by_hand(given: dict[str, Any], steps: list[int], wanted: list[float]) -> None:
    schedule: ScheduleSpec = TypeAdapter(Schedule).validate_python(given)
    assert [schedule.factor(step, Pace(10, 100)) for step in steps] == pytest.approx(wanted, abs=1e-12)


def test_a_plateau_lowers_the_rate_after_its_patience() -> None:
    schedule: ScheduleSpec = TypeAdapter(Schedule).validate_python(
        {"kind": "reduce_on_plateau", "patience": 1, "gamma": 0.5}
    )
    state, factors = Plateau(), []
    for loss in (1.0, 0.5, 0.6, 0.6, 0.6, 0.6):
        state = schedule.after_epoch(state, loss)
        factors.append(state.factor)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25]  # two epochs without progress each time


def test_scores_by_hand() -> None:
    answers = np.array([[2.0, 1, 0], [0, 2, 1], [0, 2, 1], [1, 0, 2]])  # says 0, 1, 1, 2
    true = np.array([0, 1, 2, 2])
    found = {name: SCORES[name].function(answers, true) for name in ("accuracy", "precision", "recall", "f1")}
    assert found["accuracy"] == 0.75
    assert found["precision"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    belief, binary = np.array([[0.1], [0.4], [0.4], [0.8]]), np.array([[0.0], [0.0], [1.0], [1.0]])
    assert SCORES["auc"].function(belief, binary) == (1 + 0.5 + 1 + 1) / 4  # of four pairs one is a tie
    z, y = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [6.0]])
    assert SCORES["mae"].function(z, y) == 1
    assert SCORES["rmse"].function(z, y) == pytest.approx(math.sqrt(3))
    assert SCORES["r2"].function(z, y) == pytest.approx(1 - 9 / 14)  # mean 3: 4 + 1 + 9


def test_top_3_counts_the_three_strongest() -> None:
    answers: Array = np.array([[4.0, 3, 2, 1], [4, 3, 2, 1]])
    assert SCORES["top_3_accuracy"].function(answers, np.array([2, 3])) == 0.5


def test_the_best_epoch_is_remembered() -> None:
    best = Best()
    for step, value in enumerate([0.5, 0.4, 0.45, 0.399, float("nan")], 1):
        best = best.after(value, step, False, 0.01)
    assert best == Best(0.4, 2, 3)  # 0.399 is less than 0.01 better


def test_streams_go_on_where_they_ended() -> None:
    spec = TrainingSpec(batch_size=2, stateful=True)
    # 7 windows of a text, 2 streams of 3: the first reads windows 0 1 2, the second 3 4 5; the 7th is left out
    assert epoch_order(spec, 7, 0).tolist() == [0, 3, 1, 4, 2, 5]


def test_an_epochs_order_is_a_permutation_of_its_own() -> None:
    spec = TrainingSpec(seed=3)
    first, again, second = epoch_order(spec, 50, 0), epoch_order(spec, 50, 0), epoch_order(spec, 50, 1)
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist() != second.tolist()


def test_shards_are_as_equal_as_can_be() -> None:
    assert shard_sizes(10, 4) == [3, 3, 2, 2]
    assert shard_sizes(2, 4) == [1, 1]
