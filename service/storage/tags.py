"""Tags: words on a run; one of the form `key=value` is also a value under a key, as MLflow's clients know them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, insert

from service.storage.tables import run_tags


def split(tag: str) -> tuple[str, str]:
    """Key and value; a mere word is a key whose value is empty."""
    key, _, value = tag.partition("=")
    return key, value


def join(key: str, value: str) -> str:
    return f"{key}={value}" if value else key


def changed(tags: Sequence[str], given: Mapping[str, str], without: Collection[str] = ()) -> list[str]:
    """The tags with these values by key; those of a key that is given anew, or in `without`, go."""
    kept = [tag for tag in tags if split(tag)[0] not in given and split(tag)[0] not in without]
    return kept + [join(key, value) for key, value in given.items()]


def write(connection: Connection, run_key: int, tags: Sequence[str]) -> None:
    """Makes a run findable by these tags, and by no others."""
    connection.execute(delete(run_tags).where(run_tags.c.run_key == run_key))
    add(connection, run_key, tags)


def add(connection: Connection, run_key: int, tags: Sequence[str]) -> None:
    if tags:
        connection.execute(insert(run_tags), [{"tag": tag, "run_key": run_key} for tag in dict.fromkeys(tags)])
