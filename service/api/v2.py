"""The Open Inference Protocol, version 2: what clients of Triton, KServe and MLServer speak."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from service import __version__
from service.api.context import Context, Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia, request_id_of
from service.api.replies import INFERENCE_ERROR, Documented, refuses, reply
from service.api.tensors import LENGTH_HEADER, RAW_TYPE, Asked, TensorBody, written
from service.api.views.inference import (
    IndexedModelView,
    InferenceView,
    LiveView,
    ModelMetadataView,
    ModelReadyView,
    ReadyView,
    ServerView,
    TensorKindView,
)
from service.errors import (
    Conflict,
    Draining,
    Fault,
    InvalidData,
    InvalidSpec,
    NotFound,
    ServiceError,
    StorageBusy,
    TooLarge,
)
from service.serving import SMALL, RowModel, Served, oip

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]
_BINARY: dict[str, Any] = {RAW_TYPE: {"schema": {"type": "string", "format": "binary"}}}


def _refuses(*errors: type[ServiceError], also: Documented | None = None) -> Documented:
    return refuses(*errors, also=also, content=INFERENCE_ERROR)


def _ref(model: str, version: str | None) -> str:
    return model if version is None else f"{model}:{version}"


async def _served(here: Context, ref: str) -> Served:
    found = here.registry.ready(ref)
    return await in_thread(here.registry.get, ref) if found is None else found


@router.get("", response_model=ServerView, responses=_refuses())
async def server() -> Response:
    """What serves, and what it can do beyond the protocol."""
    return reply(ServerView(name="netwright", version=__version__, extensions=EXTENSIONS))


@router.get("/health/live", response_model=LiveView, responses=_refuses())
async def live() -> Response:
    """The process answers."""
    return reply(LiveView(live=True))


@router.get("/health/ready", response_model=ReadyView, responses=_refuses(Draining, StorageBusy))
async def ready(here: Here) -> Response:
    """The store answers, and requests are taken."""
    here.check_open()
    here.store.events.latest_id()
    return reply(ReadyView(ready=True))


@router.post("/repository/index", response_model=list[IndexedModelView], responses=_refuses())
async def index(here: Here) -> Response:
    """Every registered model by its newest version. A run answers under its id without standing here."""
    return reply(await in_thread(_index, here))


def _index(here: Context) -> list[IndexedModelView]:
    found, after = [], None
    while True:
        page = here.store.models.list(after=after, limit=1_000)
        found += [IndexedModelView(name=e.name, version=str(e.version), state="READY", reason="") for e in page.data]
        if page.next is None:
            return found
        after = page.next


@router.get("/models/{model}", response_model=ModelMetadataView, responses=_refuses(NotFound, Conflict))
@router.get(
    "/models/{model}/versions/{version}", response_model=ModelMetadataView, responses=_refuses(NotFound, Conflict)
)
async def metadata(here: Here, model: str, version: str | None = None) -> Response:
    """What a model takes and answers. `model` is any reference: a name, name@alias, run_..."""
    served = await _served(here, _ref(model, version))
    name = served.id.partition(":")[0]
    versions = [] if name == served.run_id else [str(each.version) for each in here.store.models.versions(name)]
    row = served.model if isinstance(served.model, RowModel) else None
    view = ModelMetadataView(
        name=model, versions=versions[::-1], platform="netwright" if row else "netwright_text",
        inputs=[_kind(each) for each in oip.inputs(row)] if row else [],
        outputs=[_kind(each) for each in oip.outputs(row)] if row else [],
    )  # fmt: skip
    return reply(view)


def _kind(kind: oip.Kind) -> TensorKindView:
    return TensorKindView(name=kind.name, datatype=kind.datatype, shape=list(kind.shape))


@router.get("/models/{model}/ready", response_model=ModelReadyView, responses=_refuses(NotFound, Conflict))
@router.get(
    "/models/{model}/versions/{version}/ready", response_model=ModelReadyView, responses=_refuses(NotFound, Conflict)
)
async def model_ready(here: Here, model: str, version: str | None = None) -> Response:
    """The model can be asked; it is loaded by the first who asks."""
    here.store.models.resolve(_ref(model, version))
    return reply(ModelReadyView(name=model, ready=True))


_INFER = _refuses(
    InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia, also={200: {"content": _BINARY}}
)


@router.post("/models/{model}/infer", response_model=InferenceView, responses=_INFER)
@router.post("/models/{model}/versions/{version}/infer", response_model=InferenceView, responses=_INFER)
async def infer(
    here: Here, request: Request, asked: Annotated[Asked, Depends(TensorBody())], model: str, version: str | None = None
) -> Response:
    """Predictions for rows as tensors, in JSON or as bytes behind it, in both directions; scaling is done here.

    Rows of numbers are one tensor; a table with words has a tensor for each column, words as BYTES.
    """
    served = await _served(here, _ref(model, version))
    timed = isinstance(served.model, RowModel) and served.model.preprocessor.steps is not None
    if prod(asked.tensors[0].kind.shape[: 2 if timed else 1]) * served.bytes <= SMALL:
        return _answer(served, model, asked, request_id_of(request))
    return await in_thread(_answer, served, model, asked, request_id_of(request))


def _answer(served: Served, model: str, asked: Asked, request_id: str) -> Response:
    row, sent = served.rows(), asked.request
    y = row.network(oip.read(row, asked.tensors))
    tensors = oip.write(row, y, [each.name for each in sent.outputs])
    by_default = sent.parameters.get("binary_data_output") is True
    wanted: list[dict[str, Any]] = [each.parameters for each in sent.outputs] or [{} for _ in tensors]
    told = [
        (_classes(row, tensor, parameters, at), parameters.get("binary_data", by_default) is True)
        for at, (tensor, parameters) in enumerate(zip(tensors, wanted, strict=True))
    ]
    head = {"model_name": model, "model_version": served.id.partition(":")[2], "id": sent.id or request_id}
    body, length = written(head, told)
    if length is None:
        return Response(body, media_type="application/json")
    return Response(body, headers={LENGTH_HEADER: str(length)}, media_type=RAW_TYPE)


def _classes(model: RowModel, tensor: oip.Tensor, parameters: dict[str, Any], at: int) -> oip.Tensor:
    count = parameters.get("classification")
    if count is None:
        return tensor
    if type(count) is not int or count < 1 or isinstance(tensor.values, list):
        words = "classification asks for so many of the largest numbers, 1 or more, of an output of numbers"
        pointer = f"/outputs/{at}/parameters/classification"
        raise InvalidSpec(words, faults=[Fault(pointer, "out_of_range", words)])
    return oip.classified(model, tensor, count)
