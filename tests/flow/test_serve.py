"""The server as a process: how it starts, what it refuses, how it leaves."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli import main
from service.client import Client
from service.config import Settings
from service.serve import check_host

LEAVES_S = 30.0  # 3 on an idle machine, as bench_start shows
IDLE_RSS_MIB = 115  # 100 promised and measured by bench-first-light; other Pythons and allocators differ


def _refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """What the command says as it leaves with the code."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == code
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    """One that nobody gives work."""
    return serve()


def test_the_server_says_where_it_listens_answers_there_and_is_small(server: Any) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    assert httpx.get(f"{server.url}/health/ready").status_code == 200
    with Client(f"{server.url}/v1/") as client:  # as OpenAI's client is told
        assert client.url == server.url
        assert client.runs() == []
    assert (server.data_dir / "netwright.db").exists()
    if Path("/proc/self/status").exists():
        status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident.group(1)) / 1024 <= IDLE_RSS_MIB


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_server_in_time_though_a_stream_is_open(
    serve: Callable[..., Any], number: signal.Signals
) -> None:
    server = serve()
    spec = {
        "dataset": {"sample": "digits", "target": "label"},
        "network": {"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam"},
        "training": {"epochs": 100_000, "batch_size": 32},
    }
    job = httpx.post(f"{server.url}/v1/jobs", json={"type": "train", "spec": spec}, timeout=30)
    assert job.status_code == 202, job.text
    headers = {"Accept": "text/event-stream"}
    with httpx.stream("GET", f"{server.url}/v1/jobs/{job.json()['id']}/events", headers=headers, timeout=30) as stream:
        lines = stream.iter_lines()
        while '"running"' not in next(lines):
            pass
        begin = time.monotonic()
        server.process.send_signal(number)
        code = server.process.wait(LEAVES_S)
        took = time.monotonic() - begin
    assert code == 0
    assert took <= LEAVES_S


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = _refused(capsys, "serve", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert port in said
    assert not (tmp_path / "data").exists(), "nothing is written by a server that cannot listen"


def test_a_second_server_on_a_data_folder_is_one_sentence_and_harms_nothing(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    half = server.data_dir / "tmp" / "upload" / "half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"on its way")
    said = _refused(capsys, "serve", "--port", "0", "--data-dir", str(server.data_dir))
    assert f"process {server.process.pid}" in said
    assert "--data-dir" in said
    assert half.read_bytes() == b"on its way"
    assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_workers_that_outlive_their_server_do_not_keep_the_next_one_out(serve: Callable[..., Any]) -> None:
    first = serve(None)
    with Client(first.url) as client:
        spec = {"dataset": {"sample": "xor"}, "network": {"layers": [{"kind": "dense", "units": 2}]}}
        client.wait(client.submit({"type": "train", "spec": spec})["id"])
    (words,) = (first.data_dir / "workers").glob("*.words")
    worker = int(words.stem)
    os.kill(worker, signal.SIGSTOP)
    try:
        first.process.kill()
        first.process.wait()
        assert httpx.get(f"{serve(first.data_dir).url}/health/live").status_code == 200
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_beyond_loopback_is_refused_until_asked_for(
    host: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = _refused(capsys, "serve", "--host", host, "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert "NETWRIGHT_ALLOW_REMOTE" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_asking(host: str) -> None:
    check_host(Settings(host=host))


def test_a_host_beyond_loopback_is_served_when_asked_for(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(tmp_path / "data", "--host", "0.0.0.0", NETWRIGHT_ALLOW_REMOTE="true")
    port = server.url.rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200


def test_an_unknown_setting_is_refused_with_the_nearest_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_WORKRES", "2")
    said = _refused(capsys, "serve")
    assert "NETWRIGHT_WORKRES" in said
    assert "Did you mean 'NETWRIGHT_WORKERS'?" in said


def test_all_that_is_wrong_in_the_settings_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PROT": "1", "WORKERS": "-1", "LOG_LEVEL": "loud"}.items():
        monkeypatch.setenv(f"NETWRIGHT_{name}", value)
    said = _refused(capsys, "serve", "--port", "70000")
    assert "unknown setting NETWRIGHT_PROT\n  Did you mean 'NETWRIGHT_PORT'?" in said
    for name in ("PORT", "WORKERS", "LOG_LEVEL"):
        assert f"setting NETWRIGHT_{name}: Input should be" in said


def test_an_address_that_is_not_this_machines_is_not_answered_with_another_port(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("serve", "--host", "192.0.2.1", "--allow-remote", "--port", "0", "--data-dir", str(tmp_path / "data"))
    said = _refused(capsys, *words)
    assert "--host" in said
    assert "--port" not in said


@pytest.mark.parametrize("below", ["", "below"], ids=["file", "folder in a file"])
@pytest.mark.parametrize("words", ["serve --port 0", "keys create me"])
def test_a_data_folder_that_cannot_be_one_is_one_sentence(
    words: str, below: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder", "ascii")
    said = _refused(capsys, *words.split(), "--data-dir", str(tmp_path / "file" / below), code=1)
    assert f"cannot use {tmp_path / 'file'}" in said
    assert "it is not a folder\n" in said
    assert "--data-dir" in said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("keys", "create", "me")])
def test_a_data_folder_of_somebody_else_is_one_sentence_that_says_who_asks(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    theirs, me = tmp_path / "theirs", os.geteuid()
    theirs.mkdir(0o500)
    if me == 0:
        os.seteuid(65534)  # whom root's folders are closed to
    try:
        said = _refused(capsys, *words, "--data-dir", str(theirs), code=1)
    finally:
        os.seteuid(me)
    assert f"cannot use {theirs}" in said
    assert f"user {me or 65534}'s to read and write" in said


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///{0}/missing/x.db", "there is no folder {0}/missing for the database x.db"),
        ("sqlite:///{0}", "{0} is a folder, not a database"),
        ("sqlite://", "a database in memory is seen by one process alone"),
        ("sqlite:///:memory:", "a database in memory is seen by one process alone"),
        ("nonsense", "no URL of a database"),
        ("mysql://host/name", "no store for mysql"),
    ],
)
def test_a_database_that_cannot_be_is_one_sentence(
    url: str, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETWRIGHT_DATABASE_URL", url.format(tmp_path))
    said = _refused(capsys, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert sentence.format(tmp_path) in said
    assert "sqlite:////folder/file.db" in said


def test_the_version_is_told_without_importing_the_house(root: Path) -> None:
    code = "import sys; from service.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'numpy', 'pydantic', 'fastapi', 'sqlalchemy', 'httpx', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + heavy], cwd=root, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"netwright \d+\.\d+\.\d+\n\[\]\n", done.stdout)


def test_the_server_does_not_import_what_only_others_need(root: Path) -> None:
    code = "import sys, service.serve; print(sorted({'httpx', 'rich', 'alembic', 'service.demo'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
