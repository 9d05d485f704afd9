"""Uploads in pieces: what was acknowledged stays, what was not is cut off, and none of it stays for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from service.errors import Conflict, InvalidSpec, NotFound, StorageFull
from service.storage import Announced, Idempotency
from service.storage import uploads as module
from service.storage.uploads import KEPT_S, Uploads

MOST = 1_000


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads")


def sent(uploads: Uploads, upload_id: str, offset: int, data: bytes) -> None:
    appending = uploads.open(upload_id, offset)
    appending.write(data)
    appending.close()


def test_pieces_come_together(uploads: Uploads) -> None:
    begun = uploads.begin(Announced("a.csv", 10, options={"types": "a:text"}), MOST)
    assert (begun.offset, begun.dataset_id, begun.announced.options) == (0, None, {"types": "a:text"})
    sent(uploads, begun.id, 0, b"hello")
    assert uploads.get(begun.id).offset == 5
    sent(uploads, begun.id, 5, b"world")
    assert uploads.get(begun.id).offset == 10
    assert uploads.path(begun.id).read_bytes() == b"helloworld"


def test_what_a_killed_server_had_written_beyond_its_word_is_cut_off(uploads: Uploads) -> None:
    begun = uploads.begin(Announced("a.csv", 100), MOST)
    sent(uploads, begun.id, 0, b"sure")
    killed = uploads.open(begun.id, 4)
    killed.write(b"not yet sure")
    os.close(killed._data)  # as the kernel does for a killed process
    os.close(killed._mark)
    assert uploads.path(begun.id).stat().st_size == 16
    assert Uploads(uploads._folder).get(begun.id).offset == 4
    sent(uploads, begun.id, 4, b"ly")
    assert uploads.path(begun.id).read_bytes() == b"surely"


def test_pieces_belong_where_they_say_and_one_writes_at_a_time(uploads: Uploads) -> None:
    begun = uploads.begin(Announced("a.csv", 100), MOST)
    sent(uploads, begun.id, 0, b"abc")
    for offset in (0, 2, 4, 100):
        with pytest.raises(Conflict, match=f"stands at byte 3, not {offset}"):
            uploads.open(begun.id, offset)
    writing = uploads.open(begun.id, 3)
    with pytest.raises(Conflict, match="another request"):
        uploads.open(begun.id, 3)
    writing.close()
    sent(uploads, begun.id, 3, b"d")


def test_more_than_was_announced_is_refused_and_what_fits_kept(uploads: Uploads) -> None:
    begun = uploads.begin(Announced("a.csv", 4), MOST)
    appending = uploads.open(begun.id, 0)
    with pytest.raises(InvalidSpec):
        appending.write(b"abcdef")
    appending.close()
    assert uploads.get(begun.id).offset == 4
    assert uploads.path(begun.id).read_bytes() == b"abcd"


def test_the_same_key_begins_once_and_another_request_with_it_is_refused(uploads: Uploads) -> None:
    said, key = Announced("a.csv", 10), Idempotency("k", "0" * 64)
    begun = uploads.begin(said, MOST, key)
    sent(uploads, begun.id, 0, b"abc")
    assert uploads.begin(said, MOST, key).offset == 3
    with pytest.raises(InvalidSpec, match="another request"):
        uploads.begin(said, MOST, Idempotency("k", "1" * 64))


def test_a_finished_upload_is_known_and_holds_no_bytes(uploads: Uploads) -> None:
    begun = uploads.begin(Announced("a.csv", 3), MOST)
    sent(uploads, begun.id, 0, b"abc")
    uploads.finish(begun.id, "ds_x")
    assert uploads.get(begun.id).dataset_id == "ds_x"
    assert not uploads.path(begun.id).exists()
    with pytest.raises(Conflict, match="ds_x"):
        uploads.open(begun.id, 3)
    uploads.delete(begun.id)
    with pytest.raises(NotFound):
        uploads.get(begun.id)


def test_the_disk_is_bounded(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 4)
    uploads.begin(Announced("a.csv", 600), MOST)
    with pytest.raises(StorageFull):
        uploads.begin(Announced("b.csv", 401), MOST)
    for _ in range(3):
        uploads.begin(Announced("c.csv", 1), MOST)
    with pytest.raises(StorageFull):
        uploads.begin(Announced("d.csv", 1), MOST)


def test_uploads_expire_a_day_after_their_last_byte(uploads: Uploads, tmp_path: Path) -> None:
    old, touched, fresh = (uploads.begin(Announced("a.csv", 10), MOST).id for _ in range(3))
    sent(uploads, touched, 0, b"a")
    half_made = tmp_path / "uploads" / "up_0000000000000000000000"
    half_made.mkdir()
    past = time.time() - KEPT_S - 60
    every = tmp_path / "uploads"
    for path in (every / old / "about.json", every / old / "offset", every / touched / "about.json", half_made):
        os.utime(path, (past, past))
    uploads.sweep()
    assert {path.name for path in (tmp_path / "uploads").iterdir()} == {touched, fresh}


@pytest.mark.parametrize("name", ["../blobs", "up_../../../../etc/passwd", "up_", "", "up_" + "A" * 22, "."])
def test_an_id_is_never_a_path(uploads: Uploads, name: str) -> None:
    uploads.begin(Announced("a.csv", 10), MOST)
    for verb in (uploads.get, uploads.delete, lambda name: uploads.open(name, 0)):
        with pytest.raises(NotFound):
            verb(name)
