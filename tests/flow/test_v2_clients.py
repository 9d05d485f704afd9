"""Unchanged clients of Triton and KServe against a running server, as their users write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import Client

pytestmark = [pytest.mark.oracle, pytest.mark.anyio]
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]], np.float32)
SPEC = {
    "dataset": {"sample": "iris"},
    "network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
    "training": {"epochs": 30, "batch_size": 16, "seed": 1},
}


@dataclass(frozen=True)
class Flowers:
    """A server with a model `flowers`, and what it says of the rows by its own route."""

    url: str
    labels: list[str]
    probabilities: Any


@pytest.fixture(scope="module")
def flowers(serve: Callable[..., Any]) -> Flowers:
    url = serve().url
    with Client(url) as client:
        job = client.wait(client.submit({"type": "train", "spec": SPEC})["id"])
        client.publish("flowers", job["run_id"])
        told = client.predict("flowers", ROWS.tolist())
    order = ("setosa", "versicolor", "virginica")
    table = [[each["probabilities"][name] for name in order] for each in told]
    return Flowers(url, [each["label"] for each in told], pytest.approx(np.array(table), abs=1e-6))


@pytest.mark.filterwarnings("ignore")
def test_tritons_client_works_unchanged(flowers: Flowers) -> None:
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(flowers.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flowers")
    assert client.is_model_ready("flowers", "1")
    assert not client.is_model_ready("weeds")
    assert client.get_server_metadata()["name"] == "netwright"
    assert [each["name"] for each in client.get_model_repository_index()] == ["flowers"]
    (told,) = client.get_model_metadata("flowers")["inputs"]
    given = triton.InferInput(told["name"], list(ROWS.shape), told["datatype"])
    given.set_data_from_numpy(ROWS)
    everything = client.infer("flowers", [given], request_id="7")
    assert everything.get_response()["id"] == "7"
    assert everything.as_numpy("probabilities") == flowers.probabilities
    assert [each.decode() for each in everything.as_numpy("label").ravel()] == flowers.labels
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=False), triton.InferRequestedOutput("label")]
    packed = client.infer("flowers", [given], outputs=wanted, model_version="1", request_compression_algorithm="gzip")
    assert packed.as_numpy("probabilities") == flowers.probabilities
    best = client.infer("flowers", [given], outputs=[triton.InferRequestedOutput("probabilities", class_count=1)])
    assert [each.decode().split(":")[2] for each in best.as_numpy("probabilities").ravel()] == flowers.labels
    as_json = triton.InferInput("rows", [2, 4], "FP32")
    as_json.set_data_from_numpy(ROWS, binary_data=False)
    assert client.infer("flowers", [as_json]).as_numpy("probabilities") == flowers.probabilities
    calls = [client.async_infer("flowers", [given]) for _ in range(8)]
    assert all(call.get_result().as_numpy("probabilities") == flowers.probabilities for call in calls)
    narrow = triton.InferInput("rows", [2, 3], "FP32")
    narrow.set_data_from_numpy(ROWS[:, :3])
    with pytest.raises(
        triton.InferenceServerException, match=r"expected rows of shape \[-1, 4\], got \[2, 3\]"
    ) as wide:
        client.infer("flowers", [narrow])
    assert wide.value.status() == "422"
    client.close()


@pytest.mark.filterwarnings("ignore")
async def test_kserves_client_works_unchanged(flowers: Flowers) -> None:
    kserve = pytest.importorskip("kserve")
    client = kserve.InferenceRESTClient(kserve.inference_client.RESTConfig(protocol="v2", verbose=False))
    assert await client.is_server_live(flowers.url)
    assert await client.is_server_ready(flowers.url)
    assert await client.is_model_ready(flowers.url, "flowers")
    for binary in (False, True):
        given = kserve.InferInput("rows", list(ROWS.shape), "FP32")
        given.set_data_from_numpy(ROWS, binary_data=binary)
        request = kserve.InferRequest("flowers", [given])
        answer = await client.infer(flowers.url, request, model_name="flowers")
        assert answer.outputs[0].as_numpy() == flowers.probabilities
    narrow = kserve.InferInput("rows", [2, 3], "FP32")
    narrow.set_data_from_numpy(ROWS[:, :3], binary_data=False)
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        await client.infer(flowers.url, kserve.InferRequest("flowers", [narrow]), model_name="flowers")
    await client.close()
