"""The HTTP API: the only room that speaks FastAPI."""

from service.api.app import create_app

__all__ = ["create_app"]
