"""A key made beside a running server shuts it within a second; one revoked opens nothing, on a warm connection too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_processes import until

from service.cli import main
from service.client import ApiError, Client

LAYERS = [{"kind": "dense", "units": 3}]


def keys(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "service", "keys", *words, "--data-dir", str(folder)],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return done.stdout.strip()


def test_a_running_server_is_shut_by_its_first_key(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(tmp_path / "data")
    with Client(server.url) as client:
        spec = {"dataset": {"sample": "iris"}, "network": {"layers": LAYERS}, "training": {"epochs": 1}}
        run = client.wait(client.submit({"type": "train", "spec": spec})["id"])["run_id"]
    path, body = f"/v1/models/{run}/predict", json.dumps({"rows": [[5.1, 3.5, 1.4, 0.2]]})
    with httpx.Client(base_url=server.url) as warm:
        ask: Callable[..., int] = lambda **headers: warm.post(path, content=body, headers=headers).status_code  # noqa: E731
        assert [ask(), ask(), ask()] == [200, 200, 200]
        words = keys(tmp_path / "data", "create", "me")
        until(lambda: ask() == 401)
        mine = {"Authorization": f"Bearer {words}"}
        assert [ask(**mine), ask(**mine), ask()] == [200, 200, 401]
        with Client(server.url, key=words) as client:
            assert client.run(run)["status"] == "succeeded"
        listed = keys(tmp_path / "data", "list")
        assert words not in listed
        keys(tmp_path / "data", "revoke", listed.split()[0])
        until(lambda: ask(**mine) == 401)
        with Client(server.url, key=words) as client, pytest.raises(ApiError, match="opens nothing"):
            client.run(run)
        keys(tmp_path / "data", "clear")
        until(lambda: ask() == 200)


def test_a_server_whose_callers_need_keys_may_listen_anywhere(serve: Callable[..., Any], tmp_path: Path) -> None:
    words = keys(tmp_path / "data", "create", "me", "--days", "30")
    server = serve(tmp_path / "data", "--host", "0.0.0.0")
    port = server.url.rpartition(":")[2]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        assert http.get("/health/ready").status_code == 200
        assert http.get("/v1/jobs").status_code == 401
        assert http.get("/v1/jobs", headers={"Authorization": f"Bearer {words}"}).status_code == 200


def test_only_making_a_key_makes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mistyped"
    for words in (["list"], ["revoke", "key_1"], ["clear"]):
        with pytest.raises(SystemExit) as left:
            main(["keys", *words, "--data-dir", str(folder)])
        assert left.value.code == 2
        assert f"no store in {folder}" in capsys.readouterr().err
    assert not folder.exists()
    for words in (["create", "me"], ["clear"], ["list"]):
        with pytest.raises(SystemExit) as left:
            main(["keys", *words, "--data-dir", str(folder)])
        assert left.value.code == 0
    assert capsys.readouterr().err.endswith("No key was made: nobody needs one.\n")


@pytest.mark.parametrize(
    "words", [["me", "--days", "0"], ["me", "--days", "99999999"], ["two\nlines"], ["", "--days", "3"]]
)
def test_a_key_that_cannot_be_is_one_sentence(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["keys", "create", *words, "--data-dir", str(tmp_path / "data")])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(("netwright: --days is a number", "netwright: a key's name is one line"))
    assert not (tmp_path / "data").exists()
