"""What a receiver needs to know that a call is ours: the headers of the Standard Webhooks specification (2023)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

_PREFIX = "whsec_"


def headers(message_id: str, at_s: int, body: bytes, secret: str | None) -> Mapping[str, str]:
    """The id is the same at every attempt; the signature is HMAC-SHA256 of `id.timestamp.body`, in base64."""
    named = {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
    if secret is None:
        return named
    signed = b"%s.%d.%s" % (message_id.encode(), at_s, body)
    digest = hmac.digest(key(secret), signed, hashlib.sha256)
    return {**named, "webhook-signature": "v1," + base64.b64encode(digest).decode()}


def key(secret: str) -> bytes:
    """`whsec_` and base64 is the specification's form; any other secret counts as its own bytes."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
