"""What every spec of this room is, and the three words every vocabulary has."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

UNKNOWN, START, END = 0, 1, 2
"""The ids of `<unk>`, `<s>` and `</s>`; other tokens follow, see `vocabulary.arranged`."""
RESERVED = (b"<unk>", b"<s>", b"</s>")


class Spec(BaseModel):
    """A piece of a request: immutable, no unknown fields, no "7" for 7, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        if "kind" in schema.get("properties", {}):  # a defaulted kind shows as optional although requests need it
            schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]
        return reference
