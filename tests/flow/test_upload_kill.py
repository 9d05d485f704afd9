"""A large upload goes on where it stood, whoever died in between."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flow_runs import Serve, poll

from service import client as client_module
from service.client import Client

TEXT = b"".join(b"line %d of a long text that nobody reads\n" % at for at in range(450_000))  # some 20 MB
SURE = 16 << 20  # committed on the way


def test_bytes_of_a_broken_connection_and_of_a_killed_server_are_kept(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "data")
    with Client(server.url) as client:
        begun = client.ask("POST", "/v1/uploads", json={"name": "a.txt", "bytes": len(TEXT), "format": "text"})
        place = f"/v1/uploads/{begun['id']}"
        head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nUpload-Offset: %d\r\n\r\n"
        where = urlsplit(server.url)
        with socket.create_connection((where.hostname or "", where.port or 0)) as broken:
            broken.sendall((head % (len(TEXT), 0)).encode() + TEXT[: 1 << 20])
        stands = poll(lambda: client.ask("GET", place)["offset"])
        assert 0 < stands <= 1 << 20, "what came before the break"
        with socket.create_connection((where.hostname or "", where.port or 0)) as left:
            left.sendall((head % (len(TEXT) - stands, stands)).encode() + TEXT[stands : stands + SURE + (1 << 20)])
            poll(lambda: client.ask("GET", place)["offset"] >= SURE)
            server.process.kill()
            server.process.wait()
    with Client(serve(tmp_path / "data").url) as client:
        stands = client.ask("GET", place)["offset"]
        assert SURE <= stands < len(TEXT)
        client.ask("PATCH", place, content=TEXT[stands:], headers={"Upload-Offset": str(stands)})
        made = client.ask("POST", f"{place}/finish")
        assert made["sha256"] == hashlib.sha256(TEXT).hexdigest()


def test_the_client_sends_large_files_in_pieces(standing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(client_module, "_PIECE_BYTES", 400)
    rows = "a,b\n" + "".join(f"{at},pieces\n" for at in range(300))
    (tmp_path / "rows.csv").write_text(rows)
    with Client(standing.url) as client:
        made = client.upload(tmp_path / "rows.csv", name="in pieces")
        assert (made["name"], made["rows"], made["bytes"]) == ("in pieces", 300, len(rows))
        assert made["sha256"] == hashlib.sha256(rows.encode()).hexdigest()
        asked = client.upload(tmp_path / "rows.csv", types={"a": "category"})
        assert [each["type"] for each in asked["columns"]] == ["category", "category"]
