"""Opaque cursors: the sort key of the last row seen, so that a page stays right whatever is inserted."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from service.errors import Fault, InvalidSpec


def encode(*place: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode(text: str, *types: type | tuple[type, ...]) -> list[Any]:
    """The place that `encode` was given. Raises InvalidSpec when it is none of ours."""
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    if not isinstance(place, list) or len(place) != len(types) or not all(map(isinstance, place, types)):
        message = "not a cursor of this list"
        raise InvalidSpec(
            message, faults=[Fault("/after", "invalid_cursor", message, "Give `next` of the page before.")]
        )
    return place
