"""Predictions beyond plain rows: more of the network, other bodies, whole data sets."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from api_server import pointers, problem, serving
from test_api_models import SETOSA, executed, trained

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


IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 2.8, 4.3, 1.3]]


async def test_a_file_is_answered_line_by_line_in_its_own_format(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        expected = (await api.http.post(url, json={"rows": FLOWERS})).json()["predictions"]
        table = "\n".join([",".join(["note", *IRIS]), *(",".join(["a", *map(str, row)]) for row in FLOWERS)])
        answer = await api.http.post(url, content=table, headers={"content-type": "text/csv; charset=utf-8"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["x-model"] == url.split("/")[3]
        rows = list(csv.DictReader(StringIO(answer.text)))
        assert [row["row"] for row in rows] == ["0", "1", "2"]
        assert [row["label"] for row in rows] == [each["label"] for each in expected]
        for row, each in zip(rows, expected, strict=True):
            for name, probability in each["probabilities"].items():
                assert float(row[f"probability_{name}"]) == pytest.approx(probability, rel=1e-6)
        lines = "\n".join(json.dumps(dict(zip(IRIS, row, strict=True))) for row in FLOWERS)
        headers = {"content-type": "application/x-ndjson"}
        told = await api.http.post(f"{url}?top_k=1", content=lines, headers=headers)
        found = [json.loads(line) for line in told.text.splitlines()]
        assert [(each["row"], each["label"], len(each["probabilities"])) for each in found] == [
            (at, each["label"], 1) for at, each in enumerate(expected)
        ]
        other = await api.http.post(
            url, content=table, headers={"content-type": "text/csv", "accept": "application/x-ndjson"}
        )
        assert json.loads(other.text.splitlines()[2]) == {"row": 2, **expected[2]}


async def test_a_broken_row_of_a_file_is_named_by_row_and_column(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        headers = {"content-type": "text/csv"}
        lines = [",".join(IRIS), *(["1,2,3,4"] * 20_000), "1,2,three,4", "1,2,3,4"]
        answer = await api.http.post(url, content="\n".join(lines), headers=headers)
        assert pointers(answer) == ["/rows/20000/petal_length"]
        assert "row 20001, column 'petal_length'" in answer.json()["detail"]
        ragged = await api.http.post(url, content="\n".join([*lines[:3], "1,2,3"]), headers=headers)
        assert pointers(ragged) == ["/rows/2/petal_width"]
        assert pointers(await api.http.post(url, content="", headers=headers)) == ["/file"]
        assert pointers(await api.http.post(url, content="a,b\n1,2\n", headers=headers)) == [
            f"/columns/{name}" for name in IRIS
        ]
        assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_whole_data_set_is_predicted_with_its_row_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api)
        url = f"/v1/models/{run_id}/predictions"
        asked = {"dataset": {"sample": "iris"}, "logits": True}
        answer = await api.http.post(url, json=asked)
        found = [json.loads(line) for line in answer.text.splitlines()]
        assert [each["row"] for each in found] == list(range(150))
        assert found[0].keys() == {"row", "label", "probability", "probabilities", "logits"}
        right = sum(
            each["label"] == name
            for each, name in zip(found, np.repeat(["setosa", "versicolor", "virginica"], 50), strict=True)
        )
        assert right > 130
        table = await api.http.post(url, json={"dataset": {"sample": "iris"}, "format": "csv", "probabilities": False})
        assert table.text.splitlines()[0] == "row,label,probability"
        assert pointers(await api.http.post(url, json={"dataset": {"id": "ds_none"}})) == ["/dataset/id"]
        assert pointers(await api.http.post(url, json={"dataset": {"sample": "xor"}})) == [
            f"/columns/{name}" for name in IRIS
        ]


async def test_a_file_may_be_larger_than_a_json_body_but_not_than_an_upload(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body_bytes=2_000, max_upload_bytes=50_000) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        lines = [",".join(IRIS), *(["1,2,3,4"] * 1_000)]
        headers = {"content-type": "text/csv"}
        assert (await api.http.post(url, content="\n".join(lines), headers=headers)).status_code == 200
        problem(await api.http.post(url, content="\n".join(lines * 10), headers=headers), 413)
        problem(await api.http.post(url, json={"rows": FLOWERS * 100}), 413)


async def test_an_evaluation_is_a_job_like_any_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api, dataset={"sample": "iris", "test": 0.4})
        asked = {"type": "evaluate", "spec": {"model": run_id}}
        planned = await api.http.post("/v1/plans", json=asked)
        assert planned.json()["spec"]["part"] == "test"
        answer = await api.http.post("/v1/jobs", json=asked)
        found = executed(api, answer)
        run = (await api.http.get(f"/v1/runs/{found}")).json()
        assert run["type"] == "evaluate"
        assert run["summary"]["test_accuracy"]["last"] > 0.6
        confusion = (await api.http.get(f"/v1/runs/{found}/confusion")).json()
        assert sum(map(sum, confusion["counts"])) == 60
        for at, each in enumerate(confusion["per_class"]):
            right, said = confusion["counts"][at][at], sum(row[at] for row in confusion["counts"])
            assert each["support"] == sum(confusion["counts"][at])
            assert each["recall"] == pytest.approx(right / each["support"])
            assert each["precision"] == pytest.approx(right / said)
            assert each["f1"] == pytest.approx(2 * right / (each["support"] + said))
        worst = (await api.http.get(f"/v1/runs/{found}/worst-rows")).json()
        assert (worst["part"], len(worst["rows"])) == ("test", 20)
        problem(await api.http.post(f"/v1/models/{found}/predict", json={"rows": FLOWERS}), 409)
        assert (await api.http.get(f"/v1/models/{run_id}")).json()["lineage"]["evaluations"] == [found]
        wrong = await api.http.post("/v1/jobs", json={"type": "evaluate", "spec": {"model": "x", "metrics": ["auc"]}})
        assert pointers(wrong) == ["/spec/model"]
