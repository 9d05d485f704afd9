"""Why a model answers so, over HTTP, for rows of words and numbers, for numbers, and for pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import Api, problem, serving
from test_api_models import trained

pytestmark = pytest.mark.anyio
ROWS = [{"size": size, "colour": colour, "noise": noise, "price": 10 * size + (5 if colour == "red" else 0)}
        for size in (1, 2, 3, 4) for colour in ("red", "blue") for noise in (0, 1)] * 3  # fmt: skip


async def asked(api: Api, ref: str, **question: Any) -> Any:
    return await api.http.post(f"/v1/models/{ref}/attributions", json=question)


async def test_the_columns_that_matter_add_and_the_one_that_does_not_adds_little(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        prices: dict[str, Any] = {
            "dataset": {"rows": ROWS, "target": "price"}, "loss": {"kind": "squared_error"}, "metrics": ["mae"],
            "network": {"layers": [{"kind": "dense", "units": 1}]}, "optimizer": {"kind": "adam", "learning_rate": 0.1},
        }  # fmt: skip
        ref = await trained(api, **prices)
        answer = (
            await asked(api, ref, rows=[{"size": 4, "colour": each, "noise": 1} for each in ("red", "blue")])
        ).json()
        found, blue = answer["attributions"]
        assert (answer["model"], found["target"]) == (ref, "price")
        told = (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": [[4, "red", 1]]})).json()
        assert found["answer"] == pytest.approx(told["predictions"][0]["value"], rel=1e-4)
        features = found["features"]
        assert sum(features.values()) == pytest.approx(found["answer"] - found["baseline"], abs=1e-3)
        assert features["size"] > 10 > 1 > abs(features["noise"])
        assert features["colour"] - blue["features"]["colour"] == pytest.approx(5, abs=1)


async def test_pictures_are_explained_pixel_by_pixel_or_as_a_heat_map(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        layers = [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]
        ref = await trained(api, dataset={"sample": "digits", "target": "label"}, network={"layers": layers})
        picture = [[0, 16, 16, 0, 0, 0, 0, 0]] * 8
        (found,) = (await asked(api, ref, rows=[picture], target="1")).json()["attributions"]
        (values,) = found["features"].values()
        assert sum(map(sum, values)) == pytest.approx(found["answer"] - found["baseline"], abs=1e-3)
        assert [row[0] for row in values] == [0.0] * 8, "what is black adds nothing to a black picture"
        drawn = await api.http.post(
            f"/v1/models/{ref}/attributions", json={"rows": [picture]}, headers={"Accept": "image/png"}
        )
        assert drawn.content.startswith(b"\x89PNG")
        beside = await api.http.post(f"/v1/models/{ref}/attributions?target=1", json={"rows": [picture]})
        assert problem(beside, 422)["errors"][0]["pointer"] == "/query/target"
        wrong = problem(await asked(api, ref, rows=[picture], target="11"), 422)
        assert wrong["errors"][0]["pointer"] == "/target"
        assert problem(await asked(api, ref, rows=[picture] * 65), 422)["errors"][0]["pointer"] == "/rows"


async def test_a_picture_as_the_body_is_explained_as_its_array_is(tmp_path: Path) -> None:
    pillow, file = pytest.importorskip("PIL.Image"), io.BytesIO()
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, 2:4] = 255
    pillow.fromarray(pixels).save(file, "PNG")
    async with serving(tmp_path) as api:
        layers = [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]
        ref = await trained(api, dataset={"sample": "digits", "target": "label"}, network={"layers": layers})
        path, png = f"/v1/models/{ref}/attributions", {"Content-Type": "image/png"}
        sent = await api.http.post(path, params={"target": "3"}, content=file.getvalue(), headers=png)
        array = await asked(api, ref, rows=[(pixels // 255 * 16).tolist()], target="3")  # white is the largest value
        assert sent.json() == array.json()
        drawn = await api.http.post(path, content=file.getvalue(), headers=png | {"Accept": "image/png"})
        assert drawn.content.startswith(b"\x89PNG")
        assert problem(await api.http.post(path, content=b"no picture", headers=png), 422)["code"] == "invalid_data"
