"""Uploads: one file or several, streamed, named by content, described, previewed, deleted."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from api_server import pointers, problem, serving

pytestmark = pytest.mark.anyio
ROWS = "size,colour,price\n1.5,red,10\n2.5,blue,20\n3.5,red,30\n"


async def test_a_table_comes_back_described(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.upload(ROWS, "shop.csv")
        assert answer.status_code == 201
        found = answer.json()
        assert answer.headers["location"] == f"/v1/datasets/{found['id']}"
        assert (found["name"], found["kind"], found["rows"], found["bytes"]) == ("shop.csv", "table", 3, len(ROWS))
        assert found["sha256"] == hashlib.sha256(ROWS.encode()).hexdigest()
        assert [(each["name"], each["type"]) for each in found["columns"]] == [
            ("size", "number"), ("colour", "category"), ("price", "number"),
        ]  # fmt: skip
        size = found["columns"][0]
        assert (size["min"], size["max"], size["mean"]) == (1.5, 3.5, 2.5)
        assert (await api.http.get(f"/v1/datasets/{found['id']}")).json() == found
        assert (await api.http.get("/v1/datasets")).json() == {"data": [found], "has_more": False, "next": None}


async def test_the_same_upload_is_the_same_data_set(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        first, again = await api.upload(ROWS), await api.upload(ROWS, "other-name.csv")
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        raw = await api.http.post("/v1/datasets", content=ROWS.encode(), headers={"content-type": "text/csv"})
        assert raw.json()["id"] == first.json()["id"]


async def test_a_text_may_be_a_table_as_well_when_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        text = await api.upload(ROWS, format="text")
        table = await api.upload(ROWS, format="csv")
        assert (text.json()["kind"], table.json()["kind"]) == ("text", "table")
        assert (await api.upload(ROWS, format="csv")).json()["id"] == table.json()["id"]
        assert (await api.upload(ROWS, format="text")).json()["id"] == text.json()["id"]


async def test_a_raw_body_is_read_by_its_type_and_named_by_the_query(tmp_path: Path) -> None:
    text = "the first line\nthe second line\n"
    async with serving(tmp_path) as api:
        headers = {"content-type": "text/plain; charset=utf-8"}
        found = (await api.http.post("/v1/datasets?name=tale.txt", content=text.encode(), headers=headers)).json()
        assert (found["name"], found["kind"], found["rows"]) == ("tale.txt", "text", 2)


async def test_two_idx_files_make_one_data_set_of_images(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8)
    pixels = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 3, 4)) + images.tobytes()
    labels = bytes([0, 0, 8, 1]) + (2).to_bytes(4, "big") + bytes([7, 1])
    files = [
        ("file", ("train-images-idx3-ubyte.gz", gzip.compress(pixels))),
        ("file", ("train-labels-idx1-ubyte.gz", gzip.compress(labels))),
    ]
    async with serving(tmp_path) as api:
        found = (await api.http.post("/v1/datasets", files=files, data={"name": "tiny"})).json()
        assert (found["name"], found["kind"], found["rows"]) == ("tiny", "image", 2)
        assert [each["name"] for each in found["columns"]] == ["image", "label"]
        preview = (await api.http.get(f"/v1/datasets/{found['id']}/preview")).json()
    assert preview["rows"][0]["image"] == images[:12].reshape(3, 4).tolist()
    assert [row["label"] for row in preview["rows"]] == [7, 1]


async def test_the_arrays_of_an_npz_are_its_columns(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.eye(3, dtype=np.float32), y=np.array([0, 1, 2]))
    async with serving(tmp_path) as api:
        found = (await api.upload(file.getvalue(), "set.npz")).json()
        preview = await api.http.get(f"/v1/datasets/{found['id']}/preview?limit=1")
    assert [each["name"] for each in found["columns"]] == ["x", "y"]
    assert preview.json()["rows"] == [{"x": [1, 0, 0], "y": 0}]


async def test_rows_that_come_as_a_field_of_a_form_are_a_file(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        found = await api.http.post("/v1/datasets", files={"file": (None, "x,y\n1,2\n3,4\n")})
    assert found.json()["rows"] == 2


async def test_what_is_no_upload_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        no_file = await api.http.post("/v1/datasets", files={"name": (None, "x")})
        assert pointers(no_file) == ["/file"]
        misspelt = await api.http.post("/v1/datasets", files={"fle": ("a.csv", b"x\n1\n")})
        assert "file" in problem(misspelt, 422)["errors"][0]["hint"]
        path = problem(await api.http.post("/v1/datasets", files={"file": (None, "iris.csv")}), 422)["errors"][0]
        assert (path["pointer"], path["hint"]) == ("/file", "with curl: -F file=@data.csv")
        assert pointers(await api.upload(ROWS, format="cvs")) == ["/format"]
        problem(await api.http.post("/v1/datasets", content=b"x"), 415)
        cut = {"content-type": "multipart/form-data; boundary=b"}
        half = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx,y\n1,2'
        problem(await api.http.post("/v1/datasets", content=half, headers=cut), 422)
        long = {"content-type": "multipart/form-data; boundary=" + "b" * 300}
        assert "300" in problem(await api.http.post("/v1/datasets", content=half, headers=long), 422)["detail"]
        assert list((tmp_path / "tmp").iterdir()) == []
        assert api.store.datasets.list().data == ()


async def test_an_upload_larger_than_allowed_is_refused_before_it_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, max_upload_bytes=2_000) as api:
        answer = await api.upload("x\n" + "1\n" * 2_000)
        assert problem(answer, 413)["code"] == "too_large"
        assert api.store.datasets.list().data == ()


async def test_a_path_as_a_name_is_only_a_label(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        found = (await api.upload(ROWS, "../../../etc/rows.csv")).json()
        assert found["name"] == "rows.csv"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data"]


async def test_a_data_set_in_use_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        found = (await api.upload(ROWS)).json()
        spec = {
            "dataset": {"id": found["id"], "target": "price"}, "network": {"layers": [{"kind": "dense", "units": 1}]},
            "loss": {"kind": "squared_error"},
        }  # fmt: skip
        assert (await api.submit(spec)).status_code == 202
        assert problem(await api.http.delete(f"/v1/datasets/{found['id']}"), 409)["code"] == "conflict"
        other = (await api.upload(json.dumps([{"a": 1.5}, {"a": 2.5}]), "rows.json")).json()
        assert (await api.http.delete(f"/v1/datasets/{other['id']}")).status_code == 204
        problem(await api.http.get(f"/v1/datasets/{other['id']}"), 404)


async def test_an_idempotency_key_of_an_upload_names_its_content(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        headers = {"Idempotency-Key": "k1", "content-type": "text/csv"}
        first = await api.http.post("/v1/datasets", content=ROWS.encode(), headers=headers)
        again = await api.http.post("/v1/datasets", content=ROWS.encode(), headers=headers)
        assert again.json() == first.json()
        other = await api.http.post("/v1/datasets", content=ROWS.encode() + b"4,red,4\n", headers=headers)
        assert problem(other, 422)["errors"][0]["code"] == "idempotency_mismatch"


async def test_types_may_be_said_and_make_another_data_set(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        plain = await api.upload(ROWS)
        path = "/v1/datasets?types=size:category"
        typed = await api.http.post(path, content=ROWS.encode(), headers={"content-type": "text/csv"})
        again = await api.http.post(
            "/v1/datasets", files=[("file", ("a.csv", ROWS))], data={"types": '{"size": "category"}'}
        )
        assert (typed.status_code, again.status_code) == (201, 200)
        assert [each["type"] for each in typed.json()["columns"]] == ["category", "category", "number"]
        assert typed.json()["id"] == again.json()["id"] != plain.json()["id"]
        wrong = await api.http.post(
            "/v1/datasets?types=colour:number", content=ROWS.encode(), headers={"content-type": "text/csv"}
        )
        assert pointers(wrong) == [f"/rows/{row}/colour" for row in range(3)]
