"""Metrics over HTTP against a real MLflow server: batches, histories and single points, by plain sockets.

Both servers keep their runs in SQLite in the same folder's disk; the client keeps its connection, its requests are
made beforehand, and of an answer it looks for the status and the length only: what http.client takes for itself, a
fifth of a single point's time, is not the server's. `MLFLOW=/path/to/mlflow make bench-mlflow` names the program;
without it, the one on the PATH is used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).parents[2]
BATCH, MOST, HISTORY, CALLERS, TEN = 1_000, 10_000, 20_000, 16, 10  # MLflow takes 1,000 points a batch at most
PATIENCE_S = 180.0
WARM_S = 10.0  # MLflow answers while most of its processes still start; its batches then take four times as long
IDLE_S = 1.0  # a connection that has rested so long is made anew: the server may have closed it
API = "/api/2.0/mlflow"
Sent = list[tuple[str, bytes]]  # paths and bodies


class Peer:
    """One server, its run, and a connection that stays."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None
        self._asked_s = 0.0

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self._exchange(_request(method, path, body))

    def post(self, sent: Sent) -> list[float]:
        """Seconds of each."""
        return [seconds(partial(self._exchange, each)) for each in [_request("POST", *one) for one in sent]]

    def _exchange(self, request: bytes) -> bytes:
        if self._socket is None or time.monotonic() > self._asked_s + IDLE_S:
            self.close()
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = self._read(b"")
        while (end := answer.find(b"\r\n\r\n") + 4) < 4:
            answer = self._read(answer)
        length = re.search(rb"\r\ncontent-length: *([0-9]+)\r\n", answer[:end], re.IGNORECASE)
        assert length, answer[:end]
        pieces, missing = [answer[end:]], int(length[1]) - len(answer) + end
        while missing > 0:
            pieces.append(self._read(b""))
            missing -= len(pieces[-1])
        self._asked_s = time.monotonic()
        assert answer[9:12] in (b"200", b"201"), answer[:500]
        return b"".join(pieces)

    def _read(self, before: bytes) -> bytes:
        assert self._socket is not None
        found = self._socket.recv(1 << 20)
        if not found:
            self.close()
            raise ConnectionError("the server has hung up")
        return before + found

    def mlflow_run(self, name: str) -> str:
        made = self.ask("POST", f"{API}/runs/create", json.dumps({"experiment_id": "0", "run_name": name}).encode())
        return str(json.loads(made)["run"]["info"]["run_id"])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _request(method: str, path: str, body: bytes) -> bytes:
    kind = b"application/x-npy" if body.startswith(b"\x93NUMPY") else b"application/json"
    said = b"Content-Type: %s\r\nContent-Length: %d\r\n" % (kind, len(body)) if body else b""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + said + b"\r\n" + body


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def serving(words: Sequence[str], folder: Path, port: int, ready: str) -> Iterator[Peer]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)} if words[0] == sys.executable else dict(os.environ)
    log = (folder / f"{port}.log").open("wb")
    with log, subprocess.Popen(words, cwd=folder, env=environ, stdout=log, stderr=log) as process:
        try:
            with closing(Peer(port)) as peer:
                answers(peer, ready, process)
                yield peer
        finally:
            process.terminate()


def answers(peer: Peer, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            peer.ask("GET", path)
        except (OSError, AssertionError):
            peer.close()
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Peer, Peer]]:
    """Ours and MLflow's."""
    program = shutil.which(os.environ.get("MLFLOW", "mlflow"))
    if program is None:
        pytest.skip("needs MLflow's server: MLFLOW=/path/to/mlflow")
    folder, (ours, theirs) = tmp_path_factory.mktemp("mlflow"), (free_port(), free_port())
    serve = [sys.executable, "-m", "service", "serve", "--port", str(ours), "--data-dir", "ours", "--workers", "0"]
    mlflow = [program, "server", "--port", str(theirs), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
    with ExitStack() as stack:
        found = stack.enter_context(serving(serve, folder, ours, "/health/ready"))
        yield found, stack.enter_context(serving(mlflow, folder, theirs, "/health"))


def external(ours: Peer) -> str:
    return str(json.loads(ours.ask("POST", "/v1/runs", b'{"type": "external"}'))["id"])


def as_mlflow(run: str, cuts: Sequence[range]) -> Sent:
    def body(steps: range) -> bytes:
        points = [{"key": "loss", "value": 1 / (step + 1), "timestamp": step, "step": step} for step in steps]
        return json.dumps({"run_id": run, "metrics": points}).encode()

    return [(f"{API}/runs/log-batch", body(cut)) for cut in cuts]


def as_metric(run: str, n: int) -> Sent:
    told = [{"run_id": run, "key": "loss", "value": 0.5, "timestamp": step, "step": step} for step in range(n)]
    return [(f"{API}/runs/log-metric", json.dumps(each).encode()) for each in told]


def as_columns(run: str, cuts: Sequence[range]) -> Sent:
    def body(steps: range) -> bytes:
        columns = {"steps": list(steps), "values": [1 / (step + 1) for step in steps], "times": list(steps)}
        return json.dumps({"series": {"loss": columns}}).encode()

    return [(f"/v1/runs/{run}/metrics", body(cut)) for cut in cuts]


def as_tables(run: str, cuts: Sequence[range]) -> Sent:
    """As NumPy saves them."""

    def body(steps: range) -> bytes:
        table = np.empty(len(steps), [("step", "<i8"), ("time", "<i8"), ("loss", "<f8")])
        table["step"], table["time"], table["loss"] = steps, steps, [1 / (step + 1) for step in steps]
        np.save(file := BytesIO(), table)
        return file.getvalue()

    return [(f"/v1/runs/{run}/metrics", body(cut)) for cut in cuts]


def rate(points: int, taken: Sequence[float]) -> float:
    """Points a second: of as many requests on end as there are points for a block several times over, the usual."""
    tens = [sum(taken[start : start + TEN]) for start in range(0, len(taken) - TEN + 1, TEN)]
    return TEN * points / median(tens)


def test_batches_single_points_and_histories(peers: tuple[Peer, Peer]) -> None:
    ours, theirs = peers
    warm(theirs)
    cuts = [range(start, start + BATCH) for start in range(0, HISTORY, BATCH)]
    many = [range(start, start + BATCH) for start in range(0, 10 * HISTORY, BATCH)]
    run, run_like_mlflow, their_run = external(ours), ours.mlflow_run("like"), theirs.mlflow_run("theirs")
    slow = rate(BATCH, theirs.post(as_mlflow(their_run, cuts)))
    tell("log-batch", rate(BATCH, ours.post(as_columns(run, many))), slow)
    tell("log-batch, as NumPy's tables", rate(BATCH, ours.post(as_tables(external(ours), many))), slow)
    large = [range(start, start + MOST) for start in range(0, 20 * HISTORY, MOST)]
    tell("log-batch of 10,000, MLflow's of 1,000", rate(MOST, ours.post(as_columns(external(ours), large))), slow)
    like = rate(BATCH, ours.post(as_mlflow(run_like_mlflow, many)))
    tell("log-batch, as MLflow's clients send it", like, slow)
    slow_together = BATCH * together(theirs, as_mlflow(theirs.mlflow_run("together"), many[:64]))
    fast = BATCH * together(ours, as_columns(external(ours), many))
    ratios = {"batches of 1,000": tell(f"log-batch, {CALLERS} callers", fast, slow_together)}
    ratios["histories"] = histories(ours, run, run_like_mlflow, theirs, their_run)
    ratios["single points"] = singles(ours, theirs)
    assert ratios["batches of 1,000"] >= 80
    assert ratios["histories"] >= 50
    assert ratios["single points"] >= 15


def warm(theirs: Peer) -> None:
    run, until_s = theirs.mlflow_run("warm"), time.monotonic() + WARM_S
    while time.monotonic() < until_s:
        theirs.post(as_metric(run, 10))


def histories(ours: Peer, run: str, like: str, theirs: Peer, their_run: str) -> float:
    def read(peer: Peer, path: str, count: Callable[[Any], int], times: int) -> float:
        data = peer.ask("GET", path)
        assert count(json.loads(data)) == HISTORY
        return HISTORY / median(seconds(lambda: peer.ask("GET", path)) for _ in range(times))

    def history(of: str) -> str:
        return f"{API}/metrics/get-history?run_id={of}&metric_key=loss&max_results={HISTORY}"

    slow = read(theirs, history(their_run), lambda found: len(found["metrics"]), 3)
    series = f"/v1/runs/{run}/metrics/series?to_step={HISTORY - 1}"
    found = tell("history", read(ours, series, lambda found: len(found["series"]["loss"]["steps"]), 20), slow)
    tell("history, as MLflow's clients ask", read(ours, history(like), lambda found: len(found["metrics"]), 20), slow)
    return found


def singles(ours: Peer, theirs: Peer) -> float:
    """Of one caller, which waits for the disk each time, and of sixteen at once: the ratio of these."""
    run, like, their_run = external(ours), ours.mlflow_run("like"), theirs.mlflow_run("theirs")
    point = [json.dumps({"step": step, "metrics": {"loss": 0.5}}).encode() for step in range(8000)]
    own: Sent = [(f"/v1/runs/{run}/metrics", each) for each in point]
    slow = rate(1, theirs.post(as_metric(their_run, 100)))
    tell("single points", rate(1, ours.post(own[:1000])), slow)
    tell("single points, as MLflow's clients send them", rate(1, ours.post(as_metric(like, 1000))), slow)
    slow = together(theirs, as_metric(their_run, 320))
    found = tell(f"single points, {CALLERS} callers", together(ours, own), slow)
    like_many = together(ours, as_metric(like, 8000))
    tell(f"single points, {CALLERS} callers, as MLflow's send them", like_many, slow)
    return found


def together(peer: Peer, sent: Sent) -> float:
    """Requests a second, of several callers at once."""

    def one(part: Sent) -> None:
        with closing(Peer(peer.port)) as mine:
            mine.post(part)

    with ThreadPoolExecutor(CALLERS) as callers:
        start = time.perf_counter()
        list(callers.map(one, [sent[place::CALLERS] for place in range(CALLERS)]))
        return len(sent) / (time.perf_counter() - start)


def tell(what: str, ours: float, theirs: float) -> float:
    print(f"\n{what:55} ours {ours:12,.0f} points/s   MLflow {theirs:9,.0f}   {ours / theirs:6.1f} x", end="")
    return ours / theirs
