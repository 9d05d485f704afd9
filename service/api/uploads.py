"""Large files in pieces: begun, added to at an offset that a broken connection can ask for, finished to a data set."""

from __future__ import annotations

from typing import Annotated

from anyio import CancelScope, to_thread
from fastapi import APIRouter, Depends, Header
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies import Body, IdempotencyKey, JsonBody
from service.api.context import Here, in_thread
from service.api.datasets import ABOUT_TYPES, known_format, taken
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.upload import Received, folder, label
from service.api.views.dataset import DatasetView, UploadView
from service.data import Format, Upload, parse_wishes
from service.errors import (
    Conflict,
    Draining,
    Fault,
    InvalidData,
    MissingExtra,
    NotFound,
    StorageFull,
    TooLarge,
)
from service.storage import Announced, Appending, Unfinished, full_told, sha256_of

router = APIRouter(prefix="/v1/uploads", tags=["datasets"])
_FLUSH_BYTES, _COMMIT_BYTES = 1 << 20, 16 << 20
_OPEN = 4  # times the largest upload may be unfinished, all together
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY,
                                                       "application/partial-upload": _BINARY}}}  # fmt: skip
_OFFSET = {"headers": {"Upload-Offset": {"description": "So many bytes are kept.", "schema": {"type": "integer"}}}}


class UploadBegin(Body):
    """A file that is to come in pieces, and how it is to be read: as in `POST datasets`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    bytes: Annotated[int, Field(ge=1, le=1 << 50, description="The file's size.")]
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$", description="Of the file; checked at its end.")] = (
        None
    )
    format: Format | None = None
    types: Annotated[str | None, Field(max_length=64_000, description=ABOUT_TYPES)] = None
    resize: Annotated[str | None, Field(max_length=40)] = None


@router.post(
    "", status_code=201, response_model=UploadView,
    responses=refuses(InvalidJson, InvalidData, TooLarge, UnsupportedMedia, StorageFull, Draining),
)  # fmt: skip
async def begin(
    here: Here, asked: Annotated[UploadBegin, Depends(JsonBody(UploadBegin))], key: IdempotencyKey
) -> Response:
    """Announces a file. Its bytes go to the address in Location; it expires a day after the last of them came."""
    here.check_open()
    if asked.bytes > here.settings.max_upload_bytes:
        message = f"{asked.bytes:,} bytes are more than the {here.settings.max_upload_bytes:,} that an upload may have"
        raise TooLarge(message, faults=[Fault("/bytes", "too_large", message)])
    parse_wishes(asked.types, asked.resize)
    options = {"format": asked.format, "types": asked.types, "resize": asked.resize}
    announced = Announced(label(asked.name), asked.bytes, asked.sha256, options)
    found = await in_thread(here.store.uploads.begin, announced, _OPEN * here.settings.max_upload_bytes, key)
    return _told(found, 201, Location=f"/v1/uploads/{found.id}")


@router.get("/{upload_id}", response_model=UploadView, responses=refuses(NotFound))
async def get_upload(here: Here, upload_id: str) -> Response:
    """How much has come: a client whose connection broke goes on from `offset`."""
    return _told(await in_thread(here.store.uploads.get, upload_id))


@router.head("/{upload_id}", status_code=204, response_class=Response, responses=refuses(NotFound, also={204: _OFFSET}))
async def head_upload(here: Here, upload_id: str) -> Response:
    """The same in the headers Upload-Offset and Upload-Length."""
    found = await in_thread(here.store.uploads.get, upload_id)
    return Response(status_code=204, headers=_headers(found) | {"Cache-Control": "no-store"})


@router.patch(
    "/{upload_id}", status_code=204, response_class=Response, openapi_extra=_BODY,
    responses=refuses(NotFound, Conflict, TooLarge, StorageFull, Draining, also={204: _OFFSET}),
)  # fmt: skip
async def append(
    request: Request, here: Here, upload_id: str,
    upload_offset: Annotated[int, Header(ge=0, le=1 << 50, description="Where these bytes begin.")],
) -> Response:  # fmt: skip
    """Adds bytes behind those that are there. What is answered is on disk for good; so is what came before a break."""
    here.check_open()
    target = await in_thread(here.store.uploads.open, upload_id, upload_offset)
    try:
        pending = bytearray()
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= _FLUSH_BYTES:
                pending = await _flushed(target, pending)
        await _flushed(target, pending)
        await in_thread(_sure, target)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(target.close)
    return Response(status_code=204, headers={"Upload-Offset": str(target.offset)})


async def _flushed(target: Appending, pending: bytearray) -> bytearray:
    await in_thread(_sure, target, bytes(pending))
    return bytearray()


def _sure(target: Appending, piece: bytes | None = None) -> None:
    """Writes, and now and then makes it certain; at the end always. Raises StorageFull."""
    with full_told():
        if piece is None:
            target.commit()
        else:
            before = target.offset // _COMMIT_BYTES
            target.write(piece)
            if target.offset // _COMMIT_BYTES > before:
                target.commit()


@router.post(
    "/{upload_id}/finish", response_model=DatasetView,
    responses=refuses(NotFound, Conflict, InvalidData, TooLarge, MissingExtra, StorageFull, Draining),
)  # fmt: skip
async def finish(here: Here, upload_id: str) -> Response:
    """Makes the data set, when all bytes have come; asked again, answers with the same."""
    here.check_open()
    found = await in_thread(here.store.uploads.get, upload_id)
    if found.dataset_id is not None:
        return reply(DatasetView.of(here.store.datasets.get(found.dataset_id)))
    said, path = found.announced, here.store.uploads.path(upload_id)
    if found.offset != said.bytes:
        raise Conflict(f"{found.offset:,} of {said.bytes:,} bytes have come", hint="Send the rest, then finish.")
    sha256 = await in_thread(sha256_of, path)
    if said.sha256 not in (None, sha256):
        message = f"the bytes that came have the sha256 {sha256}"
        raise InvalidData(message, faults=[Fault("/sha256", "other_content", message, "Delete it and begin anew.")])
    received = Received([Upload(said.name, path)], {}, sha256, said.bytes)
    options = said.options or {}
    wishes = parse_wishes(options.get("types"), options.get("resize"))
    with folder(here.settings.data_dir) as into:
        row, _ = await taken(here, received, into, said.name, known_format(options.get("format")), wishes, None)
    await in_thread(here.store.uploads.finish, upload_id, row.id)
    return reply(DatasetView.of(row), headers={"Location": f"/v1/datasets/{row.id}"})


@router.delete("/{upload_id}", status_code=204, response_class=Response, responses=refuses(NotFound))
async def delete_upload(here: Here, upload_id: str) -> Response:
    """Forgets it and what has come; a data set made of it stays."""
    await in_thread(here.store.uploads.delete, upload_id)
    return Response(status_code=204)


def _told(found: Unfinished, status: int = 200, **headers: str) -> Response:
    same = {name: getattr(found, name) for name in ("id", "offset", "dataset_id", "expires_at")}
    view = UploadView(**same, name=found.announced.name, bytes=found.announced.bytes)
    return reply(view, status, headers | _headers(found))


def _headers(found: Unfinished) -> dict[str, str]:
    return {"Upload-Offset": str(found.offset), "Upload-Length": str(found.announced.bytes)}
