"""Which networks may take rows of any length, and what the others are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from service import storage
from service.engine import Loss, NetworkSpec, Optimizer, Recipe, Signature, TrainingSpec
from service.errors import InvalidSpec, TooLarge
from service.specs import admit, parse
from service.specs.sequences import check_sequences

LSTM = {"kind": "lstm", "units": 3}
LAST = LSTM | {"output": "last"}
SAME = {"kind": "conv1d", "filters": 2, "kernel_size": 3, "padding": "same"}
END = {"kind": "dense", "units": 2, "activation": "softmax"}


def check(*layers: Any, **training: Any) -> None:
    recipe = Recipe(
        network=NetworkSpec.model_validate({"layers": layers}),
        loss=TypeAdapter[Any](Loss).validate_python({"kind": "cross_entropy"}),
        optimizer=TypeAdapter[Any](Optimizer).validate_python({"kind": "sgd", "learning_rate": 0.1}),
        training=TrainingSpec.model_validate(training),
    )
    check_sequences(recipe, Signature((9, 2), timed=True), 2, 10)


@pytest.mark.parametrize(
    "layers",
    [
        [LAST, END],
        [LSTM, {"kind": "layer_norm"}, {"kind": "global_max_pool"}, END],
        [SAME, {"kind": "batch_norm"}, SAME, {"kind": "global_average_pool"}, END],
        [{"kind": "residual", "layers": [SAME]}, {"kind": "bidirectional", "layer": LAST}, END],
    ],
    ids=["recurrent", "pooled", "convolved", "both ways"],
)
def test_layers_that_tell_steps_from_padding_are_taken(layers: list[Any]) -> None:
    check(*layers)


@pytest.mark.parametrize(
    ("layers", "pointers", "hint"),
    [
        ([{"kind": "flatten"}, END], ["/0"], "global_average_pool"),
        ([SAME | {"padding": "valid"}, {"kind": "max_pool1d", "pool_size": 2}, LAST, END], ["/0", "/1"], '"same"'),
        ([SAME | {"strides": 2}, LAST, END], ["/0"], "strides"),
        ([{"kind": "residual", "layers": [SAME | {"kernel_size": 1, "padding": "valid"}]}, LAST, END],
         ["/0/layers/0"], '"same"'),
        ([{"kind": "reshape", "shape": [18]}, END], ["/0"], "leave it out"),
        ([LSTM, END], ["/0/output"], '"output": "last"'),
        ([{"kind": "bidirectional", "layer": LSTM}, END], ["/0/layer/output"], '"output": "last"'),
        ([SAME, END], ["/1"], "global_average_pool"),
    ],
)  # fmt: skip
def test_a_layer_that_would_take_padding_for_data_is_named(layers: list[Any], pointers: list[str], hint: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check(*layers)
    assert [fault.pointer.removeprefix("/network/layers") for fault in caught.value.faults] == pointers
    assert hint in (caught.value.faults[0].hint or "")


def test_rows_of_any_length_are_no_stream() -> None:
    with pytest.raises(InvalidSpec) as caught:
        check(LAST, END, stateful=True, shuffle=False)
    assert [fault.pointer for fault in caught.value.faults] == ["/training/stateful"]


def test_what_padding_costs_is_planned_and_told_at_the_door(tmp_path: Path) -> None:
    rows = [{"s": [0.5] * length, "y": "ab"[length % 2]} for length in (2, 3, 4, 5, 50_000)]
    spec = {"dataset": {"rows": rows}, "network": {"layers": [LAST, END]}, "training": {"batch_size": 4}}
    asked = parse({"type": "train", "spec": spec})
    store = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
    try:
        plan = admit(asked, store, 2_000_000_000).plan
        assert plan.bytes > 4 * 50_000 * 4, "four rows of a batch, all as long as the longest"
        assert any("80% of all steps are padding" in warning for warning in plan.warnings)
        with pytest.raises(TooLarge) as caught:
            admit(asked, store, 1_000_000)
    finally:
        store.close()
    assert caught.value.hint == "all rows are padded to 50,000 steps: cut, split or leave out the longest"
