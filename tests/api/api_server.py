"""The app over a real store in a folder of the test's own, driven without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from service import storage
from service.api import create_app
from service.config import Settings
from service.serving import Registry
from service.storage import Store

DENSE = {"kind": "dense", "units": 3, "activation": "softmax"}
PROBLEM = "application/problem+json"


@dataclass
class Api:
    """The app's client, and what lies behind it."""

    http: httpx.AsyncClient
    app: FastAPI
    store: Store
    settings: Settings
    woken: list[int] = field(default_factory=list)

    async def upload(self, text: str | bytes, name: str = "rows.csv", **fields: str) -> httpx.Response:
        data = text.encode() if isinstance(text, str) else text
        return await self.http.post("/v1/datasets", files={"file": (name, data)}, data=fields)

    async def submit(self, spec: dict[str, Any] | None = None, **given: Any) -> httpx.Response:
        return await self.http.post("/v1/jobs", json={"type": "train", "spec": spec or train_spec()} | given)


def train_spec(**changes: Any) -> dict[str, Any]:
    """A small job that is right."""
    return {
        "dataset": {"sample": "iris"},
        "network": {"layers": [{"kind": "dense", "units": 8, "activation": "relu"}, DENSE]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "training": {"epochs": 2, "batch_size": 16, "seed": 1},
    } | changes


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """An app whose jobs wait in the queue: nobody runs them but the test."""
    given = Settings(data_dir=folder, **settings)
    store = storage.open(given.url, folder)
    woken: list[int] = []
    app = create_app(given, store, Registry(store, given.cache_bytes), lambda: woken.append(1), lambda: 2)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as http,
        ):
            yield Api(http, app, store, given, woken)
    finally:
        store.close()


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal, known to be of the form that every refusal has."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    assert len(response.content) <= 1_000
    document: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= document.keys()
    assert document["status"] == status
    assert response.headers["x-request-id"] == document["request_id"]
    return document


def pointers(response: httpx.Response, status: int = 422) -> list[str]:
    """Where the faults are."""
    return [each["pointer"] for each in problem(response, status)["errors"]]


def sse(response: httpx.Response) -> list[tuple[str | None, str, dict[str, Any]]]:
    """A stream's frames: id, event, data."""
    frames = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            frames.append((lines.get("id"), lines["event"], json.loads(lines["data"])))
    return frames
