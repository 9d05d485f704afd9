"""Why a request failed (RFC 9457): `problems.document` writes it, here it is told to the OpenAPI document."""

from __future__ import annotations

from pydantic import Field

from service.api.views.base import View


class FaultView(View):
    """One thing wrong at one place; `hint` and `allowed` stand where they help."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; /query/... for parameters.")
    code: str
    message: str
    hint: str | None = None
    allowed: list[str] | None = None


class OpenAIErrorView(View):
    """The same in the words that OpenAI's clients read; on text routes only."""

    message: str
    type: str
    param: str | None
    code: str


class ProblemView(View):
    """Why a request failed (RFC 9457), in about a kilobyte."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; decide by this one.")
    request_id: str
    hint: str | None = None
    errors: list[FaultView] | None = Field(default=None, description="Every fault, as many as fit.")
    errors_total: int | None = Field(default=None, description="How many there are, when not all fit.")
    error: OpenAIErrorView | None = None


class InferenceErrorView(View):
    """The same in the words of the Open Inference Protocol; under /v2 only."""

    error: str
