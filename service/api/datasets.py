"""Data sets: uploaded once, named by content, described, previewed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies import UploadKey
from service.api.context import Context, Here, in_thread
from service.api.parameters import Parameters
from service.api.problems import UnsupportedMedia
from service.api.replies import Documented, ListQuery, listed, refuses, reply
from service.api.upload import Received, folder, receive
from service.api.views.base import ListView
from service.api.views.dataset import DatasetView, PreviewView
from service.data import Dataset, Format, Parsed, Wishes, histograms, parse_wishes, read
from service.errors import (
    Conflict,
    Draining,
    Fault,
    InvalidData,
    InvalidSpec,
    MissingExtra,
    NotFound,
    StorageFull,
    TooLarge,
    did_you_mean,
)
from service.storage import DatasetRow, Idempotency, full_told

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
FORMATS: tuple[Format, ...] = get_args(Format)
_PARSING = CapacityLimiter(2)  # uploads parsed at once: the others wait on disk
_TYPES: dict[str, Format] = {
    "text/csv": "csv", "text/plain": "text", "application/json": "json", "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl", "application/x-jsonlines": "jsonl", "application/x-npy": "npy",
    "application/x-npz": "npz", "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow", "application/vnd.apache.arrow.stream": "arrow",
}  # fmt: skip
ABOUT_TYPES = (
    "Columns' types where they are not what the values look like: `zip:category,age:number,note:text,when:date`, or a"
    " JSON object. number refuses other words, by row; date reads ISO 8601 as seconds since 1970 (UTC); sequence"
    " keeps lists of one length as rows of any length."
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}},
        "name": {"type": "string", "maxLength": 200},
        "format": {"type": "string", "enum": list(FORMATS)},
        "types": {"type": "string", "description": "As in the query."},
        "resize": {"type": "string", "description": "As in the query."},
    },
}
KNOWN: Documented = {200: {"description": "This content is known already", "model": DatasetView}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One or more files that make one data set, or one file as the raw body.",
        "content": {"multipart/form-data": {"schema": _FORM}, "application/octet-stream": _BINARY, "text/csv": _BINARY},
    }
}


class DatasetsQuery(ListQuery):
    """Which data sets."""

    kind: Literal["table", "array", "sequence", "image", "series", "text", "weights"] | None = None
    name: Annotated[str | None, Query(max_length=200)] = None


class UploadQuery(Parameters):
    """What to know of a raw body."""

    name: Annotated[str | None, Query(max_length=200, description="For a raw body: its file name.")] = None
    format: Annotated[Format | None, Query(description="For a raw body, when its type does not tell.")] = None
    types: Annotated[str | None, Query(max_length=64_000, description=ABOUT_TYPES)] = None
    resize: Annotated[str | None, Query(max_length=40, description="The size pictures are scaled to: 28x28.")] = None


class PreviewQuery(Parameters):
    """How much of a data set."""

    limit: Annotated[int, Query(ge=1, le=1000)] = 20
    bins: Annotated[int, Query(ge=0, le=200, description="Of the histograms; 0 for none.")] = 20


@router.post(
    "", response_model=DatasetView, status_code=201, openapi_extra=_BODY,
    responses=refuses(InvalidData, TooLarge, UnsupportedMedia, MissingExtra, StorageFull, Draining, also=KNOWN),
)  # fmt: skip
async def upload(
    request: Request, here: Here, query: Annotated[UploadQuery, Query()], idempotency_key: UploadKey = None
) -> Response:
    """Takes CSV, JSON (lines), Parquet, Arrow, NPY, NPZ, IDX (.gz too), zips of pictures or sounds, text, safetensors.

    Streamed to disk, then parsed.
    """
    here.check_open()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with folder(here.settings.data_dir) as into:
        received = await receive(request, into, query.name or "")
        chosen = known_format(received.fields.get("format")) or query.format or _TYPES.get(kind)
        label = (received.fields.get("name") or query.name or received.files[0].name or "dataset")[:200]
        wishes = parse_wishes(
            received.fields.get("types") or query.types, received.fields.get("resize") or query.resize
        )
        row, new = await taken(here, received, into, label, chosen, wishes, idempotency_key)
    return reply(DatasetView.of(row), 201 if new else 200, {"Location": f"/v1/datasets/{row.id}"})


async def taken(
    here: Context, received: Received, into: Path, label: str, format: Format | None, wishes: Wishes, key: str | None
) -> tuple[DatasetRow, bool]:
    """The data set of an upload that is on disk, and whether it is a new one."""
    sha256, known = _known(here, _wished(received.sha256, wishes), format)
    kept = None if key is None else Idempotency(key, sha256)
    if known is not None:
        return await in_thread(_again, here, known, kept), False
    parsed_at = into / "parsed"
    parsed = await to_thread.run_sync(_parse, received, parsed_at, format, wishes, limiter=_PARSING)
    return await in_thread(_keep, here, label, sha256, received.bytes, parsed, parsed_at, kept), True


def known_format(word: str | None) -> Format | None:
    """Raises InvalidSpec when it is none."""
    if word is None or word in FORMATS:
        return word
    message = f"unknown format {word[:80]!r}"
    raise InvalidSpec(message, faults=[Fault("/format", "unknown_word", message, did_you_mean(word, FORMATS), FORMATS)])


def _known(here: Context, sha256: str, format: Format | None) -> tuple[str, DatasetRow | None]:
    """The content's name and the data set it is. A text that is a table too is told apart by the format asked."""
    found = here.store.datasets.find(sha256)
    if found is None or format is None or (found.kind == "text") == (format == "text"):
        return sha256, found
    other = hashlib.sha256(f"{sha256} as {format}".encode()).hexdigest()
    return other, here.store.datasets.find(other)


def _wished(sha256: str, wishes: Wishes) -> str:
    """The content's name; with other types it is another data set."""
    return hashlib.sha256(f"{sha256} with {wishes.words}".encode()).hexdigest() if wishes.words else sha256


def _parse(received: Received, into: Path, format: Format | None, wishes: Wishes) -> Parsed:
    with full_told():
        return read(received.files, into, format, wishes=wishes)


def _keep(
    here: Context, name: str, sha256: str, size: int, parsed: Parsed, path: Path, key: Idempotency | None
) -> DatasetRow:
    described = parsed.description
    blob = here.store.blobs.adopt(path)
    return here.store.datasets.add(
        name=name, kind=described.kind, rows=described.rows, sha256=sha256, blob=blob.sha256, bytes=size,
        description=described.model_dump(), idempotency_key=key,
    )  # fmt: skip


def _again(here: Context, row: DatasetRow, key: Idempotency | None) -> DatasetRow:
    """What is known already; the key is kept all the same, and refused when it stood for something else."""
    same = ("name", "kind", "rows", "sha256", "blob", "bytes", "description")
    return here.store.datasets.add(**{name: getattr(row, name) for name in same}, idempotency_key=key) if key else row


@router.get("", response_model=ListView[DatasetView], responses=refuses())
async def list_datasets(here: Here, query: Annotated[DatasetsQuery, Query()]) -> Response:
    """Newest first."""
    return listed(here.store.datasets.list(**query.model_dump()), DatasetView.of)


@router.get("/{dataset_id}", response_model=DatasetView, responses=refuses(NotFound))
async def get_dataset(here: Here, dataset_id: str) -> Response:
    """Columns with their types and statistics."""
    return reply(DatasetView.of(here.store.datasets.get(dataset_id)))


@router.get("/{dataset_id}/preview", response_model=PreviewView, responses=refuses(NotFound))
async def preview(here: Here, dataset_id: str, query: Annotated[PreviewQuery, Query()]) -> Response:
    """The first rows, as they would be sent to a model, and how the values of each column lie."""
    row = here.store.datasets.get(dataset_id)
    return reply({"id": row.id, **await in_thread(_preview, here.store.blobs.path(row.blob), query.limit, query.bins)})


def _preview(path: Path, limit: int, bins: int) -> dict[str, Any]:
    dataset = Dataset.open(path)
    found = histograms(dataset, bins) if bins else {}
    return {"rows": dataset.preview(limit), "histograms": {name: asdict(each) for name, each in found.items()}}


@router.delete("/{dataset_id}", status_code=204, response_class=Response, responses=refuses(NotFound, Conflict))
async def delete_dataset(here: Here, dataset_id: str) -> Response:
    """Forgets a data set that no job or run refers to."""
    await in_thread(here.store.datasets.delete, dataset_id)
    return Response(status_code=204)
