"""Large files in pieces over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, pointers, problem, serving

pytestmark = pytest.mark.anyio
TABLE = b"zip,y\n" + b"".join(b"%05d,%d\n" % (at % 9, at % 2) for at in range(500))


async def begun(api: Api, data: bytes = TABLE, **said: Any) -> str:
    answer = await api.http.post("/v1/uploads", json={"name": "a.csv", "bytes": len(data)} | said)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/uploads/{answer.json()['id']}"
    return str(answer.headers["location"])


async def patch(api: Api, place: str, offset: int, data: bytes) -> Any:
    return await api.http.patch(place, content=data, headers={"Upload-Offset": str(offset)})


async def test_a_file_in_pieces_is_the_data_set_that_it_is_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        place = await begun(api, types="zip:category", sha256=hashlib.sha256(TABLE).hexdigest())
        for start in range(0, len(TABLE), 1000):
            answer = await patch(api, place, start, TABLE[start : start + 1000])
            assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(min(start + 1000, len(TABLE))))
        head = await api.http.head(place)
        assert (head.status_code, head.headers["upload-offset"], head.headers["upload-length"]) == (
            204, str(len(TABLE)), str(len(TABLE))
        )  # fmt: skip
        made = await api.http.post(f"{place}/finish")
        assert made.status_code == 200
        assert [column["type"] for column in made.json()["columns"]] == ["category", "number"]
        again = await api.http.post(f"{place}/finish")
        assert (again.status_code, again.json()) == (200, made.json())
        assert (await api.http.get(place)).json()["dataset_id"] == made.json()["id"]
        whole = await api.upload(TABLE, types="zip:category")
        assert (whole.status_code, whole.json()["id"]) == (200, made.json()["id"]), "the same content"
        assert (await api.http.delete(place)).status_code == 204
        problem(await api.http.get(place), 404)
        assert (await api.http.get(f"/v1/datasets/{made.json()['id']}")).status_code == 200


async def test_a_piece_in_the_wrong_place_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        place = await begun(api)
        await patch(api, place, 0, TABLE[:10])
        told = problem(await patch(api, place, 5, b"xxxxx"), 409)
        assert "stands at byte 10" in told["detail"]
        problem(await api.http.patch(place, content=b"x"), 422)
        problem(await api.http.post(f"{place}/finish"), 409)
        assert (await api.http.get(place)).json()["offset"] == 10
        assert pointers(await patch(api, place, 10, TABLE[10:] + b"more")) == ["/body"]


async def test_what_cannot_be_is_refused_before_a_byte_is_sent(tmp_path: Path) -> None:
    async with serving(tmp_path, max_upload_bytes=2_000) as api:
        said = {"name": "a.csv", "bytes": 2_001}
        assert pointers(await api.http.post("/v1/uploads", json=said), 413) == ["/bytes"]
        for wrong, pointer in (({"bytes": 0}, "/bytes"), ({"sha256": "x"}, "/sha256"), ({"format": "xls"}, "/format"),
                               ({"types": "a:b"}, "/types"), ({"nmae": "a"}, "/nmae")):  # fmt: skip
            answer = await api.http.post("/v1/uploads", json={"name": "a.csv", "bytes": 10} | wrong)
            assert pointers(answer) == [pointer]
        for _ in range(4):
            await begun(api, bytes=2_000)
        problem(await api.http.post("/v1/uploads", json={"name": "a.csv", "bytes": 2_000}), 507)
        problem(await api.http.patch("/v1/uploads/up_nobody", content=b"x", headers={"Upload-Offset": "0"}), 404)


async def test_other_bytes_than_were_announced_make_no_data_set(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        place = await begun(api, sha256="0" * 64)
        await patch(api, place, 0, TABLE)
        assert pointers(await api.http.post(f"{place}/finish")) == ["/sha256"]
        broken = await begun(api, b"a,b\n1\n")
        await patch(api, broken, 0, b"a,b\n1\n")
        problem(await api.http.post(f"{broken}/finish"), 422)
        assert api.store.datasets.list().data == ()


async def test_a_preview_tells_how_values_lie(tmp_path: Path) -> None:
    rows = "n,w,when,y\n" + "".join(
        f"{at % 4},{'ab'[at % 5 == 0]},2024-01-{at % 28 + 1:02d},{at * 0.5}\n" for at in range(100)
    )
    async with serving(tmp_path) as api:
        found = (await api.upload(rows + ",,,\n", types="when:date")).json()
        told = (await api.http.get(f"/v1/datasets/{found['id']}/preview?bins=5")).json()["histograms"]
        assert (told["n"]["edges"], told["n"]["counts"]) == ([-0.5, 0.5, 1.5, 2.5, 3.5], [25, 25, 25, 25])
        assert (told["w"]["values"], told["w"]["counts"], told["w"]["missing"]) == (["a", "b"], [80, 20], 1)
        assert (told["y"]["edges"], told["y"]["counts"]) == (
            pytest.approx([0, 9.9, 19.8, 29.7, 39.6, 49.5]), [20, 20, 20, 20, 20]
        )  # fmt: skip
        assert sum(told["when"]["counts"]) == 100
        assert told["when"]["missing"] == 1
        none = (await api.http.get(f"/v1/datasets/{found['id']}/preview?bins=0")).json()
        assert none["histograms"] == {}
        images = bytes(range(24))
        idx = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 3, 4)) + images
        pictures = (await api.upload(idx, "images-idx3-ubyte")).json()
        (of,) = (await api.http.get(f"/v1/datasets/{pictures['id']}/preview?bins=6")).json()["histograms"].values()
        assert of["counts"] == [4, 4, 4, 4, 4, 4]
