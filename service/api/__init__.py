"""The HTTP API: the only room that speaks FastAPI."""

from service.api.app import create_app
from service.api.direct import Direct

__all__ = ["Direct", "create_app"]
