"""The command `netwright`: parses the words, then imports only what the chosen command needs."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from service import __version__
from service.errors import RequestError, ServiceError

# Each module offers `main(arguments) -> exit code`; `worker` is what the server starts, not a command for people.
COMMANDS = {
    "serve": "service.serve",
    "demo": "service.demo",
    "backup": "service.backup",
    "restore": "service.restore",
    "check": "service.check",
    "keys": "service.keys",
    "worker": "service.jobs.worker",
}
_FOLDER = "All of the data folder, --data-dir (or NETWRIGHT_DATA_DIR), has to be user {}'s to read and write."


def main(words: Sequence[str] | None = None) -> None:
    """Runs one command and leaves with its exit code: 0 done, 1 failed, 2 asked wrongly."""
    arguments = parser().parse_args(words)
    try:
        gc.disable()  # what importing makes stays: looking through it again and again is a tenth of the start
        command = import_module(COMMANDS[arguments.command])
        gc.freeze()
        gc.enable()
        sys.exit(command.main(arguments))
    except ServiceError as error:
        for each in error.faults or (error,):
            _say(each.message, each.hint)
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except OSError as error:
        if error.filename is None:
            raise
        why = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        _say(f"cannot use {error.filename}: {why}", _FOLDER.format(os.geteuid()))
        sys.exit(1)


def _say(message: str, hint: str | None) -> None:
    print(f"netwright: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The language of the command line."""
    top = argparse.ArgumentParser(
        prog="netwright", description="A self-hosted service that trains networks and n-gram models from JSON."
    )
    top.add_argument("--version", action="version", version=f"netwright {__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    _serve(commands.add_parser("serve", help="run the server (the same settings by NETWRIGHT_*; see the README)"))
    _demo(commands.add_parser("demo", help="start a server, train on real data, watch, ask the models"))
    _backup(commands.add_parser("backup", help="write a backup of everything, also while the server runs"))
    _restore(commands.add_parser("restore", help="make a data folder of a backup"))
    _check(commands.add_parser("check", help="look whether the data folder is sound"))
    _keys(commands.add_parser("keys", help="make, list and revoke the keys that callers need"))
    commands.add_parser("worker")
    return top


def _serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (8000); 0 takes a free one")
    _data_dir(command)
    command.add_argument("--workers", type=int, help="worker processes (one per core)")
    command.add_argument("--processes", type=int, help="processes that answer requests (1)")
    command.add_argument("--sibling", type=int, nargs=2, help=argparse.SUPPRESS)  # how the first starts the others
    command.add_argument(
        "--allow-remote",
        action="store_true",
        default=None,
        help="listen beyond this machine although nobody needs a key",
    )


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument("--once", action="store_true", help="stop the server and leave when everything was shown")


def _backup(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="where to write it, a tar; - is standard output")
    command.add_argument("--replace", action="store_true", help="write over the file, once the new one is whole")
    _data_dir(command)


def _restore(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="the backup; - is standard input")
    command.add_argument("--replace", action="store_true", help="set aside what is in the folder; nothing is deleted")
    _data_dir(command)


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="say it as one JSON object")
    _data_dir(command)


def _keys(command: argparse.ArgumentParser) -> None:
    verbs = command.add_subparsers(dest="verb", metavar="verb", required=True)
    create = verbs.add_parser("create", help="make a key; from the first one on everybody needs one")
    create.add_argument("name", help="whose it is")
    scopes = "read: look and predict; submit: also train and upload; admin: also delete (the default)"
    create.add_argument("--scope", choices=("read", "submit", "admin"), default="admin", help=scopes)
    create.add_argument("--days", type=int, help="so long it is valid (for ever)")
    revoke = verbs.add_parser("revoke", help="take a key's force away")
    revoke.add_argument("id", help="key_..., as the list says")
    all_verbs = (create, revoke, verbs.add_parser("list", help="all that were ever made"),
                 verbs.add_parser("clear", help="forget all keys: nobody needs one any more"))  # fmt: skip
    for each in all_verbs:
        _data_dir(each)


def _data_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", type=Path, help="folder for everything the service writes (netwright-data)")
