"""From a database's URL to its engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.errors import InvalidSpec

_URLS = "sqlite:////folder/file.db or postgresql+psycopg://user@host/name"


def connected(url: str, serializer: Callable[[object], str]) -> Engine:
    """Connects when it is first used. Raises InvalidSpec for what is no store of ours."""
    try:
        parts = make_url(url)
        dialect = parts.get_backend_name()
        if dialect == "sqlite" and parts.database in (None, "", ":memory:"):
            raise InvalidSpec("a database in memory is seen by one process alone", hint=_URLS)
        if dialect in ("sqlite", "postgresql"):
            return create_engine(url, json_serializer=serializer, pool_size=8, max_overflow=-1)
    except ArgumentError as error:
        raise InvalidSpec(f"no URL of a database: {error}", hint=_URLS) from error
    except ModuleNotFoundError as error:
        raise InvalidSpec(f"this database needs the package {error.name}", hint=f"pip install {error.name}") from error
    raise InvalidSpec(f"no store for {dialect}", hint=_URLS)


def check_place(url: str) -> None:
    """Whether there is a place for the database, where it is a file. Raises InvalidSpec."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite":
        return
    path = Path(parts.database or "")
    if path.is_dir():
        raise InvalidSpec(f"{path} is a folder, not a database", hint=_URLS)
    if not path.parent.is_dir():
        hint = f"Make the folder first, or name one that is there: {_URLS}"
        raise InvalidSpec(f"there is no folder {path.parent} for the database {path.name}", hint=hint)
