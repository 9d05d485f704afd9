"""Keys as answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.api.views.base import View


class KeyView(View):
    """What is known of a key once it is made; never its words."""

    id: str
    name: str
    scope: Literal["read", "submit", "admin"]
    created_at: datetime
    expires_at: datetime | None = Field(description="From then on it opens nothing; null: it does not expire.")
    revoked_at: datetime | None


class NewKeyView(KeyView):
    """A key just made."""

    key: str = Field(description="To be sent as `Authorization: Bearer ...`; told this once, for only a hash is kept.")
