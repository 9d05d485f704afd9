"""Keras' JSON as a spec over HTTP: what is understood, what is refused, and that it can be submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, problem, serving

pytestmark = pytest.mark.anyio
Json = dict[str, Any]
WHERE = "/v1/specs/import"


def told(*layers: tuple[str, Json], **more: Any) -> Json:
    listed = [{"class_name": name, "config": config} for name, config in layers]
    return {"class_name": "Sequential", "config": {"layers": listed}, **more}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as found:
        yield found


async def test_a_keras_model_is_answered_as_a_spec_that_can_be_planned(api: Api) -> None:
    ends: Json = {"units": 3, "activation": "softmax"}
    compiled = {"loss": "sparse_categorical_crossentropy", "optimizer": "sgd"}
    document = told(("InputLayer", {"batch_shape": [None, 4]}), ("Dense", ends), compile_config=compiled)
    answer = (await api.http.post(WHERE, json=document)).json()
    assert (answer["input_shape"], answer["vocabulary"], answer["notes"]) == ([4], None, [])
    assert answer["spec"]["optimizer"]["learning_rate"] == 0.01
    job = {"type": "train", "spec": answer["spec"] | {"dataset": {"sample": "iris"}}}
    planned = (await api.http.post("/v1/plans", json=job)).json()
    assert planned["parameters"] == 15


async def test_what_cannot_be_translated_is_a_problem_with_every_place(api: Api) -> None:
    document = told(("Dens", {}), ("Dense", {"units": 2, "kernel_regularizer": {"class_name": "L2", "config": {}}}))
    found = problem(await api.http.post(WHERE, json=document), 422)
    assert found["code"] == "invalid_spec"
    places = [each["pointer"] for each in found["errors"]]
    assert places == ["/config/layers/0/class_name", "/config/layers/1/config/kernel_regularizer"]
    assert all(each["hint"] for each in found["errors"])


@pytest.mark.parametrize(("body", "status"), [("[]", 422), ("{}", 422), ("{", 400), ('{"class_name": "Model"}', 422)])
async def test_what_is_no_sequential_model_is_refused(api: Api, body: str, status: int) -> None:
    problem(await api.http.post(WHERE, content=body, headers={"Content-Type": "application/json"}), status)
