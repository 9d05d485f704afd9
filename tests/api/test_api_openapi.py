"""The OpenAPI document: committed, complete, true. A change of the public language is seen in review.

When the change is meant: `PYTHONPATH=. python tests/api/test_api_openapi.py` writes the snapshot anew.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from api_server import serving

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT / "docs" / "openapi.json"
METHODS = ("get", "post", "put", "patch", "delete", "head")
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
INFERENCE_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceErrorView"}}}


async def _document(folder: Path) -> dict[str, Any]:
    async with serving(folder) as api:
        answer = await api.http.get("/openapi.json")
        document: dict[str, Any] = answer.json()
        return document


def _written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(_document(tmp_path_factory.mktemp("openapi")))


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, each) for path, of in document["paths"].items() for method, each in of.items()]


def test_the_committed_document_is_the_one_we_serve(document: dict[str, Any]) -> None:
    assert SNAPSHOT.read_text("utf-8") == _written(document), (
        f"PYTHONPATH=. python {Path(__file__).relative_to(ROOT)} writes it anew"
    )


def test_every_route_tells_how_it_refuses(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        assert method in METHODS
        refusals = {status: each for status, each in operation["responses"].items() if status >= "400"}
        assert "422" in refusals, (path, method)
        expected = INFERENCE_ERROR if path.startswith("/v2") else PROBLEM
        shared = document["components"]["responses"]
        told = [shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in refusals.values()]
        assert all(each["content"] == expected for each in told), (path, method)
        if "{" in path:
            assert "404" in refusals, (path, method)
        assert "requestBody" not in operation or "413" in refusals, (path, method)
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert {"400", "415"} <= refusals.keys(), (path, method)


def test_every_route_that_creates_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    """But where keys are made: an answer that tells a key is kept nowhere."""
    creates = []
    for path, method, operation in _operations(document):
        takes = any(each["name"].lower() == "idempotency-key" for each in operation.get("parameters", ()))
        if method == "post" and {"201", "202"} & operation["responses"].keys():
            creates.append(path)
            assert takes != (path == "/v1/keys"), path
        else:
            assert not takes, (path, method)
    assert {"/v1/jobs", "/v1/datasets", "/v1/runs", "/v1/runs/import", "/v1/jobs/{job_id}/fork"} <= set(creates)


def test_every_route_says_what_it_does(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        assert operation.get("description"), (path, method)
        if method in ("post", "put", "patch") and not path.endswith(
            ("/cancel", "/pause", "/resume", "/rollback", "/index", "/finish")
        ):
            assert operation["requestBody"]["required"], (path, method)


def test_kind_and_type_are_required_wherever_they_choose(document: dict[str, Any]) -> None:
    chosen = [
        (name, word)
        for name, schema in document["components"]["schemas"].items()
        for word in ("kind", "type")
        if "const" in schema.get("properties", {}).get(word, {})
    ]
    assert {("TrainJob", "type"), ("NgramJob", "type"), ("Dense", "kind"), ("Adam", "kind")} <= set(chosen)
    for name, word in chosen:
        assert word in document["components"]["schemas"][name]["required"], name


def test_what_we_answer_has_no_optional_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    refusing = {
        "ProblemView",
        "FaultView",
        "DetailedPredictionView",
        "OutputTensorView",
    }  # their members stand where they say something
    views = [name for name in schemas if (name.endswith("View") or "View_" in name) and name not in refusing]
    assert len(views) > 20
    for name in views:
        if schemas[name].get("properties"):
            assert sorted(schemas[name]["required"]) == sorted(schemas[name]["properties"]), name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = _written(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        SNAPSHOT.write_text(_written(asyncio.run(_document(Path(folder)))), "utf-8")
