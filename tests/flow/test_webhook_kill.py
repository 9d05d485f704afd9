"""A server that is killed between the end of a job and the answer of its receiver: the next one calls again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from service.client import Client

JOB: dict[str, Any] = {
    "type": "train",
    "spec": {
        "dataset": {"sample": "iris"},
        "network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
        "training": {"epochs": 1, "seed": 1},
    },
}
ALLOWED = {"NETWRIGHT_WEBHOOK_ALLOW_PRIVATE": "true", "NETWRIGHT_WEBHOOK_SECRET": "of the server"}


def test_a_killed_server_calls_again_when_it_is_back(serve: Callable[..., Any], tmp_path: Path) -> None:
    heard, killed = queue.Queue[tuple[str, bytes]](), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["webhook-signature"].startswith("v1,")
            heard.put((self.headers["webhook-id"], body))
            if killed.wait(30):
                self.send_response(200)
                self.end_headers()

        def log_message(self, *words: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as receiver:
        listening = threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True)
        listening.start()
        url = f"http://127.0.0.1:{receiver.server_address[1]}/"
        first = serve(tmp_path / "data", "--workers", "1", **ALLOWED)
        with Client(first.url) as client:
            job = client.submit(JOB | {"webhook": {"url": url}})
        told = heard.get(timeout=30)
        first.process.kill()
        first.process.wait()
        killed.set()
        second = serve(tmp_path / "data", "--workers", "1", **ALLOWED)
        assert heard.get(timeout=30) == told
        with Client(second.url) as client:
            for _ in range(100):
                found = client.ask("GET", f"/v1/jobs/{job['id']}/webhook")
                if found["status"] == "delivered":
                    break
                threading.Event().wait(0.05)
        assert (found["status"], found["signed"], found["answer"]) == ("delivered", True, 200)
        assert "secret" not in found
        receiver.shutdown()
        listening.join()
