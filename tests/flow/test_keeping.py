"""Back up, lose everything, restore, go on: with a real server, real kills, and the words people type."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from flow_runs import QUICK, Serve, job, look, outcome, poll, training

from service.cli import main
from service.client import Client
from service.storage import Store

ROOT = Path(__file__).resolve().parents[2]


def netwright(*words: object, code: int = 0) -> str:
    """What one command says; it must leave with this code."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == code, said.getvalue()
    return said.getvalue()


def test_a_backup_of_a_server_at_work_goes_on_elsewhere_to_the_same_bits(serve: Serve, tmp_path: Path) -> None:
    original = serve(tmp_path / "data", **QUICK)
    with Client(original.url) as client:
        job_id = client.submit(job(200))["id"]
        store = look(tmp_path / "data")
        worker = backed_up_in_training(store, tmp_path)
        said = netwright("restore", tmp_path / "backup.tar", "--data-dir", tmp_path / "copy")
        assert "1 runs were at work" in said
        copy = serve(tmp_path / "copy", **QUICK)
        with Client(copy.url) as second:
            restored = outcome(second, job_id)
        assert outcome(client, job_id) == restored, "and the original's worker was left alone"
        assert restored[2] == 1
    assert worker not in {live.owner.pid for live in store.runs.live()}
    store.close()
    said = netwright("check", "--data-dir", tmp_path / "copy")
    assert said.startswith("sound: 1 runs")


def test_what_was_killed_and_damaged_is_replaced_by_its_backup(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "data", **QUICK)
    with Client(server.url) as client:
        calm = client.submit(job(60))["id"]
        expected = outcome(client, calm)
        job_id = client.submit(job(60))["id"]
        store = look(tmp_path / "data")
        worker = backed_up_in_training(store, tmp_path)
        said = netwright("restore", tmp_path / "backup.tar", "--data-dir", tmp_path / "data", "--replace", code=2)
        assert "in use" in said
    store.close()
    server.process.kill()
    os.kill(worker, signal.SIGKILL)
    server.process.wait()
    (tmp_path / "data" / "netwright.db").write_bytes(b"not a database at all" * 1000)
    for suffix in ("-wal", "-shm"):
        (tmp_path / "data" / f"netwright.db{suffix}").unlink(missing_ok=True)
    report = json.loads(netwright("check", "--json", "--data-dir", tmp_path / "data", code=1))
    assert not report["sound"]
    assert [each["code"] for each in report["findings"]] == ["database_damaged"]
    assert "damaged" in netwright("serve", "--port", "0", "--data-dir", tmp_path / "data", code=1)
    poll(lambda: replaced(tmp_path))
    with Client(serve(tmp_path / "data", **QUICK).url) as client:
        assert outcome(client, job_id) == (*expected[:2], 1)
        assert outcome(client, calm) == expected


def backed_up_in_training(store: Store, folder: Path) -> int:
    """Makes the backup at once, before the run can end; the worker's pid."""
    worker = training(store).owner.pid
    with open(folder / "backup.tar", "wb") as out:
        store.backup(out)
    return worker


def replaced(folder: Path) -> bool:
    """Other workers of the killed server leave by themselves, as its pipes close; until then the folder is in use."""
    try:
        netwright("restore", folder / "backup.tar", "--data-dir", folder / "data", "--replace")
    except AssertionError as error:
        if "in use" not in str(error):
            raise
        return False
    return True


def test_a_backup_goes_through_pipes_and_never_overwrites_unless_told(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "backup.tar"
    look(data).close()
    netwright("backup", file, "--data-dir", data)
    before = file.read_bytes()
    assert "exists already" in netwright("backup", file, "--data-dir", data, code=2)
    assert file.read_bytes() == before
    netwright("backup", file, "--replace", "--data-dir", data)
    script = '"$0" -m service backup - --data-dir "$1/data" | "$0" -m service restore - --data-dir "$1/piped"'
    piped = subprocess.run(
        ["sh", "-c", script, sys.executable, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "1 runs" not in piped.stdout
    netwright("check", "--data-dir", tmp_path / "piped")
    script = '"$0" -m service backup - --data-dir "$1/data" | true'
    unread = subprocess.run(
        ["sh", "-c", script, sys.executable, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert unread.stderr == "netwright: cannot write standard output: Broken pipe\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data", "piped"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "--data-dir", "nowhere"), "no store in nowhere"),
        (("backup", "b.tar", "--data-dir", "nowhere"), "no store in nowhere"),
        (("restore", "no-such-file", "--data-dir", "nowhere"), "no file no-such-file"),
        (("restore", "README.md", "--data-dir", "nowhere"), "not a backup"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    given = [str(tmp_path / "nowhere") if word == "nowhere" else word for word in words]
    assert said.replace("nowhere", str(tmp_path / "nowhere")) in netwright(*given, code=2)
