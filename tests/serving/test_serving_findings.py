"""Confusion and worst rows, checked with a pencil and against scikit-learn's counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.data import Part
from service.serving.findings import confusion, findings

Array = NDArray[Any]


def part(x: Any, y: Any) -> Part:
    return Part(np.array(x, np.float32), np.array(y), np.arange(100, 100 + len(x)))


def test_classes_taken_for_each_other_are_counted() -> None:
    # truth a, a, b, c; answered a, b, b, b
    y = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.0, 0.8, 0.2]])
    found = confusion(np.array([0, 0, 1, 2]), y, ["a", "b", "c"])
    assert found == {"classes": ["a", "b", "c"], "counts": [[1, 1, 0], [0, 1, 0], [0, 1, 0]]}


def test_the_worst_row_is_the_one_whose_true_class_was_least_believed() -> None:
    answers = {1.0: [0.9, 0.1], 2.0: [0.25, 0.75], 3.0: [0.5, 0.5]}

    def network(x: Array, _: object) -> Array:
        return np.array([answers[float(row[0])] for row in x])

    found = findings(network, part([[1], [2], [3]], [0, 0, 1]), "class", ["no", "yes"], "validation")
    rows = found["worst_rows"]["rows"]
    # row 101: -ln 0.25 = 1.386; row 102: -ln 0.5 = 0.693; row 100: -ln 0.9 = 0.105
    assert [row["row"] for row in rows] == [101, 102, 100]
    assert [row["loss"] for row in rows] == pytest.approx([math.log(4), math.log(2), -math.log(0.9)])
    assert rows[0] == {"row": 101, "loss": rows[0]["loss"], "truth": "no", "answer": "yes", "probability": 0.75}
    assert found["confusion"] == {"part": "validation", "classes": ["no", "yes"], "counts": [[1, 1], [1, 0]]}


def test_yes_or_no_is_two_classes() -> None:
    def network(x: Array, _: object) -> Array:
        return x  # the row is its own probability of yes

    found = findings(network, part([[0.9], [0.2], [0.6]], [[1.0], [1.0], [0.0]]), "binary", ["no", "yes"], "test")
    assert found["confusion"]["counts"] == [[0, 1], [1, 1]]
    assert [row["row"] for row in found["worst_rows"]["rows"]] == [101, 102, 100]
    assert found["worst_rows"]["rows"][0]["probability"] == pytest.approx(0.8), "of its answer, no"


def test_rows_of_labels_are_ranked_by_all_of_them() -> None:
    y = [[0.9, 0.5], [0.2, 0.1]]
    found = findings(lambda x, _: x, part(y, [[1.0, 0.0], [0.0, 1.0]]), "binary", ["red", "big"], "test")
    # row 100: -(ln 0.9 + ln 0.5) / 2 = 0.399; row 101: -(ln 0.8 + ln 0.1) / 2 = 1.263
    first, second = found["worst_rows"]["rows"]
    assert (first["row"], first["truth"], first["answer"]) == (101, ["big"], [])
    assert (second["row"], second["truth"], second["answer"]) == (100, ["red"], ["red", "big"])
    assert [first["loss"], second["loss"]] == pytest.approx([1.2629, 0.3993], abs=1e-4)
    assert "confusion" not in found


def test_numbers_are_ranked_by_their_squared_error() -> None:
    found = findings(lambda x, _: x, part([[1.0], [5.0], [2.0]], [[1.0], [2.0], [0.0]]), "number", None, "test")
    assert [(row["row"], row["loss"]) for row in found["worst_rows"]["rows"]] == [(101, 9.0), (102, 4.0), (100, 0.0)]
    assert found["worst_rows"]["rows"][0]["answer"] == 5.0
    assert "confusion" not in found


def test_too_many_classes_are_not_tabulated_but_rows_are_still_ranked() -> None:
    classes = [str(i) for i in range(101)]
    found = findings(lambda x, _: np.eye(101)[x[:, 0].astype(int)], part([[i] for i in range(50)], list(range(50))),
                     "class", classes, "test")  # fmt: skip
    assert "confusion" not in found
    assert len(found["worst_rows"]["rows"]) == 20


@pytest.mark.oracle
def test_counts_are_scikit_learns() -> None:
    from sklearn.metrics import confusion_matrix

    random = np.random.default_rng(1)
    truth, y = random.integers(0, 7, 1000), random.random((1000, 7))
    ours = confusion(truth, y, list("abcdefg"))["counts"]
    assert ours == confusion_matrix(truth, y.argmax(axis=1), labels=range(7)).tolist()
