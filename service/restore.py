"""`netwright restore`: a data folder from a backup, or nothing at all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service import config, storage
from service.errors import InvalidSpec, NotFound

STREAM = Path("-")


def main(arguments: argparse.Namespace) -> int:
    """Raises InvalidSpec when the settings name a database of their own; what else is wrong, the store says."""
    settings = config.load(data_dir=arguments.data_dir)
    if settings.database_url:
        raise InvalidSpec(
            "a backup is restored into a data folder with its own database, but NETWRIGHT_DATABASE_URL names another",
            hint="Unset it for this command.",
        )
    with _source(arguments.file) as source:
        made = storage.restore(source, settings.data_dir, replace=arguments.replace)
    said = [f"{settings.data_dir}: {made.files} artifacts and the database, {made.bytes:,} bytes, each as it was"]
    if made.requeued:
        said.append(f"  {made.requeued} runs were at work; the next server goes on with them from their checkpoints")
    if made.set_aside:
        said.append(f"  what was there is in {made.set_aside}")
    said += [f"  missing since before the backup: {sha256}" for sha256 in made.missing]
    sys.stdout.write("\n".join(said) + "\n")
    return 0


@contextmanager
def _source(path: Path) -> Iterator[BinaryIO]:
    if path == STREAM:
        yield sys.stdin.buffer
        return
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with open(path, "rb") as file:
        yield file
