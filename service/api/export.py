"""What a run learned, as a file for other programs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from service.api.context import Here
from service.api.replies import Documented, refuses
from service.errors import Conflict, NotFound

router = APIRouter(prefix="/v1/runs", tags=["runs"])
_TYPE = "application/octet-stream"
_FILE: Documented = {
    200: {"description": "The file", "content": {_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/{run_id}/export", response_class=Response, responses=refuses(NotFound, Conflict, also=_FILE))
async def export(
    here: Here, run_id: str,
    format: Annotated[Literal["safetensors"], Query(description="safetensors: arrays by PyTorch's names.")],
) -> Response:  # fmt: skip
    """The best weights: `0.weight` is (out, in) as in PyTorch, the number is the layer's place in the list."""
    here.store.runs.get(run_id)
    found = here.store.models.resolve(run_id)
    path = here.store.blobs.path(found.blob)
    return FileResponse(path, media_type=_TYPE, filename=f"{run_id}.{format}", headers={"ETag": f'"{found.blob}"'})
