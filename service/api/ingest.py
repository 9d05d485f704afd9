"""Logging into external runs ahead of the framework: points as JSON, ours or MLflow's, or as tables of NumPy's.

Whatever is not quite usual, and whatever is wrong, takes the documented routes with the same body: only there is
anything refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.ahead import JSON_LINES, Headers, RequestIds, again, answer, sized, whole
from service.api.bodies import document, validate
from service.api.ledger import Ledger
from service.api.mlflow.logs import LogBatch, LogMetric, series_of
from service.api.points import Measured, Points, from_full_columns, from_json, from_npy
from service.api.replies import encode
from service.errors import ServiceError
from service.serving import NPY_TYPE

_BEFORE, _AFTER, _MLFLOW = "/v1/runs/", "/metrics", "/api/2.0/mlflow/runs/"
_JSON = (b"application/json", b"application/json; charset=utf-8")
_NPY = NPY_TYPE.encode()
_MANY = 1 << 10  # bytes of a body that is likely to be of columns
_MEASURED, _METRIC, _BATCH = (TypeAdapter[Any](each) for each in (Measured, LogMetric, LogBatch))


class Said(NamedTuple):
    """What a body logs, and what is answered when it is durable."""

    run_id: str
    points: Points
    answer: bytes


class Ingest:
    """ASGI, in front of the app."""

    def __init__(self, app: ASGIApp, ledger: Ledger, cap: int) -> None:
        self._app, self._ledger, self._cap = app, ledger, cap
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = usual(scope, self._cap) if scope["type"] == "http" else None
        if known is None:
            await self._app(scope, receive, send)
            return
        reader, headers = known
        body = await whole(receive)
        if body is None:
            return
        said = heard(reader, body)
        if said is None or not await self._ledger.write(said.run_id, said.points):
            await self._app(scope, again(body, receive), send)
        else:
            await answer(send, self._ids.of(headers), JSON_LINES, said.answer)


Reader = Callable[[bytes], Said | None]


def usual(scope: Scope, cap: int) -> tuple[Reader, Headers] | None:
    """How the body of a request that logs points is read, and its headers; None for what the framework answers."""
    readers = _readers(scope["path"])
    headers = sized(scope, cap) if readers else None
    reader = None if headers is None else readers.get(headers.get(b"content-type", b""))
    return None if headers is None or reader is None else (reader, headers)


def _readers(path: str) -> Mapping[bytes, Reader]:
    """How the bodies of this path are read, by their types."""
    if path.endswith(_AFTER) and path.startswith(_BEFORE):
        run_id = path[len(_BEFORE) : -len(_AFTER)]
        return {} if "/" in run_id else _own(run_id)
    return _LIKE_MLFLOW.get(path, {})


def _own(run_id: str) -> Mapping[bytes, Reader]:
    return dict.fromkeys(_JSON, lambda body: _measured(run_id, body)) | {
        _NPY: lambda body: _said(run_id, from_npy(body))
    }


def heard(reader: Reader, body: bytes) -> Said | None:
    """What a body logs; None when that is for the framework to answer."""
    try:
        return reader(body)
    except ServiceError:
        return None


def _measured(run_id: str, body: bytes) -> Said:
    points = from_full_columns(body) if len(body) > _MANY else None
    return _said(run_id, points or from_json(validate(_MEASURED, document(body, keys=False))))


def _said(run_id: str, points: Points) -> Said:
    count = sum(len(steps) for steps, *_ in points.values())
    return Said(run_id, points, encode({"run": run_id, "points": count}))


def _metric(body: bytes) -> Said:
    asked = validate(_METRIC, document(body))
    return Said(asked.run, series_of([asked]), b"{}")


def _batch(body: bytes) -> Said | None:
    asked = validate(_BATCH, document(body, keys=False))
    return None if asked.params or asked.tags else Said(asked.run, series_of(asked.metrics), b"{}")


_LIKE_MLFLOW: Mapping[str, Mapping[bytes, Reader]] = {
    f"{_MLFLOW}log-metric": dict.fromkeys(_JSON, _metric), f"{_MLFLOW}log-batch": dict.fromkeys(_JSON, _batch)
}  # fmt: skip
