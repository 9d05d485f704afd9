"""Predictions beyond plain rows: more of the network, other bodies, whole data sets."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from api_server import pointers, serving
from test_api_models import SETOSA, trained

pytestmark = pytest.mark.anyio


async def test_an_answer_tells_logits_and_layers_when_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        asked = {"rows": [SETOSA], "logits": True, "layers": [0], "probabilities": False}
        answer = await api.http.post(url, json=asked)
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["predictions"]
        assert found.keys() == {"label", "probability", "logits", "layers"}
        assert max(found["logits"], key=found["logits"].__getitem__) == "setosa"
        assert len(found["layers"]["0"]) == 8
        assert min(found["layers"]["0"]) >= 0  # a ReLU's
        assert pointers(await api.http.post(url, json=asked | {"layers": [0, 7, "lstm"]})) == ["/layers/1", "/layers/2"]


async def test_a_picture_as_the_body_is_one_row(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra images")
    async with serving(tmp_path) as api:
        layers = [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]
        run_id = await trained(api, dataset={"sample": "digits"}, network={"layers": layers})
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) // 4
        file = BytesIO()
        image.fromarray((pixels.astype(float) * 255 / 16).round().astype(np.uint8)).save(file, "PNG")
        url = f"/v1/models/{run_id}/predict"
        sent = await api.http.post(url, content=file.getvalue(), headers={"content-type": "image/png"})
        assert sent.status_code == 200, sent.text
        listed = await api.http.post(url, json={"rows": [pixels.tolist()]})
        assert sent.json()["predictions"] == listed.json()["predictions"]
        broken = await api.http.post(url, content=file.getvalue()[:60], headers={"content-type": "image/png"})
        assert pointers(broken) == ["/rows/0"]
