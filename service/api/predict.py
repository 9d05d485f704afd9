"""Predictions: raw rows in, as they were uploaded; named answers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from service.api import bulk
from service.api.bodies import Body, JsonBody, MediaBody, Sent, Unread
from service.api.bulk import MODEL_HEADER
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import encode, refuses
from service.api.views.model import PredictionsView
from service.errors import Conflict, InvalidData, NotFound, StorageFull, TooLarge
from service.serving import (
    NPY_TYPE,
    SMALL,
    Detail,
    RowModel,
    Served,
    answers,
    detailed,
    from_file,
    from_npy,
    from_raw,
    to_npy,
    to_raw,
)
from service.tensors import Array

router = APIRouter(prefix="/v1/models", tags=["models"])
MAX_ROWS = 100_000
MAX_TOP_K = 1_000
RAW_TYPE = "application/octet-stream"
READERS: Mapping[str, Callable[[RowModel, bytes], Array]] = {
    RAW_TYPE: from_raw, NPY_TYPE: from_npy, "image/png": from_file, "image/jpeg": from_file,
    "audio/wav": from_file, "audio/x-wav": from_file,
}  # fmt: skip
ONE_ROW = tuple(media for media, reader in READERS.items() if reader is from_file)
WRITERS: Mapping[str, Callable[[RowModel, Array], bytes]] = {RAW_TYPE: to_raw, NPY_TYPE: to_npy}
_BINARY: dict[str, Any] = {media: {"schema": {"type": "string", "format": "binary"}} for media in WRITERS}


class Rows(Body):
    """Rows as they were uploaded: lists in the order of the features, or objects by column name."""

    rows: Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS)]
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] | None = None
    probabilities: Annotated[bool, Field(description="False leaves the table of probabilities out.")] = True
    logits: Annotated[bool, Field(description="Also the numbers before the last softmax or sigmoid.")] = False
    layers: Annotated[
        list[int | Annotated[str, Field(max_length=40)]],
        Field(
            max_length=20, description="Also what these layers give: by number, or by kind where one alone is of it."
        ),
    ] = []

    temperature: Annotated[
        float, Field(ge=0.05, le=20, description="Divides the logits; above 1 is less sure. An evaluation tells which.")
    ] = 1.0

    def detail(self) -> Detail | None:
        """What was asked beyond the plain answer; None when nothing was."""
        if self.probabilities and not self.logits and not self.layers and self.temperature == 1.0:
            return None
        return Detail(self.top_k, self.probabilities, self.logits, tuple(self.layers), self.temperature)


@router.post(
    "/{ref}/predict", response_model=PredictionsView,
    responses=refuses(
        InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia, StorageFull,
        also={200: {"content": _BINARY | bulk.CONTENT}},
    ),
)  # fmt: skip
async def predict_rows(
    here: Here, ref: str, request: Request, query: Annotated[bulk.FileQuery, Query()],
    asked: Annotated[Rows | Sent | Unread, Depends(MediaBody(JsonBody(Rows, numbers=True), READERS, bulk.FORMATS))],
) -> Response:  # fmt: skip
    """Scaling, encodings and classes found in training are applied; works while other jobs train.

    Rows of numbers may be sent as bytes: `application/octet-stream` is little-endian float32, row after row,
    `application/x-npy` an array as NumPy saves it. With `Accept` of the same types the predictions come back so:
    a probability for each class, or a value for each target; the header `X-Model` names the version. A PNG or JPEG
    as the body is one row of a model of pictures. What the query says is of such bodies and of files.

    Files of any size come as `text/csv` or `application/x-ndjson` and are answered so, a line a row; `Accept` chooses.
    """
    served = here.registry.ready(ref)
    if served is None:
        served = await in_thread(here.registry.get, ref)
    if isinstance(asked, Unread):
        return await bulk.file(here, request, served, query)
    model, accept = served.rows(), request.headers.get("accept", "")
    if isinstance(asked, Rows):
        query.refuse()
    if isinstance(asked, Rows) and (detail := asked.detail()):
        found = await in_thread(detailed, served, asked.rows, detail)
        return Response(encode({"model": served.id, "predictions": found}), media_type="application/json")
    said = query if isinstance(asked, Sent) else asked
    if _count(model, asked) * served.bytes <= SMALL:
        return answer(served, answered(model, asked), accept, said)
    return await in_thread(lambda: answer(served, answered(model, asked), accept, said))


def _count(model: RowModel, asked: Rows | Sent) -> int:
    """How often the rows go through the weights, about."""
    if isinstance(asked, Rows):
        return model.preprocessor.work(asked.rows)
    return len(asked.body) // (4 * (model.preprocessor.width or 1)) + 1


def answered(model: RowModel, asked: Rows | Sent) -> Array:
    """The network's output for the rows that were sent. Raises InvalidData."""
    if isinstance(asked, Sent):
        return model.network(READERS[asked.media_type](model, asked.body))
    return model.network(model.preprocessor.rows(asked.rows))


def answer(served: Served, y: Array, accept: str, said: Rows | bulk.FileQuery) -> Response:
    """The predictions as the caller wants to read them; JSON unless bytes are asked for."""
    media = next((media for media in WRITERS if media in accept), None)
    if media is not None:
        return Response(WRITERS[media](served.rows(), y), headers={MODEL_HEADER: served.id}, media_type=media)
    found = answers(served.rows(), y, said.top_k)
    if not said.probabilities:
        found = [{name: each[name] for name in each if name != "probabilities"} for each in found]
    return Response(encode({"model": served.id, "predictions": found}), media_type="application/json")
