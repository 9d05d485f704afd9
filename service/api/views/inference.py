"""Answers in the words of the Open Inference Protocol, version 2."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.api.views.base import View


class LiveView(View):
    """The process answers."""

    live: Literal[True]


class ReadyView(View):
    """Requests are taken."""

    ready: Literal[True]


class ModelReadyView(View):
    """The model can be asked."""

    name: str
    ready: Literal[True]


class ServerView(View):
    """What serves."""

    name: str
    version: str
    extensions: list[str]


class TensorKindView(View):
    """A tensor that a model takes or gives; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataView(View):
    """A model: its versions, what it takes and what it answers."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorKindView]
    outputs: list[TensorKindView]


class IndexedModelView(View):
    """A model of the repository, by its newest version."""

    name: str
    version: str
    state: Literal["READY"]
    reason: str


class OutputTensorView(View):
    """A tensor of an answer: `data` in row-major order, or `parameters.binary_data_size` bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferenceView(View):
    """The answer to a request, under its id."""

    model_name: str
    model_version: str = Field(description="Which one answered; empty for a run.")
    id: str
    outputs: list[OutputTensorView]
