"""Keys: told once, kept as a hash, and never again what opens a store by being taken away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service import clock, storage
from service.errors import NotFound
from service.storage import Held, Store, digest


def test_nobody_needs_a_key_before_the_first_is_made(store: Store) -> None:
    assert store.keys.held() is None
    assert store.keys.list() == ()


def test_a_key_is_kept_as_its_hash_alone(tmp_path: Path) -> None:
    store = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
    made, words = store.keys.create("ci", "submit")
    assert store.keys.held() == (Held(digest(words), "submit"),)
    assert store.keys.list() == (made,)
    store.close()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert digest(words).encode() in written
    assert words.encode() not in written


def test_a_revoked_key_opens_nothing_and_neither_does_its_going_open_the_store(store: Store) -> None:
    made, _ = store.keys.create("lost", "admin")
    gone = store.keys.revoke(made.id)
    assert gone.revoked_at is not None
    assert store.keys.held() == ()
    assert store.keys.revoke(made.id) == gone
    with pytest.raises(NotFound):
        store.keys.revoke("key_none")


def test_an_expired_key_opens_nothing(store: Store) -> None:
    store.keys.create("old", "read", clock.now() - timedelta(seconds=1))
    _, words = store.keys.create("new", "read", clock.now() + timedelta(days=1))
    assert store.keys.held() == (Held(digest(words), "read"),)


def test_forgotten_keys_leave_the_store_open(store: Store) -> None:
    store.keys.create("one", "admin")
    store.keys.create("two", "read")
    assert store.keys.clear() == 2
    assert store.keys.held() is None
