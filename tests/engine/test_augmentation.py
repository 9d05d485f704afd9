"""Augmentation: what each one does to rows and targets, and the laws that all of them keep."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from engine_examples import AUGMENTATIONS
from pydantic import TypeAdapter

from service.engine import Epoch, Examples, Recipe, Signature, Training, plan
from service.engine.augmentation import Augmentation, AugmentationSpec, augment
from service.engine.augmentation.warp import warp
from service.engine.contract import Array
from service.engine.randomness import generator
from service.errors import InvalidSpec

ADAPTER: TypeAdapter[AugmentationSpec] = TypeAdapter(Augmentation)
EVERY = [(kind, given, dims) for kind, rows in AUGMENTATIONS.items() for given, dims in rows]
EACH = pytest.mark.parametrize(("kind", "given", "dims"), EVERY, ids=[f"{kind}-{dims}" for kind, _, dims in EVERY])
STRENGTH = {"flip": "probability", "shift": "pixels", "rotate": "degrees", "zoom": "amount", "noise": "deviation",
            "cutout": "pixels", "mixup": "alpha", "jitter": "deviation", "scaling": "deviation",
            "time_mask": "steps"}  # fmt: skip


def made(kind: str, **given: Any) -> AugmentationSpec:
    return ADAPTER.validate_python({"kind": kind, **given})


def rows(dims: tuple[int, ...], count: int = 12, dtype: str = "float32") -> tuple[Array, Array]:
    random = np.random.default_rng(5)
    return random.standard_normal((count, *dims)).astype(dtype), np.eye(count, dtype=dtype)


def changed(each: AugmentationSpec, x: Array, t: Array, seed: int = 1) -> tuple[Array, Array]:
    x, t = x.copy(), t.copy()
    augment((each,), x, t, np.random.default_rng(seed))
    return x, t


@EACH
def test_it_keeps_shape_and_numbers_and_changes_something(kind: str, given: Any, dims: tuple[int, ...]) -> None:
    for dtype in ("float32", "float64"):
        x, t = rows(dims, dtype=dtype)
        y, s = changed(made(kind, **given), x, t)
        assert (y.shape, y.dtype, s.dtype) == (x.shape, x.dtype, t.dtype)
        assert np.isfinite(y).all()
        assert not np.array_equal(x, y)
        assert np.array_equal(s, t) == (kind != "mixup")


@EACH
def test_no_strength_changes_nothing(kind: str, given: Any, dims: tuple[int, ...]) -> None:
    x, t = rows(dims)
    y, s = changed(made(kind, **given | {STRENGTH[kind]: 0}), x, t)
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(t, s)


@EACH
def test_it_does_the_same_however_the_rows_lie_in_memory(kind: str, given: Any, dims: tuple[int, ...]) -> None:
    x, t = rows(dims)
    wanted, _ = changed(made(kind, **given), x, t)
    order = (*range(1, x.ndim), 0)
    lying = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    augment((made(kind, **given),), lying, t.copy(), np.random.default_rng(1))
    np.testing.assert_array_equal(lying, wanted)


@EACH
def test_pieces_of_the_batch_change_no_bit(
    kind: str, given: Any, dims: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, t = rows(dims)
    wanted, _ = changed(made(kind, **given), x, t)
    monkeypatch.setattr("service.engine.augmentation.contract.BAND", 1)
    np.testing.assert_array_equal(changed(made(kind, **given), x, t)[0], wanted)


@EACH
def test_its_spec_survives_json(kind: str, given: Any, dims: tuple[int, ...]) -> None:
    each = made(kind, **given)
    assert ADAPTER.validate_json(ADAPTER.dump_json(each)) == each


# --- each by hand ---------------------------------------------------------------------------------------------------


def test_a_flip_turns_about_half_of_the_images() -> None:
    x, t = rows((3, 4, 2), 1000)
    for direction, turned in (("horizontal", x[:, :, ::-1]), ("vertical", x[:, ::-1])):
        y, _ = changed(made("flip", direction=direction), x, t)
        flipped = (y == turned).all(axis=(1, 2, 3))
        assert 400 < flipped.sum() < 600
        np.testing.assert_array_equal(y[~flipped], x[~flipped])


def test_a_shift_moves_by_every_distance_up_to_its_pixels() -> None:
    x = np.zeros((500, 7, 7, 1), np.float32)
    x[:, 3, 3] = 1
    y, _ = changed(made("shift", pixels=2), x, np.zeros((500, 1)))
    places = {(int(i), int(j)) for _, i, j, _ in zip(*np.nonzero(y), strict=True)}
    assert places == {(i, j) for i in range(1, 6) for j in range(1, 6)}
    assert (y.sum(axis=(1, 2, 3)) == 1).all()


def test_what_comes_in_is_nothing_or_the_edge() -> None:
    x = np.full((40, 6, 6, 2), 3.0, np.float32)
    for kind, given in (("shift", {"pixels": 3}), ("rotate", {"degrees": 45.0}), ("zoom", {"amount": 0.5})):
        bare, _ = changed(made(kind, **given), x, np.zeros((40, 1)))
        assert bare.min() < 1
        edged, _ = changed(made(kind, fill="edge", **given), x, np.zeros((40, 1)))
        np.testing.assert_allclose(edged, 3.0, rtol=1e-6)


@pytest.mark.parametrize(("h", "w"), [(5, 5), (6, 6)])
def test_a_quarter_turn_is_exact(h: int, w: int) -> None:
    x, _ = rows((h, w, 3), 4, "float64")
    y = x.copy()
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])[..., None].repeat(4, axis=2)
    warp(y, quarter, "zero")
    np.testing.assert_allclose(y, np.rot90(x, -1, (1, 2)), atol=1e-12)


def test_a_zoom_by_two_reads_halfway_between_pixels() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0]).repeat(4).reshape(1, 4, 4, 1)  # rows 0, 1, 2, 3; middle 1.5
    warp(x, np.array([[0.5, 0.0], [0.0, 0.5]])[..., None], "zero")
    np.testing.assert_allclose(x[0, :, 0, 0], [0.75, 1.25, 1.75, 2.25])  # 1.5 + (i - 1.5) / 2


@pytest.mark.oracle
def test_a_warp_is_scipys() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x, _ = rows((9, 7, 2), 6, "float64")
    random, y = np.random.default_rng(2), x.copy()
    matrices = random.uniform(-1, 1, (2, 2, 6))
    for fill, mode in (("zero", "grid-constant"), ("edge", "nearest")):
        y = x.copy()
        warp(y, matrices, fill)  # type: ignore[arg-type]
        middle = np.array([4.0, 3.0])
        for i in range(6):
            offset = middle - matrices[:, :, i] @ middle
            for c in range(2):
                wanted = ndimage.affine_transform(x[i, :, :, c], matrices[:, :, i], offset, order=1, mode=mode)
                np.testing.assert_allclose(y[i, :, :, c], wanted, atol=1e-12)


def test_a_cutout_is_a_square_that_may_lie_partly_outside() -> None:
    x = np.ones((2000, 9, 8, 2), np.float32)
    y, _ = changed(made("cutout", pixels=4), x, np.zeros((2000, 1)))
    hidden = (y[..., 0] == 0).sum(axis=(1, 2))
    assert set(hidden) == {a * b for a in (2, 3, 4) for b in (2, 3, 4)}
    np.testing.assert_array_equal(y[..., 0], y[..., 1])


def test_a_time_mask_hides_one_stretch_in_all_channels() -> None:
    x = np.ones((3000, 9, 2), np.float32)
    y, _ = changed(made("time_mask", steps=4), x, np.zeros((3000, 1)))
    hidden = y[..., 0] == 0
    assert set(hidden.sum(axis=1)) == {0, 1, 2, 3, 4}
    borders = (np.diff(hidden.astype(int), axis=1, prepend=0, append=0) == 1).sum(axis=1)
    assert set(borders) == {0, 1}
    assert hidden.any(axis=0).all()
    np.testing.assert_array_equal(y[..., 0], y[..., 1])


def test_a_scaling_has_one_factor_for_each_channel_of_each_row() -> None:
    x, t = rows((6, 3), 4000)
    y, _ = changed(made("scaling", deviation=0.2), x, t[:, :1])
    factor = y / x
    np.testing.assert_allclose(factor, factor[:, :1].repeat(6, axis=1), rtol=1e-5)
    assert factor[:, 0].mean() == pytest.approx(1, abs=0.01)
    assert factor[:, 0].std() == pytest.approx(0.2, abs=0.01)


def test_a_mixture_has_the_targets_of_what_is_in_it() -> None:
    x = np.eye(8, dtype=np.float64).reshape(8, 2, 2, 2)
    t = np.eye(8)
    mixed = augment((made("mixup", alpha=1.0),), x, t, np.random.default_rng(3))
    assert mixed is not None
    assert 0.5 <= mixed.share < 1
    np.testing.assert_allclose(x.reshape(8, 8), t, atol=1e-15)
    np.testing.assert_allclose(t, mixed.share * np.eye(8) + (1 - mixed.share) * np.eye(8)[mixed.partner])


# --- in a training --------------------------------------------------------------------------------------------------


def images(kinds: list[dict[str, Any]], loss: str = "cross_entropy", units: int = 3, **training: Any) -> Recipe:
    layers = [{"kind": "conv2d", "filters": 4, "kernel_size": 3}, {"kind": "flatten"},
              {"kind": "dense", "units": units}]  # fmt: skip
    given = {"epochs": 2, "batch_size": 16, "seed": 3, "augmentation": kinds} | training
    return Recipe.model_validate({"network": {"layers": layers}, "loss": {"kind": loss}, "training": given})


BYTES = Signature((8, 8, 1), "uint8", scale=1 / 255)
ALL: list[dict[str, Any]] = [
    {"kind": "flip"},
    {"kind": "shift"},
    {"kind": "rotate"},
    {"kind": "zoom"},
    {"kind": "noise"},
    {"kind": "cutout", "pixels": 3},
    {"kind": "mixup"},
]


def pictures(count: int = 70) -> Examples:
    random = np.random.default_rng(0)
    return Examples(random.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8), random.integers(0, 3, count))


def test_the_same_seed_gives_the_same_bits_and_the_rows_stay_as_they_were() -> None:
    shas, data = [], pictures()
    before = data.x.copy()
    for seed in (3, 3, 4):
        training = Training(images(ALL, seed=seed, shards=2), BYTES, 3, data)
        list(training)
        shas.append(training.weights_sha256())
    assert shas[0] == shas[1] != shas[2]
    np.testing.assert_array_equal(data.x, before)
    assert data.x.dtype == np.uint8


def still(kinds: list[dict[str, Any]], loss: str = "cross_entropy", units: int = 3, **more: Any) -> Recipe:
    """One epoch that moves no weight to speak of."""
    recipe = images(kinds, loss, units, epochs=1, shuffle=False, **more)
    return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"learning_rate": 1e-30})})


def scores_of(training: Training) -> dict[str, float]:
    return next(event.scores for event in training if isinstance(event, Epoch))


def test_validation_is_never_changed() -> None:
    data = pictures()
    plain, strong = (scores_of(Training(still(kinds), BYTES, 3, data, data)) for kinds in ([], ALL))
    assert plain["val_loss"] == strong["val_loss"]
    assert plain["val_accuracy"] == strong["val_accuracy"]
    assert plain["train_loss"] != strong["train_loss"]


def test_the_training_loss_of_mixtures_is_against_their_own_targets() -> None:
    """The same mixtures given as distributions have the KL divergence that is the cross entropy less the entropy."""
    data = pictures(16)
    told = scores_of(Training(still([{"kind": "mixup", "alpha": 1.0}]), BYTES, 3, data))
    own = np.eye(3)[data.y]
    mixed = scores_of(
        Training(still([{"kind": "mixup", "alpha": 1.0}], "kl_divergence"), BYTES, 3, Examples(data.x, own))
    )
    x, t = np.zeros((16, 1)), own.copy()
    key = (3, "augmentation", 0, 0, 0)
    augment((made("mixup", alpha=1.0),), x, t, generator(*key))
    entropy = -np.sum(t * np.log(np.where(t > 0, t, 1)), axis=1).mean()
    assert told["train_loss"] == pytest.approx(mixed["train_loss"] + entropy, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "y"),
    [("binary_cross_entropy", 1, [0.0, 1.0]), ("squared_error", 1, [0.0, 2.0]), ("kl_divergence", 2, [0.0, 1.0])],
)
def test_mixtures_are_learned_by_every_loss_that_has_them(loss: str, units: int, y: list[float]) -> None:
    targets = np.array(y * 8, np.float32).reshape(-1, 1)
    targets = np.concatenate([targets, 1 - targets], axis=1) if units == 2 else targets
    training = Training(images([{"kind": "mixup"}], loss, units), BYTES, units, Examples(pictures(16).x, targets))
    assert np.isfinite(scores_of(training)["train_loss"])


@pytest.mark.parametrize(
    ("given", "dims", "loss", "place"),
    [
        ({"kind": "flip"}, (8, 8), "cross_entropy", ""),
        ({"kind": "rotate"}, (8,), "cross_entropy", ""),
        ({"kind": "jitter"}, (8, 8, 1), "cross_entropy", ""),
        ({"kind": "time_mask", "steps": 9}, (8, 2), "cross_entropy", "/steps"),
        ({"kind": "shift", "pixels": 8}, (8, 9, 1), "cross_entropy", "/pixels"),
        ({"kind": "cutout", "pixels": 10}, (8, 9, 1), "cross_entropy", "/pixels"),
        ({"kind": "mixup"}, (8,), "hinge", ""),
    ],
)
def test_what_does_not_fit_is_refused_by_the_plan(given: Any, dims: tuple[int, ...], loss: str, place: str) -> None:
    outputs = 1 if loss == "hinge" else 2
    layers = [{"kind": "flatten"}, {"kind": "dense", "units": outputs}]
    recipe = Recipe.model_validate(
        {"network": {"layers": layers}, "loss": {"kind": loss}, "training": {"augmentation": [given]}}
    )
    with pytest.raises(InvalidSpec) as caught:
        plan(recipe, Signature(dims), outputs, 100)
    assert [fault.pointer for fault in caught.value.faults] == ["/training/augmentation/0" + place]


def test_ids_and_second_mixtures_are_refused() -> None:
    layers = [{"kind": "embedding", "units": 3}, {"kind": "flatten"}, {"kind": "dense", "units": 2}]
    ids = {"network": {"layers": layers}, "loss": {"kind": "cross_entropy"}}
    recipe = Recipe.model_validate(ids | {"training": {"augmentation": [{"kind": "noise"}]}})
    with pytest.raises(InvalidSpec):
        plan(recipe, Signature((8,), "int32", vocabulary=9), 2, 100)
    with pytest.raises(InvalidSpec) as caught:
        plan(images([{"kind": "mixup"}] * 2), BYTES, 3, 100)
    assert [fault.pointer for fault in caught.value.faults] == ["/training/augmentation/1"]


def test_the_peak_stays_within_the_plan_and_bytes_stay_bytes() -> None:
    recipe, data = images(ALL, batch_size=64), pictures(20_000)
    needed = plan(recipe, BYTES, 3, len(data)).bytes
    list(Training(recipe.model_copy(update={"training": recipe.training.model_copy(update={"max_steps": 2})}),
                  BYTES, 3, data))  # fmt: skip  # what is loaded once
    tracemalloc.start()
    list(Training(recipe, BYTES, 3, data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + data.x.nbytes + data.y.nbytes < 1.2 * needed
    assert peak < 4 * data.x.size  # no copy of the rows in floats
