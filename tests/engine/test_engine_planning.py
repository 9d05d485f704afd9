"""The dry run: what a recipe needs, and every fault at its place."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from pydantic import ValidationError

from service.engine import NetworkSpec, Recipe, Signature, plan, resolve
from service.errors import InvalidSpec, TooLarge


def recipe(*layers: dict[str, Any], **more: Any) -> Recipe:
    given = {"network": {"layers": list(layers)}, "loss": {"kind": "cross_entropy"}, **more}
    return Recipe.model_validate(given)


def dense(units: int, activation: Any = None) -> dict[str, Any]:
    return {"kind": "dense", "units": units, "activation": activation}


def faults(spec: Recipe, signature: Signature, outputs: int = 3) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        plan(spec, signature, outputs, 100)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def test_a_plan_tells_shapes_and_parameters() -> None:
    it = plan(recipe({"kind": "flatten"}, dense(16, "relu"), dense(3, "softmax")), Signature((4, 4), "uint8"), 3, 100)
    assert [(each.index, each.kind, each.shape_in, each.shape_out, each.parameters) for each in it.layers] == [
        (0, "flatten", (4, 4), (16,), 0),
        (1, "dense", (16,), (16,), 16 * 16 + 16),
        (2, "dense", (16,), (3,), 16 * 3 + 3),
    ]
    assert it.parameters == 272 + 51
    assert it.warnings == ()


def test_all_faults_come_at_once_with_their_places() -> None:
    spec = recipe(
        dense(5, "swiglu"), dense(4), metrics=["accuracy", "rmse"],
        loss={"kind": "cross_entropy", "class_weights": [1.0, 2.0]},
    )  # fmt: skip
    found = faults(spec, Signature((4,)))
    assert set(found) == {"/network/layers/0", "/loss/class_weights", "/metrics/1"}
    assert "odd" in found["/network/layers/0"]


def test_a_fault_inside_a_block_has_its_own_place() -> None:
    block = {"kind": "residual", "layers": [dense(4), {"kind": "reshape", "shape": [3]}]}
    assert list(faults(recipe(block, dense(3)), Signature((4,)))) == ["/network/layers/0/layers/1/shape"]


def test_a_block_that_changes_the_shape_is_refused() -> None:
    block = {"kind": "residual", "layers": [dense(5)]}
    assert "keep the shape" in faults(recipe(block, dense(3)), Signature((4,)))["/network/layers/0/layers"]


def test_the_last_layer_must_give_what_the_loss_needs() -> None:
    found = faults(recipe(dense(8, "relu"), dense(4)), Signature((4,)))
    assert "3 classes needs 3" in found["/network/layers/1/units"]
    found = faults(recipe(dense(3)), Signature((4, 4)))
    assert "/network/layers/0" in found


def test_numbers_are_wanted_where_ids_come() -> None:
    found = faults(recipe(dense(3)), Signature((4,), "int32", vocabulary=10))
    assert "ids of a vocabulary" in found["/network/layers/0"]


def test_a_doubtful_end_is_a_warning() -> None:
    it = plan(recipe(dense(3, "relu")), Signature((4,)), 3, 100)
    assert any("logits" in warning for warning in it.warnings)


def warned(*layers: dict[str, Any], rows: int = 100, **more: Any) -> list[str]:
    return list(plan(recipe(*layers, **more), Signature((4,)), 3, rows).warnings)


@pytest.mark.parametrize(("rows", "size", "doubted"), [(100, 1, 1), (97, 32, 1), (1, 32, 2), (100, 32, 0), (96, 32, 0)])
def test_a_batch_of_one_row_has_no_variance_to_norm_by(rows: int, size: int, doubted: int) -> None:
    layers = dense(8), {"kind": "batch_norm"}, dense(3)
    assert len(warned(*layers, rows=rows, training={"batch_size": size})) == doubted
    lone = warned(dense(8), {"kind": "layer_norm"}, dense(3), rows=rows, training={"batch_size": size})
    assert not any("variance" in text for text in lone)


def test_a_picture_has_places_to_norm_over_even_alone() -> None:
    layers = {"kind": "batch_norm"}, {"kind": "flatten"}, dense(3)
    assert plan(recipe(*layers, training={"batch_size": 1}), Signature((4, 4, 2)), 3, 100).warnings == ()


def test_a_clip_without_channels_is_not_taken_for_a_picture_in_silence() -> None:
    conv = {"kind": "conv2d", "filters": 2, "kernel_size": 3}
    for dims, doubted in (((8, 16, 16), 1), ((16, 16, 3), 0)):
        told = plan(recipe(conv, {"kind": "flatten"}, dense(3)), Signature(dims), 3, 100).warnings
        assert sum("the 3d kind" in text for text in told) == doubted


def test_a_score_that_is_always_one_is_told() -> None:
    assert warned(dense(3), metrics=["top_3_accuracy", "accuracy"]) == ["top_3_accuracy of 3 classes is always 1"]


def test_a_batch_size_that_is_not_used_is_told() -> None:
    whole: Any = {"optimizer": {"kind": "gradient_descent"}}
    assert len(warned(dense(3), training={"batch_size": 16}, **whole)) == 1
    assert warned(dense(3), training={"epochs": 2}, **whole) == []
    assert warned(dense(3), training={"batch_size": 100}, **whole) == []


def test_an_unknown_activation_gets_the_allowed_words() -> None:
    with pytest.raises(ValidationError) as caught:
        recipe(dense(3, "relo"))
    error = caught.value.errors()[0]
    assert error["loc"] == ("network", "layers", 0, "dense", "activation")
    assert "'relu'" in error["ctx"]["expected_tags"]


@pytest.mark.parametrize("given", [{"units": "7"}, {"units": True}, {"units": 0}, {"units": 2.0}, {"unit": 7}])
def test_a_field_is_strict(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NetworkSpec.model_validate({"layers": [{"kind": "dense", **given}]})


def test_kind_is_required_in_the_schema() -> None:
    for name, schema in Recipe.model_json_schema()["$defs"].items():
        if "kind" in schema.get("properties", {}):
            assert "kind" in schema["required"], name
            assert schema["description"], name


def test_a_network_too_large_is_refused_before_a_byte_is_allocated() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge) as caught:
        plan(recipe(dense(10**9), dense(10**9), dense(3)), Signature((784,)), 3, 100, max_bytes=10**9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert caught.value.faults[0].pointer == "/network/layers/1"


def test_the_resolved_recipe_says_what_was_left_open() -> None:
    spec = resolve(recipe(dense(3), training={"epochs": 100, "batch_size": 4096}), Signature((4,)), 3, 100_000)
    assert spec.training.shards == 8
    assert spec.training.log_every == 2
    assert spec.metrics == ("accuracy",)
    assert resolve(spec, Signature((4,)), 3, 100_000) == spec
