"""Runs and experiments in MLflow's shapes, and its words in ours.

An experiment is a tag, `experiment=<name>`; its id is its name, but for the default one's. MLflow's tag `key: value` is
our tag `key=value`. Parameters are the fields of a run's spec by their paths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from service import storage
from service.api.curves import word
from service.api.replies import encode
from service.errors import Fault, InvalidSpec
from service.storage import DEFAULT_EXPERIMENT, EXPERIMENT, Experiment, Point, Run, spec_params
from service.tensors import Array

PREFIX = "/api/2.0/mlflow"
_DIGITS = 20  # of a page's token
DEFAULT_ID = "0"
STATES: Mapping[str, storage.Status] = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "cancelled"}
LIFECYCLE = "mlflow.lifecycle_stage"
DELETED = f"{LIFECYCLE}=deleted"
_NAME, _NOTE, _USER = "mlflow.runName", "mlflow.note.content", "mlflow.user"


class Asked(BaseModel):
    """Base of what MLflow's clients send; what a newer client adds is left unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def behind(page_token: str) -> int | None:
    """The number in a page's token; None without one. Raises InvalidSpec when it is none of ours."""
    if page_token and not (page_token.isdecimal() and page_token.isascii() and len(page_token) < _DIGITS):
        words = f"{page_token[:50]!r} is no page's token"
        raise InvalidSpec(words, faults=[Fault("/page_token", "invalid_cursor", words, "Give it as it came.")])
    return int(page_token) if page_token else None


class Pair(Asked):
    """A key with its value."""

    key: str
    value: str = ""


def name_of(experiment_id: str) -> str:
    return DEFAULT_EXPERIMENT if experiment_id in ("", DEFAULT_ID) else experiment_id


def id_of(name: str) -> str:
    return DEFAULT_ID if name == DEFAULT_EXPERIMENT else name


def experiment(row: Experiment) -> dict[str, Any]:
    at = {} if row.created_at is None else {"creation_time": milliseconds(row.created_at)}
    return {
        "experiment_id": id_of(row.name), "name": row.name, "artifact_location": _artifacts(id_of(row.name)),
        "lifecycle_stage": "active", **at, "tags": [{"key": key, "value": value} for key, value in row.tags.items()],
    }  # fmt: skip


def run(row: Run, latest: Mapping[str, Point]) -> dict[str, Any]:
    """With the last value of each metric, as MLflow does."""
    tags = dict(_split(tag) for tag in row.tags)
    experiment_id = id_of(tags.pop(EXPERIMENT, DEFAULT_EXPERIMENT))
    stage = tags.pop(LIFECYCLE, "active")
    told = {name: value for name, value in ((_NAME, row.name), (_NOTE, row.notes)) if value}
    return {
        "info": {
            "run_uuid": row.id, "run_id": row.id, "run_name": row.name or "", "experiment_id": experiment_id,
            "user_id": tags.get(_USER, ""), "status": storage.STATUS[row.status], "lifecycle_stage": stage,
            "start_time": milliseconds(row.started_at or row.created_at),
            **({} if row.ended_at is None else {"end_time": milliseconds(row.ended_at)}),
            "artifact_uri": f"{_artifacts(experiment_id)}/{row.id}/artifacts",
        },
        "data": {
            "metrics": [metric(name, *point) for name, point in latest.items()],
            "params": [{"key": key, "value": value} for key, value in spec_params(row.spec).items()],
            "tags": [{"key": key, "value": value} for key, value in (tags | told).items()],
        },
        "inputs": {},
    }  # fmt: skip


def metric(name: str, step: int, time: int, value: float) -> dict[str, Any]:
    """A point; what is not finite is a word, as protobuf's JSON has it."""
    return {"key": name, "value": value if math.isfinite(value) else word(value), "timestamp": time, "step": step}


def history(name: str, steps: Array, times: Array, values: Array) -> bytes:
    """Such points with commas between, as JSON: by columns, since a dictionary for each would take twice as long."""
    told = _numbers(values)
    for place in np.flatnonzero(~np.isfinite(values)):
        told[place] = encode(word(values[place]))
    pieces = [b'{"key":%b,"value":' % encode(name), b"", b',"timestamp":', b"", b',"step":', b"", b"},"] * len(told)
    pieces[1::7], pieces[3::7], pieces[5::7] = told, _numbers(times), _numbers(steps)
    return b"".join(pieces)[:-1]


def _numbers(column: Array) -> list[bytes]:
    return encode(column.tolist())[1:-1].split(b",") if len(column) else []


def tags_of(pairs: Sequence[Pair]) -> tuple[dict[str, str], str | None, str | None]:
    """Tags by key, and those of them that are a run's name and its notes with us."""
    tags = {pair.key: pair.value for pair in pairs}
    return tags, tags.pop(_NAME, None), tags.pop(_NOTE, None)


def with_user(tags: Mapping[str, str], user: str) -> dict[str, str]:
    return {_USER: user, **tags} if user else dict(tags)


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def moment(milliseconds: int | None) -> datetime | None:
    """None for nothing, and for what lies outside the years that there are."""
    try:
        return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _split(tag: str) -> tuple[str, str]:
    key, _, value = tag.partition("=")
    return key, value


def _artifacts(experiment_id: str) -> str:
    """Where MLflow's clients would put files, which are not kept here: they are told so there."""
    return f"mlflow-artifacts:/{experiment_id}"
