"""`netwright backup`: everything in one file, also while the server runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from service import config, storage
from service.errors import Conflict, NotFound, StorageFull

STREAM = Path("-")


def main(arguments: argparse.Namespace) -> int:
    """0; 1 when artifacts were missing or damaged in the store already, though all the rest is in the backup."""
    settings = config.load(data_dir=arguments.data_dir)
    with closing(storage.existing(settings.url, settings.data_dir)) as store, _target(arguments) as out:
        made = store.backup(out)
    said = f"{arguments.file}: {made.files} artifacts and the database, {made.bytes:,} bytes"
    sys.stderr.write(f"{said}\n")
    for sha256 in made.missing:
        sys.stderr.write(f"  not in it, because it is missing or damaged in the store: {sha256}\n")
    return 1 if made.missing else 0


@contextmanager
def _target(arguments: argparse.Namespace) -> Iterator[BinaryIO]:
    """The file appears under its name when it is whole and on the disk, and not before."""
    if arguments.file == STREAM:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still unwritten has nowhere to go
            raise StorageFull(f"cannot write standard output: {error.strerror}") from error
        return
    path = arguments.file.absolute()
    if path.exists() and not arguments.replace:
        raise Conflict(f"{path} exists already", hint="Name another file; or say --replace.")
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}")
    unfinished = path.with_name(f"{path.name}.{token_hex(4)}.part")
    try:
        with open(unfinished, "xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(path)
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
