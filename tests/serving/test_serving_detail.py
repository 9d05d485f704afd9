"""What an answer says when it is asked for more: logits, layers, no table of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_models import opened, points_model, publish

from service.errors import InvalidSpec, TooLarge
from service.serving import Detail, Registry, Served, detailed

ROWS = [[2.0, 1.0], [0.0, 3.0]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with opened(tmp_path) as store:
        yield Registry(store, 0).get(publish(store, points_model(tmp_path, np.eye(2))))


def test_logits_and_layers_stand_beside_the_answer(served: Served) -> None:
    first, second = detailed(served, ROWS, Detail(logits=True, layers=(0, "dense")))
    assert first["logits"] == {"left": 2.0, "right": 1.0}  # W is the identity
    assert second["logits"] == {"left": 0.0, "right": 3.0}
    assert first["layers"]["0"] == first["layers"]["dense"]
    assert first["layers"]["0"] == pytest.approx([first["probabilities"]["left"], first["probabilities"]["right"]])


def test_the_table_of_probabilities_may_be_left_out(served: Served) -> None:
    assert [each.keys() for each in detailed(served, ROWS, Detail(probabilities=False))] == [
        {"label", "probability"}
    ] * 2


def test_unknown_layers_are_told_with_those_there_are(served: Served) -> None:
    with pytest.raises(InvalidSpec) as caught:
        detailed(served, ROWS, Detail(layers=(1, "dence")))
    assert [(fault.pointer, fault.allowed) for fault in caught.value.faults] == [
        ("/layers/0", ("dense",)),
        ("/layers/1", ("dense",)),
    ]
    assert caught.value.faults[1].hint == "Did you mean 'dense'?"


def test_more_numbers_of_layers_than_an_answer_may_have_are_refused(served: Served) -> None:
    with pytest.raises(TooLarge):
        detailed(served, ROWS * 1_000_001, Detail(layers=(0,)))
