"""What is wrong with rows is told, what is unknown in them is answered, and nothing is read beyond its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, problem, serving
from test_api_models import trained

from service.api.predict import MAX_ROWS

pytestmark = pytest.mark.anyio
WAYS: tuple[dict[str, str], ...] = ({}, {"Content-Encoding": "identity"})  # ahead of the framework, and not
MILLION = b'{"rows":[' + b"[5,3]," * 999_999 + b"[5,3]]}"
CAP, PIECE = 1_000_000, 1 << 16
COLORS = ["red", "green", "blue"]


async def colored(api: Api) -> str:
    """A model of a word and a number."""
    rows = [{"color": COLORS[at % 3], "size": at % 7, "y": COLORS[at % 3]} for at in range(60)]
    network = {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]}
    return await trained(api, dataset={"rows": rows, "target": "y"}, network=network)


WRONG: dict[str, tuple[Any, int, str]] = {
    "a row too short": ({"rows": [["red", 1], ["red"]]}, 422, "/rows/1"),
    "a row too long": ({"rows": [["red", 1, 2]]}, 422, "/rows/0"),
    "a word for a number": ({"rows": [{"color": "red", "size": "large"}]}, 422, "/rows/0/size"),
    "a list for a number": ({"rows": [["red", 1], ["red", [1]]]}, 422, "/rows/1/size"),
    "a list for a word": ({"rows": [[["red"], 1]]}, 422, "/rows/0/color"),
    "an unknown column": ({"rows": [{"color": "red", "size": 1, "colour": "red"}]}, 422, "/rows/0/colour"),
    "a row that is none": ({"rows": [["red", 1], 5]}, 422, "/rows/1"),
    "no rows": ({"rows": []}, 422, "/rows"),
    "no rows said": ({}, 422, "/rows"),
    "no object": ([["red", 1]], 422, ""),
}


async def test_wrong_rows_are_told_at_their_place_and_unknown_words_are_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await colored(api)
        for way in WAYS:
            url = f"/v1/models/{ref}/predict"
            for name, (body, status, pointer) in WRONG.items():
                told = problem(await api.http.post(url, json=body, headers=way), status)
                assert pointer in [each["pointer"] for each in told["errors"]], (name, told)
            empty = await api.http.post(url, content=b"", headers={"Content-Type": "application/json"} | way)
            assert 400 <= empty.status_code < 500
            assert problem(empty, empty.status_code)["detail"]
            known, unknown, missing = [[word, 3] for word in ("red", "mauve", None)]
            answer = await api.http.post(url, json={"rows": [known, unknown, missing]}, headers=way)
            assert answer.status_code == 200, answer.text
            first, *others = [each["probabilities"] for each in answer.json()["predictions"]]
            assert first["red"] > max(each["red"] for each in others), "a word never seen speaks for no class"
            assert all(sum(each.values()) == pytest.approx(1, abs=1e-6) for each in (first, *others))


async def test_a_million_rows_in_one_body_are_refused_before_they_are_read(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body_bytes=CAP) as api:
        ref, pulled = await trained(api), 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal pulled
            for at in range(0, len(MILLION), PIECE):
                pulled += PIECE
                yield MILLION[at : at + PIECE]

        for way in WAYS:
            url, kind = f"/v1/models/{ref}/predict", {"Content-Type": "application/json"} | way
            for length, most in (({"Content-Length": str(len(MILLION))}, PIECE), ({}, CAP + PIECE)):
                pulled = 0
                told = await api.http.post(url, content=pieces(), headers=kind | length)
                assert problem(told, 413)["code"] == "too_large"
                assert pulled <= most, "announced: nothing is read; not announced: no more than may come"


async def test_more_rows_than_one_answer_has_are_refused_where_their_bytes_may_come(tmp_path: Path) -> None:
    body = b'{"rows":[' + b"[5,3]," * MAX_ROWS + b"[5,3]]}"
    async with serving(tmp_path, max_body_bytes=len(body)) as api:
        ref = await trained(api)
        for way in WAYS:
            headers = {"Content-Type": "application/json"} | way
            told = problem(await api.http.post(f"/v1/models/{ref}/predict", content=body, headers=headers), 422)
            (error,) = told["errors"]
            assert error["pointer"] == "/rows"
            assert f"{MAX_ROWS}" in error["message"].replace(",", "")
