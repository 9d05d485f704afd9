"""Completions in OpenAI's shape, whole or as a stream."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, Field
from starlette.responses import Response

from service import clock
from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.explain import Explained, Explainer, model_of
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import Documented, encode, refuses, reply
from service.api.stream import EventStream
from service.api.views.text import CompletionView
from service.errors import Conflict, Fault, InvalidSpec, NotFound
from service.ngram import SENTENCE_END, Finished, Generated, Options, Sampling
from service.serving import Choice, TextModel, complete, stream

T = TypeVar("T")
router = APIRouter(prefix="/v1/completions", tags=["text"])
Text = Annotated[str, Field(max_length=1_000_000)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]


def _nothing(value: T) -> T:
    """What OpenAI's clients send for "as always". Raises ValueError for all else."""
    if value:
        raise ValueError("these models know nothing of the kind; leave it out")
    return value


Nothing = AfterValidator(_nothing)
Zero = Annotated[float, Nothing, Field(description="Only 0: there are no penalties.")]
_PIECES = {"description": "With `stream` as server-sent events, ended by [DONE]", "content": {"text/event-stream": {}}}
_STREAM: Documented = {200: _PIECES}


class StreamOptions(Body):
    """`include_usage`: the last piece tells the tokens read and drawn."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class CompletionRequest(Explained):
    """What OpenAI's clients send, and of ours `top_k` (0: all) and `ignore_end` (goes on past the end of a sentence).

    The empty prompt begins a sentence. `seed` makes an answer repeatable. With several prompts or `n`, choices come
    prompt by prompt.
    """

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=256)] | None = ""
    max_tokens: Annotated[int, Field(ge=0, le=10_000)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = 0
    n: Annotated[int, Field(ge=1, le=16)] | None = 1
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    echo: bool | None = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    ignore_end: bool = False
    suffix: Annotated[Text, Nothing] | None = None
    presence_penalty: Zero | None = 0.0
    frequency_penalty: Zero | None = 0.0
    logit_bias: Annotated[dict[str, float], Nothing] | None = None
    user: Annotated[str, Field(max_length=1_000)] | None = None

    def prompts(self) -> list[str]:
        return [self.prompt or ""] if not isinstance(self.prompt, list) else self.prompt

    def options(self) -> Options:
        """What the model needs of it; null is the default, as OpenAI's clients mean it."""
        sampling = Sampling(_or(self.temperature, 1.0), _or(self.top_p, 1.0), self.top_k or 0)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Options(
            max_tokens=int(_or(self.max_tokens, 16)), sampling=sampling, seed=self.seed, stop=stop,
            logprobs=self.logprobs, echo=bool(self.echo), ignore_end=self.ignore_end, explain=self.explained,
        )  # fmt: skip


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


Asked = Annotated[CompletionRequest, Depends(JsonBody(CompletionRequest))]


@router.post(
    "",
    response_model=CompletionView,
    responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia, also=_STREAM),
)
async def completions(here: Here, asked: Asked) -> Response:
    """Continues a text."""
    served = here.registry.get(asked.model)
    model, n = model_of(served, asked), asked.n or 1
    _check(asked, n)
    explainer = Explainer(here, served, asked.sources) if asked.explained else None
    frame: dict[str, Any] = {"id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion"}
    frame |= {"created": int(clock.now().timestamp()), "model": asked.model}
    if asked.stream:
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        pieces = stream(model, asked.prompts(), asked.options(), n)
        return EventStream(_frames(here, frame, pieces, asked, usage, explainer))
    choices, usage_of = await in_thread(_made, model, asked, n, explainer)
    return reply(frame | {"choices": choices, "usage": usage_of})


def _made(
    model: TextModel, asked: CompletionRequest, n: int, explainer: Explainer | None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    made = complete(model, asked.prompts(), asked.options(), n, asked.best_of)
    return [_choice(each, asked, explainer) for each in made], _usage(made, n)


def _check(asked: CompletionRequest, n: int) -> None:
    """Raises InvalidSpec for what single fields cannot tell."""
    if asked.best_of is None or (asked.best_of >= n and not (asked.stream and asked.best_of > n)):
        return
    message = "best_of must be at least n" if asked.best_of < n else "best_of cannot be streamed"
    raise InvalidSpec(message, faults=[Fault("/best_of", "out_of_range", message)])


def _choice(choice: Choice, asked: CompletionRequest, explainer: Explainer | None) -> dict[str, Any]:
    told = _told(choice.tokens, asked, explainer)
    return {"text": choice.text, "index": choice.index, "finish_reason": choice.finish_reason, **told}


def _told(tokens: Sequence[Generated], asked: CompletionRequest, explainer: Explainer | None) -> dict[str, Any]:
    """What is told of tokens beside their text."""
    logprobs = None if asked.logprobs is None else _logprobs(tokens)
    why = explainer and [explainer.view(_name(token), token.explanation) for token in tokens]
    return {"logprobs": logprobs, "explanations": why}


def _name(token: Generated) -> str:
    return SENTENCE_END if token.end else token.text


def _logprobs(tokens: Sequence[Generated]) -> dict[str, Any]:
    return {
        "tokens": [_name(token) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


def _usage(choices: Sequence[Choice], n: int) -> dict[str, int]:
    """A prompt counts once, however many continuations it has."""
    return _counted(sum(each.prompt_tokens for each in choices[::n]), sum(each.completion_tokens for each in choices))


def _counted(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _frames(
    here: Context,
    frame: dict[str, Any],
    pieces: Any,
    asked: CompletionRequest,
    usage: bool,
    explainer: Explainer | None,
) -> AsyncGenerator[bytes, None]:
    """One piece a token, one at each choice's end; nothing more when the server leaves."""
    read = drawn = 0
    n = asked.n or 1
    while (piece := await in_thread(next, pieces, None)) is not None:
        if here.watch.closed:
            return
        index, token = piece
        if isinstance(token, Finished):
            read += token.prompt_tokens if index % n == 0 else 0
            drawn += token.completion_tokens
            choice = {"text": "", "index": index, "finish_reason": token.reason, "logprobs": None, "explanations": None}
        else:
            given = ([token], asked, explainer)
            told = await in_thread(_told, *given) if explainer else _told(*given)
            choice = {"text": token.text, "index": index, "finish_reason": None, **told}
        yield _data(frame | {"choices": [choice]} | ({"usage": None} if usage else {}))
    if usage:
        yield _data(frame | {"choices": [], "usage": _counted(read, drawn)})
    yield b"data: [DONE]\n\n"


def _data(value: Any) -> bytes:
    return b"data: " + encode(value) + b"\n\n"
