"""`netwright keys`: makes, lists and revokes keys in the data folder, beside a running server too."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import timedelta

from service import clock, config, storage
from service.config import Settings
from service.errors import InvalidSpec, NotFound
from service.storage import Key, Store

_LONGEST, _MOST_DAYS = 100, 36_500


def main(arguments: argparse.Namespace) -> int:
    """Does one of create, list, revoke and clear.

    Raises NotFound for a key or a store that there is not, InvalidSpec for a key that cannot be.
    """
    settings = config.load(data_dir=arguments.data_dir)
    if arguments.verb == "create":
        _check(arguments)
    with closing(_opened(settings, new=arguments.verb == "create")) as store:
        for line in _DOES[arguments.verb](store, arguments):
            sys.stdout.write(line + "\n")
    return 0


def _check(asked: argparse.Namespace) -> None:
    if not (1 <= len(asked.name) <= _LONGEST and asked.name.isprintable()):
        raise InvalidSpec(f"a key's name is one line of 1 to {_LONGEST} characters")
    if asked.days is not None and not 1 <= asked.days <= _MOST_DAYS:
        raise InvalidSpec(f"--days is a number from 1 to {_MOST_DAYS}", hint="Left out, the key is valid for ever.")


def _opened(settings: Settings, *, new: bool) -> Store:
    """The store as it is: upgrading it is the server's. Only the first key may come before there is one."""
    try:
        return storage.existing(settings.url, settings.data_dir)
    except NotFound:
        if not new:
            raise
        return storage.open(settings.url, settings.data_dir)


def _create(store: Store, asked: argparse.Namespace) -> list[str]:
    first = store.keys.held() is None
    expires = None if asked.days is None else clock.now() + timedelta(days=asked.days)
    made, words = store.keys.create(asked.name, asked.scope, expires)
    sys.stderr.write(f"{_told(made)}\nIt is told this once; send it as Authorization: Bearer ...\n")
    if first:
        sys.stderr.write("From now on everybody needs a key, also on this machine.\n")
    return [words]


def _list(store: Store, asked: argparse.Namespace) -> list[str]:
    kept = [_told(each) for each in store.keys.list()]
    if not kept:
        sys.stderr.write("No key was made: nobody needs one.\n")
    return kept


def _revoke(store: Store, asked: argparse.Namespace) -> list[str]:
    return [_told(store.keys.revoke(asked.id))]


def _clear(store: Store, asked: argparse.Namespace) -> list[str]:
    return [f"{store.keys.clear()} keys are forgotten: nobody needs one now"]


_DOES = {"create": _create, "list": _list, "revoke": _revoke, "clear": _clear}


def _told(key: Key) -> str:
    end = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "for ever"
    end = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else end
    return f"{key.id}  {key.scope:6}  {key.created_at:%Y-%m-%d}  {end:18}  {key.name}"
