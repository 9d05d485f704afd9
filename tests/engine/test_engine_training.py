"""A training: its events, its end, and going on from anywhere as if nothing had been."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from service.engine import (
    Epoch,
    Event,
    Examples,
    Finished,
    Improved,
    Measured,
    Recipe,
    Signature,
    Started,
    Tick,
    Training,
)
from service.engine import training as training_module
from service.engine.contract import Array
from service.errors import Diverged, InvalidSpec

LAYERS = [
    {"kind": "dense", "units": 8, "activation": "relu"},
    {"kind": "dropout", "rate": 0.25},
    {"kind": "dense", "units": 3, "activation": "softmax"},
]
SIGNATURE = Signature((5,))


def rows(count: int, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, 5)).astype(np.float32)
    return Examples(x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0))


def recipe(**training: Any) -> Recipe:
    optimizer = training.pop("optimizer", {"kind": "adam", "learning_rate": 0.01})
    loss = training.pop("loss", {"kind": "cross_entropy"})
    given = {"epochs": 3, "batch_size": 8, "seed": 1, **training}
    return Recipe.model_validate(
        {"network": {"layers": LAYERS}, "loss": loss, "optimizer": optimizer, "training": given}
    )


def train(spec: Recipe, count: int = 61) -> Training:
    return Training(spec, SIGNATURE, 3, rows(count), rows(20, 1), rows(20, 2))


def steady(event: Event) -> Any:
    """What must be equal between two runs: everything but speed."""
    if isinstance(event, Measured):
        return {name: (s.tolist(), v.tolist()) for name, (s, v) in event.series.items() if name != "rows_per_s"}
    if isinstance(event, Epoch):
        return (event.epoch, event.step, {k: v for k, v in event.scores.items() if k != "rows_per_s"})
    return event


def test_the_stream_tells_start_epochs_and_end_in_order() -> None:
    events = list(train(recipe()))
    assert isinstance(events[0], Started)
    assert events[0].parameters == 5 * 8 + 8 + 8 * 3 + 3
    assert (events[0].steps_per_epoch, events[0].total_steps) == (8, 24)  # 61 rows, 8 a batch: 7 whole and one of 5
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [(event.epoch, event.step) for event in epochs] == [(1, 8), (2, 16), (3, 24)]
    assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"} <= set(epochs[0].scores)
    assert isinstance(events[-1], Finished)
    assert events[-1].stopped_by == "epochs"
    assert set(events[-1].scores) == {"test_loss", "test_accuracy"}
    assert any(isinstance(event, Improved) for event in events)


def test_batch_losses_come_at_the_steps_that_the_spec_says() -> None:
    seen = [
        event.series["batch_loss"]
        for event in train(recipe(log_every=5))
        if isinstance(event, Measured)
        if "batch_loss" in event.series
    ]
    assert np.concatenate([steps for steps, _ in seen]).tolist() == [5, 10, 15, 20]


@pytest.mark.parametrize(
    "spec",
    [
        recipe(),
        recipe(shards=3),
        recipe(loss={"kind": "cross_entropy", "class_weights": [1.0, 2.0, 3.0], "label_smoothing": 0.1}),
        recipe(optimizer={"kind": "sgd", "momentum": 0.9, "schedule": {"kind": "reduce_on_plateau", "patience": 0}}),
        recipe(optimizer={"kind": "rmsprop", "momentum": 0.5, "schedule": {"kind": "cosine", "warmup_steps": 3}}),
        recipe(early_stopping={"patience": 1}, epochs=6),
        recipe(augmentation=[{"kind": "noise", "deviation": 0.2}]),
        recipe(max_steps=11),
    ],
    ids=["plain", "shards", "weights", "plateau", "cosine", "early-stopping", "augmentation", "max-steps"],
)
def test_a_training_goes_on_from_any_event_to_the_same_bits(spec: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "TICK_S", 0.0)  # look up after every block of steps
    monkeypatch.setattr("service.engine.program.MOST", 2)
    whole = train(spec)
    states: list[tuple[dict[str, Array], str]] = []
    told = []
    for event in whole:
        told.append(event)
        arrays, meta = whole.state()
        states.append((arrays, json.dumps(meta)))
    assert sum(isinstance(event, Tick) for event in told) > 5
    for place, (arrays, text) in enumerate(states):
        again = Training(spec, SIGNATURE, 3, rows(61), rows(20, 1), rows(20, 2), state=(arrays, json.loads(text)))
        rest = list(again)
        assert again.weights_sha256() == whole.weights_sha256(), f"after event {place}"
        assert again.weights_sha256(best=False) == whole.weights_sha256(best=False)
        wanted = [steady(event) for event in told if isinstance(event, Epoch | Finished)]
        found = [steady(event) for event in rest if isinstance(event, Epoch | Finished)]
        assert found == wanted[len(wanted) - len(found) :]
        points = _points(told[: place + 1]) | _points(rest)
        assert points == _points(told), f"a hole in the curve after event {place}"


def _points(events: list[Event]) -> dict[tuple[str, int], float]:
    found: dict[tuple[str, int], float] = {}
    for event in events:
        if isinstance(event, Measured):
            for name, (steps, values) in event.series.items():
                if name != "rows_per_s":
                    found |= {(name, step): value for step, value in zip(steps.tolist(), values.tolist(), strict=True)}
    return found


def test_looking_up_more_often_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rare = train(recipe())
    seldom = [steady(event) for event in rare if isinstance(event, Epoch)]
    monkeypatch.setattr(training_module, "TICK_S", 0.0)
    often = train(recipe())
    assert [steady(event) for event in often if isinstance(event, Epoch)] == seldom
    assert often.weights_sha256() == rare.weights_sha256()


def test_the_best_weights_are_kept_and_scored() -> None:
    training = train(recipe(epochs=30, optimizer={"kind": "sgd", "learning_rate": 3.0}))
    events = list(training)
    losses = {event.step: event.scores["val_loss"] for event in events if isinstance(event, Epoch)}
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.best_step == min(losses, key=lambda step: losses[step])
    assert end.best_step < 30 * 8, "the test needs a training that gets worse"
    again = Training(recipe(epochs=1), SIGNATURE, 3, rows(61), rows(20, 1), initial=training.weights())
    assert again._evaluator.score(rows(20, 1), ())["loss"] == pytest.approx(losses[end.best_step], rel=1e-5)


@pytest.mark.parametrize(("smoothing", "shards"), [(0.0, 1), (0.1, 1), (0.0, 2)])
def test_a_batch_of_classes_without_weight_teaches_nothing(smoothing: float, shards: int) -> None:
    loss = {"kind": "cross_entropy", "class_weights": [0.0, 0.0, 1.0], "label_smoothing": smoothing}
    spec = recipe(loss=loss, batch_size=2, shards=shards, shuffle=False)
    data = rows(40)
    training = Training(spec, SIGNATURE, 3, Examples(data.x, np.sort(data.y)))  # whole batches are of the first class
    first = next(event for event in training if isinstance(event, Epoch))
    assert 0 < first.scores["train_loss"] < 10
    assert all(np.isfinite(each).all() for each in training.weights().values())


def test_early_stopping_waits_as_long_as_it_is_told() -> None:
    training = train(
        recipe(epochs=200, early_stopping={"patience": 2}, optimizer={"kind": "sgd", "learning_rate": 1.0})
    )
    events = list(training)
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.stopped_by == "early_stopping"
    assert end.step == end.best_step + 3 * 8  # patience 2: the third epoch without progress ends it


def test_a_run_can_be_bounded_in_steps_and_in_time() -> None:
    end = list(train(recipe(max_steps=11)))[-1]
    assert isinstance(end, Finished)
    assert (end.stopped_by, end.step) == ("steps", 11)
    end = list(train(recipe(epochs=1_000_000, max_seconds=0.05)))[-1]
    assert isinstance(end, Finished)
    assert end.stopped_by == "time"


def test_a_loss_that_is_no_number_names_step_layer_and_cure() -> None:
    with pytest.raises(Diverged) as caught:
        list(train(recipe(optimizer={"kind": "sgd", "learning_rate": 1e6}, epochs=100)))
    assert caught.value.step is not None
    assert 1 < caught.value.step < 800
    assert caught.value.layer in ("/network/layers/0", "/network/layers/2")
    assert "learning rate" in (caught.value.hint or "")


def test_weights_spoiled_by_the_last_step_are_no_success() -> None:
    spec = recipe(optimizer={"kind": "adam", "epsilon": 1e-300}, epochs=1, batch_size=61)  # 0 in float32: 0 / 0
    with pytest.raises(Diverged, match="a weight stopped being a number at step 1"):
        list(train(spec))


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_shards_add_up_to_the_whole_batch(shards: int) -> None:
    layers = [LAYERS[0], LAYERS[2]]

    def weights(count: int) -> dict[str, Array]:
        spec = recipe(shards=count, epochs=1, optimizer={"kind": "sgd", "learning_rate": 0.5})
        spec = Recipe.model_validate(spec.model_dump() | {"network": {"layers": layers}, "dtype": "float64"})
        training = Training(spec, SIGNATURE, 3, rows(61))
        list(training)
        return training.weights()

    whole, cut = weights(1), weights(shards)
    for name, array in whole.items():
        np.testing.assert_allclose(cut[name], array, rtol=1e-12, atol=1e-13)


def test_uint8_rows_are_scaled_as_the_signature_says() -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 5)).astype(np.uint8)
    y = (x[:, 0] > 127).astype(np.int32) + (x[:, 1] > 127)
    as_bytes = Training(recipe(), Signature((5,), "uint8", 1 / 255, -0.5), 3, Examples(x, y))
    as_numbers = Training(recipe(), SIGNATURE, 3, Examples((x * np.float32(1 / 255) + np.float32(-0.5)), y))
    list(as_bytes)
    list(as_numbers)
    for name, array in as_bytes.weights().items():
        np.testing.assert_allclose(array, as_numbers.weights()[name], rtol=1e-4, atol=1e-5)


def test_gradient_descent_takes_all_rows_at_once() -> None:
    training = train(recipe(optimizer={"kind": "gradient_descent"}, epochs=4))
    started = next(iter(training))
    assert isinstance(started, Started)
    assert started.steps_per_epoch == 1
    assert training.recipe.training.batch_size == 61


def test_weights_that_do_not_fit_are_all_named() -> None:
    wrong = {"0.weight": np.zeros((8, 4)), "0.bias": np.zeros(8), "9.bias": np.zeros(1)}
    with pytest.raises(InvalidSpec) as caught:
        Training(recipe(), SIGNATURE, 3, rows(10), initial=wrong)
    text = " ".join(fault.message for fault in caught.value.faults)
    for name in ("0.weight", "2.weight", "2.bias", "9.bias"):
        assert name in text


def test_memory_does_not_grow_from_step_to_step() -> None:
    import tracemalloc

    training = train(recipe(epochs=400, log_every=10_000))
    stream = iter(training)
    sizes = []
    tracemalloc.start()
    for event in stream:
        if isinstance(event, Epoch) and event.epoch in (100, 400):
            sizes += [tracemalloc.get_traced_memory()[0]]
    tracemalloc.stop()
    assert sizes[1] - sizes[0] < 20_000  # 2,400 steps lie between
