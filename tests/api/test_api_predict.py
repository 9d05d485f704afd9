"""Predictions in every form of body: the same rows get the same answer, and what does not fit is told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, problem, serving, train_spec
from test_api_models import trained

pytestmark = pytest.mark.anyio
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]]
RAW, NPY = "application/octet-stream", "application/x-npy"


def saved(array: Any, **options: Any) -> bytes:
    """As NumPy saves it."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


async def post(api: Api, ref: str, body: bytes, kind: str, accept: str = "*/*") -> Any:
    headers = {"Content-Type": kind, "Accept": accept}
    return await api.http.post(f"/v1/models/{ref}/predict", content=body, headers=headers)


async def test_rows_as_bytes_are_answered_as_rows_in_json(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        rows = np.array(FLOWERS, "<f4")
        told = (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": rows.tolist()})).json()
        fortran = np.asfortranarray(rows.astype("<f8"))
        for body, kind in ((rows.tobytes(), RAW), (saved(rows), NPY), (saved(fortran), NPY)):
            answer = await post(api, ref, body, kind)
            assert answer.json() == told
        named = [p["probabilities"] for p in told["predictions"]]
        expected = [[each[name] for name in ("setosa", "versicolor", "virginica")] for each in named]
        raw = await post(api, ref, rows.tobytes(), RAW, RAW)
        assert (raw.headers["content-type"], raw.headers["x-model"]) == (RAW, ref)
        assert np.frombuffer(raw.content, "<f4").reshape(2, 3).tolist() == expected
        array = np.load(io.BytesIO((await post(api, ref, rows.tobytes(), RAW, NPY)).content))
        assert (array.dtype, array.tolist()) == (np.float32, expected)
        from_json = await post(api, ref, json.dumps({"rows": rows.tolist()}).encode(), "application/json", RAW)
        assert from_json.content == raw.content


async def test_numbers_and_two_classes_come_as_bytes_in_their_own_units(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        number = train_spec(
            dataset={"sample": "iris", "features": ["sepal_length", "sepal_width"], "target": "petal_length"},
            network={"layers": [{"kind": "dense", "units": 1}]}, loss={"kind": "squared_error"},
        )  # fmt: skip
        two = train_spec(
            dataset={"sample": "xor", "target": "label"}, loss={"kind": "binary_cross_entropy"},
            network={"layers": [{"kind": "dense", "units": 1, "activation": "sigmoid"}]},
        )  # fmt: skip
        for spec in (number, two):
            ref = await trained(api, **{key: value for key, value in spec.items() if key != "training"})
            rows = np.array([[5.0, 3.0], [0.25, 1.5], [-1, 2]], "<f4")
            told = (await post(api, ref, rows.tobytes(), RAW)).json()["predictions"]
            values = np.frombuffer((await post(api, ref, rows.tobytes(), RAW, RAW)).content, "<f4").reshape(3, -1)
            if "value" in told[0]:
                expected = [[each["value"]] for each in told]
            else:
                expected = [[each["probabilities"][name] for name in sorted(each["probabilities"])] for each in told]
            assert values == pytest.approx(np.array(expected), rel=1e-6)


def _lying(shape: str) -> bytes:
    """A header of many rows before few bytes."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


async def test_bytes_that_do_not_fit_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        right = np.array(FLOWERS, "<f4")
        for body in (b"", right.tobytes()[:-1], right[:, :3].tobytes()):
            assert "16 bytes each" in problem(await post(api, ref, body, RAW), 422)["detail"]
        assert NPY in problem(await post(api, ref, saved(right)[:-2], RAW), 422)["errors"][0]["hint"]
        with_nan = np.where(right > 6, np.nan, right).astype("<f4")
        for body, kind in ((with_nan.tobytes(), RAW), (saved(with_nan), NPY)):
            assert problem(await post(api, ref, body, kind), 422)["errors"][0]["pointer"] == "/rows/1"
        wrong: list[bytes] = [
            b"", b"PK", b"\x93NUMPY\x09\x00", saved(right[:, :3]), saved(right)[:-4], saved(right) + b"\0",
            saved(right[0]), saved(np.array(["a"])), saved(np.array([{}]), allow_pickle=True), saved(np.zeros((0, 4))),
            saved(np.array(1.0)), _lying("(1000000000000, 4)"), _lying("(-4, -4)"), _lying("(" + "9" * 400 + ",)"),
            _lying("(True, 16)"), _lying("x"),
        ]  # fmt: skip
        for body in wrong:
            problem(await post(api, ref, body, NPY), 422)
        (fault,) = problem(await post(api, ref, b"a,b", "text/plain"), 415)["errors"]
        assert {"application/json", "image/png", "text/csv"} <= set(fault["allowed"])


async def test_words_cannot_be_sent_as_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        rows = [{"color": color, "y": at % 2} for at, color in enumerate(["red", "green", "blue", "red"] * 8)]
        dataset = {"rows": rows, "target": "y"}
        two = {"layers": [{"kind": "dense", "units": 2, "activation": "softmax"}]}
        ref = await trained(api, dataset=dataset, network=two)
        assert "words" in problem(await post(api, ref, bytes(16), RAW), 422)["detail"]
        assert "words" in problem(await post(api, ref, saved(np.zeros((1, 3))), NPY), 422)["detail"]


async def test_a_temperature_makes_answers_less_sure_and_none_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        plain, cool = [
            (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": FLOWERS} | more)).json()["predictions"]
            for more in ({}, {"temperature": 2.0})
        ]
        for one, other in zip(plain, cool, strict=True):
            assert one["label"] == other["label"]
            roots = {name: p**0.5 for name, p in one["probabilities"].items()}
            expected = {name: root / sum(roots.values()) for name, root in roots.items()}
            assert other["probabilities"] == pytest.approx(expected, rel=1e-5)
        wrong = await api.http.post(f"/v1/models/{ref}/predict", json={"rows": FLOWERS, "temperature": 0})
        assert problem(wrong, 422)["errors"][0]["pointer"] == "/temperature"
