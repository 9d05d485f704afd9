"""`netwright check`: whether everything that is kept is there and as it should be."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict

from service import config, storage
from service.errors import StorageDamaged
from service.storage import Checkup, Finding


def main(arguments: argparse.Namespace) -> int:
    """0 when all is sound, 1 when not."""
    settings = config.load(data_dir=arguments.data_dir)
    try:
        with closing(storage.existing(settings.url, settings.data_dir)) as store:
            checkup = store.check()
    except StorageDamaged as error:
        checkup = Checkup((Finding("database_damaged", "database", str(error.__cause__)),), 0, 0, 0, 0, 0)
    said = json.dumps({"sound": checkup.sound} | asdict(checkup)) if arguments.json else _in_words(checkup)
    sys.stdout.write(said + "\n")
    return 0 if checkup.sound else 1


def _in_words(checkup: Checkup) -> str:
    said = [f"{each.code} {each.where}: {each.message}" for each in checkup.findings]
    if checkup.sound:
        said.append(
            f"sound: {checkup.runs} runs, {checkup.files} artifacts ({checkup.bytes:,} bytes), all as they were"
        )
    else:
        said.append(f"NOT sound: {len(said)} findings")
    if checkup.unused_files:
        said.append(
            f"{checkup.unused_files} files ({checkup.unused_bytes:,} bytes) that nothing needs; the server removes them"
        )
    return "\n".join(said)
