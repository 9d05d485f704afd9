"""From a database's URL to its engine."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.errors import InvalidSpec

_URLS = "sqlite:////folder/file.db or postgresql+psycopg://user@host/name"


def connected(url: str, serializer: Callable[[object], str]) -> Engine:
    """Connects when it is first used. Raises InvalidSpec for what is no store of ours."""
    try:
        dialect = make_url(url).get_backend_name()
        if dialect in ("sqlite", "postgresql"):
            return create_engine(url, json_serializer=serializer, pool_size=8, max_overflow=-1)
    except ArgumentError as error:
        raise InvalidSpec(f"no URL of a database: {error}", hint=_URLS) from error
    except ModuleNotFoundError as error:
        raise InvalidSpec(f"this database needs the package {error.name}", hint=f"pip install {error.name}") from error
    raise InvalidSpec(f"no store for {dialect}", hint=_URLS)
