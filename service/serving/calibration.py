"""Whether probabilities are what they say: of all answers given with 0.8, eight in ten should be right."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.tensors import Array

BINS = 15
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.1, 20.0, 121))  # 4.5 % apart
_TINY = 1e-300


def tempered(y: Array, temperature: float) -> Array:
    """Probabilities as if the logits had been divided by the temperature: p^(1/T), normed. Above 1 is less sure.

    y: (rows, classes) probabilities, or (rows, 1), the second of two classes'.
    """
    p = y.astype(np.float64)
    if p.shape[1:] == (1,):
        return tempered(np.concatenate([1 - p, p], axis=1), temperature)[:, 1:]
    raised = p ** (1 / temperature)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class Calibration:
    """The expected calibration error of rows that come piece by piece, and the temperature that makes them likeliest.

    ECE: the mean over all rows of |share of right answers - mean confidence| of their bin of confidence, 15 equal ones.
    Guo, Pleiss, Sun and Weinberger 2017. `temperature`: the one to report beside 1, else the best of `TEMPERATURES`.
    """

    def __init__(self, temperature: float | None = None) -> None:
        self._temperatures = (1.0, *(TEMPERATURES if temperature is None else (temperature,)))
        self._loss = np.zeros(len(self._temperatures))
        self._rows, self._right, self._sure = (np.zeros((len(self._temperatures), BINS)) for _ in range(3))

    def add(self, truth: Array, y: Array) -> None:
        """truth: (rows,) classes by number; y: (rows, classes) probabilities."""
        right = (y.argmax(axis=1) == truth).astype(np.float64)
        every = np.arange(len(truth))
        for at, temperature in enumerate(self._temperatures):
            p = tempered(y, temperature)
            self._loss[at] -= np.log(np.maximum(p[every, truth], _TINY)).sum()
            sure = p.max(axis=1)
            place = np.minimum((sure * BINS).astype(np.intp), BINS - 1)
            self._rows[at] += np.bincount(place, minlength=BINS)
            self._right[at] += np.bincount(place, right, BINS)
            self._sure[at] += np.bincount(place, sure, BINS)

    @property
    def rows(self) -> int:
        """How many there were."""
        return int(self._rows[0].sum())

    def report(self) -> dict[str, Any]:
        """The error as answered and at the temperature, and as answered each bin that holds rows."""
        best = 1 + int(self._loss[1:].argmin())
        errors = np.abs(self._right - self._sure).sum(axis=1) / self._rows.sum(axis=1)
        bins = [
            {"confidence": float(sure / rows), "accuracy": float(right / rows), "rows": int(rows)}
            for rows, right, sure in zip(self._rows[0], self._right[0], self._sure[0], strict=True) if rows
        ]  # fmt: skip
        return {
            "error": float(errors[0]), "temperature": self._temperatures[best], "tempered_error": float(errors[best]),
            "bins": bins,
        }  # fmt: skip
