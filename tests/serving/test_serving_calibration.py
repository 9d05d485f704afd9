"""Calibration: by hand, and on made-up rows whose true probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest

from service.serving.calibration import Calibration, tempered


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_the_error_is_how_far_confidence_is_from_being_right() -> None:
    calibration = Calibration()
    # four answers of confidence 0.9, three of them right; two of 0.6, both right
    y = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    calibration.add(np.array([0, 0, 0, 1]), y[:4])
    calibration.add(np.array([1, 1]), y[4:])
    report = calibration.report()
    assert report["error"] == pytest.approx((4 * abs(0.75 - 0.9) + 2 * abs(1 - 0.6)) / 6)
    assert report["bins"] == [
        {"confidence": pytest.approx(0.6), "accuracy": 1.0, "rows": 2},
        {"confidence": pytest.approx(0.9), "accuracy": 0.75, "rows": 4},
    ]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 9.0])
def test_tempering_divides_the_logits(temperature: float) -> None:
    logits = np.random.default_rng(0).standard_normal((50, 4)) * 5
    np.testing.assert_allclose(tempered(softmax(logits), temperature), softmax(logits / temperature), atol=1e-12)
    both = softmax(logits[:, :2])
    np.testing.assert_allclose(tempered(both[:, 1:], temperature), softmax(logits[:, :2] / temperature)[:, 1:])


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_found_is_the_one_by_which_rows_were_made_too_sure(too_sure: float) -> None:
    random = np.random.default_rng(1)
    true = softmax(random.standard_normal((20_000, 5)) * 2)
    truth = (true.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    calibration = Calibration()
    calibration.add(truth, tempered(true, 1 / too_sure))
    report = calibration.report()
    assert report["temperature"] == pytest.approx(too_sure, rel=0.08)
    assert report["tempered_error"] < 0.02
    assert report["tempered_error"] <= report["error"] + 1e-3


def test_a_given_temperature_is_told_instead() -> None:
    calibration = Calibration(2.0)
    calibration.add(np.array([0]), np.array([[0.9, 0.1]]))
    report = calibration.report()
    assert report["temperature"] == 2.0
    assert report["tempered_error"] == pytest.approx(1 - 0.75)  # 0.9^(1/2) = 3 times 0.1^(1/2)
