"""What a run learned, as a file for other programs; and such a file taken in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from service import exchange, storage, tensors
from service.api import upload
from service.api.bodies import UploadKey
from service.api.context import Context, Here, in_thread
from service.api.parameters import Parameters
from service.api.problems import UnsupportedMedia
from service.api.replies import Documented, refuses, reply
from service.api.views.run import RunView
from service.errors import Conflict, InvalidData, MissingExtra, NotFound, StorageFull, TooLarge
from service.ngram import Model, Static, export_arpa
from service.serving import Served
from service.specs import artifact
from service.storage import Idempotency

router = APIRouter(prefix="/v1/runs", tags=["runs"])
Format = Literal["safetensors", "onnx", "python", "arpa", "bundle", "tensorboard"]
_TYPE = "application/octet-stream"
_ENDINGS = {"safetensors": "safetensors", "onnx": "onnx", "python": "py", "arpa": "arpa", "bundle": "netwright"}
_WRITERS: dict[str, Callable[[artifact.NetworkModel], bytes]] = {"onnx": exchange.to_onnx, "python": exchange.to_python}
_FORMATS = (
    "safetensors: arrays by PyTorch's names. onnx: raw rows in, named answers out. python: one file that needs NumPy "
    "only. arpa: of an n-gram model, for KenLM and SRILM. bundle: all of it, for POST /v1/runs/import. tensorboard: "
    "the metrics of any run, as an event file."
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE: Documented = {200: {"description": "The file", "content": {_TYPE: _BINARY}}}


class ExportQuery(Parameters):
    """As what."""

    format: Annotated[Format, Query(description=_FORMATS)]


class ImportQuery(Parameters):
    """What it is called here."""

    name: Annotated[str | None, Query(max_length=200)] = None


@router.get(
    "/{run_id}/export", response_class=Response, responses=refuses(NotFound, Conflict, MissingExtra, also=_FILE)
)
async def export(here: Here, run_id: str, query: Annotated[ExportQuery, Query()]) -> Response:
    """The best weights: `0.weight` is (out, in) as in PyTorch, the number is the layer's place in the list."""
    run, format = here.store.runs.get(run_id), query.format
    if format == "tensorboard":
        return _event_file(here, run)
    found = here.store.models.resolve(run_id)
    path = here.store.blobs.path(found.blob)
    name = f"{run_id}.{_ENDINGS[format]}"
    headers = {"ETag": f'"{found.blob}-{format}"', "Content-Disposition": f'attachment; filename="{name}"'}
    if format == "safetensors":
        return FileResponse(path, media_type=_TYPE, headers=headers)
    if format == "bundle":
        record = exchange.Bundle(run.type, run.spec, run.report, run.receipt, run.weights_sha256)
        return StreamingResponse(map(bytes, exchange.bundled(path, record)), media_type=_TYPE, headers=headers)
    if format == "arpa":
        pieces = await in_thread(_arpa, here.registry.get(run_id))
        return StreamingResponse(pieces, media_type=_TYPE, headers=headers)
    body = await in_thread(_written, path, format)
    return Response(body, media_type=_TYPE, headers=headers)


def _event_file(here: Context, run: storage.Run) -> Response:
    """Under a name that TensorBoard takes for one of its own; a series is read when its turn comes."""
    name = f"events.out.tfevents.{int(run.created_at.timestamp())}.{run.id}"
    metrics = (here.store.metrics.series(run.id, [name])[name] for name in run.summary)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(exchange.event_file(metrics), media_type=_TYPE, headers=headers)


def _written(path: Path, format: Format) -> bytes:
    found = tensors.read(path)
    if artifact.kind_of(found) != "network":
        raise Conflict(
            f"a text model has no {format} form",
            hint="Export it as a bundle, as safetensors, or an n-gram model as arpa.",
        )
    return _WRITERS[format](artifact.unpack(found))


def _arpa(served: Served) -> Iterator[bytes]:
    """Raises Conflict for a model that has no ARPA form."""
    if isinstance(served.model, Model):
        return export_arpa(served.model)
    what = "a mixture of models" if isinstance(served.model, Static) else "a network"
    raise Conflict(f"{what} has no ARPA form", hint="Only an n-gram model has.")


@router.post(
    "/import", status_code=201, response_model=RunView,
    responses=refuses(InvalidData, UnsupportedMedia, TooLarge, StorageFull, MissingExtra),
    openapi_extra={"requestBody": {"required": True, "content": {_TYPE: _BINARY}}},
)  # fmt: skip
async def import_bundle(
    here: Here, request: Request, query: Annotated[ImportQuery, Query()], idempotency_key: UploadKey = None
) -> Response:
    """Takes in a bundle of another server, a run with its model that predicts bit for bit as it did there; or ONNX.

    An ONNX model (extra `onnx`) must be a row of layers of our vocabulary: what is not is told by its node's name.
    Pictures and series are sent channels last, whatever the file's order.
    """
    with upload.folder(here.settings.data_dir) as into:
        received = await upload.receive(request, into, "bundle")
        key = None if idempotency_key is None else Idempotency(idempotency_key, received.sha256)
        run = await in_thread(_taken, here, received.files[0].path, query.name, key)
    return reply(RunView.of(run), 201, {"Location": f"/v1/runs/{run.id}"})


def _taken(here: Context, path: Path, name: str | None, key: Idempotency | None) -> storage.Run:
    bundle = _of_onnx(path) if exchange.is_onnx(path) else exchange.opened(path)
    blob = here.store.blobs.adopt(path)
    return here.store.runs.adopt(
        type=bundle.type, name=name, spec=bundle.spec, report=bundle.report, receipt=bundle.receipt,
        weights_sha256=bundle.weights_sha256, model_blob=blob.sha256, idempotency_key=key,
    )  # fmt: skip


def _of_onnx(path: Path) -> exchange.Bundle:
    """The file's model in its place, in our format; and the record of a run that was trained elsewhere."""
    model = exchange.from_onnx(path)
    path.unlink()
    tensors.write(path, *artifact.pack(model))
    told = {"network": model.network.model_dump(mode="json"), "loss": model.loss.model_dump(mode="json")}
    return exchange.Bundle("train", told | {"imported": dict(model.facts)}, {}, None, None)
