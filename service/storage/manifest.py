"""What a backup says of itself, in its first member."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidData

MAX_BYTES = 256 << 20  # of the manifest: millions of artifacts
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0, strict=True)]


class Whole(BaseModel):
    """One file by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    bytes: Bytes


class Manifest(BaseModel):
    """Every file that follows. `missing`: artifacts that the store needed, but had lost before it was backed up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["netwright.backup/1"] = "netwright.backup/1"
    created_at: datetime
    database: Whole
    files: dict[Sha256, Bytes]
    missing: tuple[Sha256, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return self.database.bytes + sum(self.files.values())


def parse(data: bytes) -> Manifest:
    """Raises InvalidData."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"]))
        message = f"not a backup that this program can read: {where}: {first['msg']}"
        raise InvalidData(message, hint="Was it made by a newer version?") from error
