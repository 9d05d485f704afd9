"""Predictions of files and of whole data sets: streamed, whatever their size, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from service.api import upload
from service.api.bodies import Body, JsonBody, media_type
from service.api.context import Context, Here, in_thread
from service.api.door import FILES
from service.api.parameters import Parameters
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses
from service.data import Dataset, DatasetSpec, Format, apply, read
from service.errors import Conflict, Fault, InvalidData, InvalidSpec, NotFound
from service.serving import BulkFormat, Detail, Served, check, written
from service.specs import materialize

router = APIRouter(prefix="/v1/models", tags=["models"])
FORMATS: Mapping[str, Format] = {media: "csv" if "csv" in media else "jsonl" for media in FILES}
MODEL_HEADER = "X-Model"
_TYPES: Mapping[BulkFormat, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
CONTENT: dict[str, Any] = {media: {"schema": {"type": "string"}} for media in _TYPES.values()}


class FileQuery(Parameters):
    """What to say of each row of a file."""

    top_k: Annotated[int | None, Query(ge=1, le=1_000, description="Of a file or bytes: so many classes a row.")] = None
    probabilities: Annotated[
        bool, Query(description="Of a file or bytes: false leaves the table of probabilities out.")
    ] = True

    def detail(self) -> Detail:
        """The same for the room that serves."""
        return Detail(self.top_k, self.probabilities)

    def refuse(self) -> None:
        """Raises InvalidSpec where anything is said beside a body of JSON, which has fields for it."""
        faults = [
            Fault(f"/query/{name}", "not_here", f"{name} of the query is not read beside JSON", "Say it in the body.")
            for name in sorted(self.model_fields_set)
        ]
        if faults:
            raise InvalidSpec(faults[0].message, faults=faults)


class Whole(Body):
    """A data set, all of whose rows are to be predicted, and how the answer is written."""

    dataset: DatasetSpec
    format: BulkFormat = "ndjson"
    top_k: Annotated[int, Field(ge=1, le=1_000)] | None = None
    probabilities: bool = True
    logits: bool = False


@router.post(
    "/{ref}/predictions", response_class=StreamingResponse,
    responses=refuses(InvalidJson, InvalidData, NotFound, Conflict, UnsupportedMedia, also={200: {"content": CONTENT}}),
)  # fmt: skip
async def predict_dataset(here: Here, ref: str, asked: Annotated[Whole, Depends(JsonBody(Whole))]) -> Response:
    """Every row of a stored data set, streamed: a line a row with its number. Columns that are no features may be."""
    served = here.registry.get(ref)
    detail = Detail(asked.top_k, asked.probabilities, asked.logits)
    return await in_thread(_stored, here, served, asked, detail)


def _stored(here: Context, served: Served, asked: Whole, detail: Detail) -> Response:
    row = materialize(asked.dataset, here.store, "/dataset")
    return _streamed(served, Dataset.open(here.store.blobs.path(row.blob)), detail, asked.format)


async def file(here: Context, request: Request, served: Served, query: FileQuery) -> Response:
    """The rows of a body that may be large. All of it is read and checked before the first answer goes out."""
    kind, accept = media_type(request), request.headers.get("accept", "")
    wanted: BulkFormat = "csv" if "csv" in (accept if "csv" in accept or "json" in accept else kind) else "ndjson"
    served.rows()
    with upload.folder(here.settings.data_dir) as into:
        received = await upload.receive(request, into, "rows")

        def answer() -> Response:
            read(received.files, into / "parsed", FORMATS[kind])
            return _streamed(served, Dataset.open(into / "parsed"), query.detail(), wanted)

        return await in_thread(answer)  # the file's pages stay mapped when its name is gone


def _streamed(served: Served, data: Dataset, detail: Detail, format: BulkFormat) -> Response:
    model = served.rows()
    check(model, detail, 0)
    lines: Iterator[bytes] = written(model, apply(data, model.preprocessor), None, detail, format)
    return StreamingResponse(lines, headers={MODEL_HEADER: served.id}, media_type=_TYPES[format])
