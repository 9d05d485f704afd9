"""Predictions against a bare ASGI answer and against MLServer; `make bench-predict`, or a test of it alone with -k.

An MLP 784-128-10 of float32 behind the server as a user starts it; the generator is `load.py`, a process on a core of
its own. MLSERVER names the folder of an environment with MLServer (its bin/mlserver), else that part is skipped.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from mlserver_rival import on, rival

from service import storage
from service.client import Client
from service.specs import artifact
from service.storage import Owner
from service.tensors import read

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ROUNDS, SECONDS = 5, 0.8
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
BINARY_LEAST, JSON_LEAST = 0.70, 0.33  # of a bare answer's requests/s, 64 at once
BINARY_MOST, JSON_MOST = 1.5, 1.8  # of a bare answer's median time, one at a time
MLSERVER_JSON, MLSERVER_BINARY, MLSERVER_ROWS = 4.0, 7.0, 1.3
BUSY_MOST = 2.0  # of the quiet server's p99, while a job trains
READY_MOST_S = 0.1
START_MORE_S = 0.1
RAW, JSON = "application/octet-stream", "application/json"
LAYERS = [
    {"kind": "dense", "units": 128, "activation": "relu"},
    {"kind": "dense", "units": 10, "activation": "softmax"},
]
Figures = dict[str, Any]


@dataclass
class Contest:
    """What is running, and what was measured of it."""

    ports: dict[str, int]
    folder: Path
    weights: dict[str, Any]
    x: Any
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def load(
        self, port: int, body: bytes, connections: int, path: str = "/v1/models/mlp/predict",
        core: int | None = CORES[-1], seconds: float = SECONDS, **headers: str,
    ) -> Figures:  # fmt: skip
        head = {"Host": "127.0.0.1", "Content-Length": str(len(body))} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        file = self.folder / "request"
        file.write_bytes(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        words = [sys.executable, str(HERE / "load.py"), str(port), str(connections), str(seconds), str(file)]
        done = subprocess.run(on(core, words), capture_output=True, text=True, check=True, timeout=120)
        found: Figures = json.loads(done.stdout)
        assert set(found["statuses"]) == {"200"}, found
        return found


def started(words: list[str], core: int | None = CORES[0], cwd: Path = ROOT) -> tuple[subprocess.Popen[str], int]:
    """A process that tells its port on its first line."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(on(core, words), cwd=cwd, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = re.search(r":(\d+)", process.stdout.readline())
    assert said is not None
    return process, int(said.group(1))


def serving(folder: Path, *words: str, core: int | None = CORES[0]) -> tuple[subprocess.Popen[str], int]:
    return started([sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(folder), *words], core)


def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(20)
    if process.stdout is not None:
        process.stdout.close()


def trained(client: Client, folder: Path, x: Any) -> str:
    """A run of the MLP on vectors that are taken as they are."""
    np.savez(folder / "rows.npz", x=x, label=np.arange(len(x)) % 10)
    dataset = {"id": client.upload(folder / "rows.npz")["id"], "target": "label", "preprocess": "none"}
    spec = {"dataset": dataset, "network": {"layers": LAYERS}, "training": {"epochs": 1, "batch_size": 64}}
    job = client.wait(client.submit({"type": "train", "spec": spec})["id"])
    assert job["status"] == "succeeded", job["error"]
    run: str = job["run_id"]
    return run


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contest]:
    folder = tmp_path_factory.mktemp("predict")
    x = np.random.default_rng(0).random((640, 784)).astype(np.float32).round(6)
    ours, port = serving(folder / "data", "--workers", "1")
    bare, bare_port = started([sys.executable, str(HERE / "bare.py")])
    with Client(f"http://127.0.0.1:{port}") as client:
        run = trained(client, folder, x)
        client.publish("mlp", run)
        (folder / "model").write_bytes(client.export(run))
    yield Contest(
        {"ours": port, "bare": bare_port}, folder, read(folder / "model").arrays, x, {"ours": ours, "bare": bare}
    )
    for process in (ours, bare):
        ended(process)


def interleaved(calls: dict[str, Callable[[], Figures]], rounds: int = ROUNDS) -> dict[str, list[Figures]]:
    """Each in turn, so that what else the machine does falls on all."""
    found: dict[str, list[Figures]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
    return found


def middle(figures: list[Figures], name: str) -> float:
    return float(statistics.median(each[name] for each in figures))


def ratio(over: list[Figures], under: list[Figures], name: str) -> float:
    """The median of the rounds' ratios."""
    return float(statistics.median(a[name] / b[name] for a, b in zip(over, under, strict=True)))


def shown(title: str, found: dict[str, list[Figures]]) -> None:
    print(f"\n{title}")
    for name, figures in found.items():
        rps, p50, p99 = (middle(figures, each) for each in ("rps", "p50_us", "p99_us"))
        print(f"  {name:22} {rps:9,.0f} requests/s   p50 {p50:8,.0f} us   p99 {p99:8,.0f} us")


def bodies(contest: Contest, rows: int = 1) -> tuple[bytes, bytes]:
    """The same rows as float32 and as JSON."""
    x = contest.x[:rows]
    document = {"rows": [[round(float(v), 6) for v in row] for row in x]}
    return x.tobytes(), json.dumps(document, separators=(",", ":")).encode()


def against_bare(contest: Contest, connections: int) -> dict[str, list[Figures]]:
    raw, text = bodies(contest)
    ports = contest.ports
    return interleaved({
        "bare": lambda: contest.load(ports["bare"], raw, connections, Content_Type=RAW),
        "binary": lambda: contest.load(ports["ours"], raw, connections, Content_Type=RAW, Accept=RAW),
        "binary, JSON answer": lambda: contest.load(ports["ours"], raw, connections, Content_Type=RAW),
        "bare, body of JSON": lambda: contest.load(ports["bare"], text, connections, Content_Type=JSON),
        "JSON": lambda: contest.load(ports["ours"], text, connections, Content_Type=JSON),
    })  # fmt: skip


def test_sixty_four_at_once_against_a_bare_answer(contest: Contest) -> None:
    found = against_bare(contest, 64)
    shown("784-128-10, one row, 64 connections", found)
    binary, text = (ratio(found[name], found["bare"], "rps") for name in ("binary", "JSON"))
    print(f"  by the bare answer: binary {binary:.2f} ({BINARY_LEAST} at least), JSON {text:.2f} ({JSON_LEAST})")
    assert binary >= BINARY_LEAST
    assert text >= JSON_LEAST


def test_one_at_a_time_against_a_bare_answer(contest: Contest) -> None:
    found = against_bare(contest, 1)
    shown("784-128-10, one row, 1 connection", found)
    binary, text = (ratio(found[name], found["bare"], "p50_us") for name in ("binary", "JSON"))
    print(f"  by the bare answer: binary {binary:.2f} ({BINARY_MOST} at most), JSON {text:.2f} ({JSON_MOST})")
    assert binary <= BINARY_MOST
    assert text <= JSON_MOST


@pytest.fixture
def mlserver(contest: Contest) -> Iterator[int]:
    place = os.environ.get("MLSERVER")
    if place is None:
        pytest.skip("MLSERVER names no environment with MLServer")
    process, port = rival(Path(place), contest.folder / "mlserver", contest.weights, CORES[0])
    yield port
    ended(process)


def test_against_mlserver(contest: Contest, mlserver: int) -> None:
    raw, text = bodies(contest)
    raw64, text64 = bodies(contest, 64)

    def theirs(rows: int) -> bytes:
        data = [round(float(v), 6) for v in contest.x[:rows].ravel()]
        tensor = {"name": "x", "shape": [rows, 784], "datatype": "FP32", "data": data}
        return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()

    ours, path = contest.ports["ours"], "/v2/models/mlp/infer"
    tensor = {"name": "x", "shape": [1, 784], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()  # as Triton's client
    behind, length = head + raw, str(len(head))
    asked = {"inputs": json.loads(theirs(1))["inputs"]}
    answers = [
        httpx.post(f"http://127.0.0.1:{port}{path}", json=asked).json()["outputs"][0]["data"]
        for port in (mlserver, ours)
    ]
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)
    found = interleaved({
        "MLServer JSON": lambda: contest.load(mlserver, theirs(1), 64, path, Content_Type=JSON),
        "JSON": lambda: contest.load(ours, text, 64, Content_Type=JSON),
        "v2 JSON": lambda: contest.load(ours, theirs(1), 64, path, Content_Type=JSON),
        "v2 binary": lambda: contest.load(ours, behind, 64, path, Inference_Header_Content_Length=length),
        "binary": lambda: contest.load(ours, raw, 64, Content_Type=RAW, Accept=RAW),
        "MLServer 64 rows": lambda: contest.load(mlserver, theirs(64), 8, path, Content_Type=JSON),
        "JSON 64 rows": lambda: contest.load(ours, text64, 8, Content_Type=JSON),
        "binary 64 rows": lambda: contest.load(ours, raw64, 8, Content_Type=RAW, Accept=RAW),
    }, 3)  # fmt: skip
    shown("against MLServer: one row, 64 connections; 64 rows, 8 connections", found)
    text_, binary, rows = (
        ratio(found[a], found[b], "rps")
        for a, b in (("JSON", "MLServer JSON"), ("binary", "MLServer JSON"), ("JSON 64 rows", "MLServer 64 rows"))
    )
    print(f"  JSON {text_:.1f} x (least {MLSERVER_JSON}), binary {binary:.1f} x (least {MLSERVER_BINARY}),", end=" ")
    print(f"64 rows {rows:.1f} x (least {MLSERVER_ROWS})")
    assert text_ >= MLSERVER_JSON
    assert binary >= MLSERVER_BINARY
    assert rows >= MLSERVER_ROWS


def test_a_training_job_does_not_disturb(tmp_path: Path, contest: Contest) -> None:
    """Nothing is bound to a core: a lone job that takes two of them, the server as a user starts it, and the caller."""
    process, port = serving(tmp_path / "data", "--workers", "1", core=None)
    raw, _ = bodies(contest)
    free = Contest({}, tmp_path, {}, contest.x, {})

    def ask() -> list[Figures]:
        """Short windows: what else the machine does falls on few. The first tells the job that somebody asks."""
        seconds = (SECONDS, *[SECONDS / 4] * 4)
        return [free.load(port, raw, 4, core=None, seconds=s, Content_Type=RAW, Accept=RAW) for s in seconds][1:]

    with Client(f"http://127.0.0.1:{port}") as client:
        run = trained(client, tmp_path, contest.x)
        client.publish("mlp", run)
        spec = client.run(run)["spec"] | {"network": {"layers": [LAYERS[0] | {"units": 512}, LAYERS[1]]}}
        spec["training"] = {"epochs": 1_000_000, "batch_size": 640, "shards": min(2, len(CORES))}
        found: dict[str, list[Figures]] = {"quiet": [], "training": []}
        paces: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            found["quiet"] += ask()
            job = client.submit({"type": "train", "spec": spec})["id"]
            while client.job(job)["phase"] != "training":
                time.sleep(0.05)
            time.sleep(1.0)  # a second process helps whoever trains for longer than a moment
            alone = pace(client, job)
            found["training"] += ask()
            paces.append((alone, pace(client, job)))
            client.cancel(job)
            client.wait(job)
    ended(process)
    shown("while a job trains, 4 connections", found)
    slower = middle(found["training"], "p99_us") / middle(found["quiet"], "p99_us")
    alone, asked = (statistics.median(each) for each in zip(*paces, strict=True))
    print(f"  p99 {slower:.2f} x the quiet one (most {BUSY_MOST});", end=" ")
    print(f"the job: {alone:.0f} steps/s before it, {asked:.0f} in the second after it, on one core still")
    assert slower <= BUSY_MOST


def pace(client: Client, job: str, seconds: float = 1.0) -> float:
    """Steps per second of a job that trains."""
    run = client.job(job)["run_id"]
    steps, began_s = [client.run(run)["step"]], time.perf_counter()
    time.sleep(seconds)
    steps.append(client.run(run)["step"])
    return float(steps[1] - steps[0]) / (time.perf_counter() - began_s)


def large_model(folder: Path, template: Path) -> int:
    """A store with a registered model of about 100 MB, and how many bytes it is."""
    folder.mkdir()
    store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
    small = artifact.unpack(read(template))
    layers = [{"kind": "dense", "units": 32_000, "activation": "relu"}, *LAYERS[1:]]
    network = type(small.network).model_validate({"layers": layers})
    dice = np.random.default_rng(0)
    shapes = {"0.weight": (32_000, 784), "0.bias": (32_000,), "1.weight": (10, 32_000), "1.bias": (10,)}
    weights = {name: (dice.standard_normal(shape, np.float32) / 100) for name, shape in shapes.items()}
    model = type(small)(network, small.signature, 10, small.loss, "float32", small.preprocessor, {}, weights)
    run = ended_run(store, store.blobs.put(*artifact.pack(model)).sha256)
    store.models.add_version("large", run)
    store.close()
    return sum(each.nbytes for each in weights.values())


def ended_run(store: storage.Store, blob: str) -> str:
    """A run that ended with this model."""
    job = store.jobs.submit(type="train", spec={})
    attempt = store.runs.claim(Owner(1, "1", "boot"), 60.0)
    assert attempt is not None
    store.runs.finish(attempt, "succeeded", stopped_by="epochs", model_blob=blob)
    return job.run_ids[0]


def test_a_large_model_answers_as_soon_as_the_server_is_ready(contest: Contest) -> None:
    size = large_model(contest.folder / "large", contest.folder / "model")
    assert size > 100e6
    raw, _ = bodies(contest)
    took = []
    for _ in range(ROUNDS):
        process, port = serving(contest.folder / "large", "--workers", "0")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/health/ready").status_code == 200
            began_s = time.perf_counter()
            answer = client.post("/v1/models/large/predict", content=raw, headers={"Content-Type": RAW})
            took.append(time.perf_counter() - began_s)
            assert answer.json()["model"] == "large:1"
        ended(process)
    print(
        f"\na model of {size / 1e6:.0f} MB predicts {statistics.median(took) * 1e3:.0f} ms after the server was ready"
    )
    assert statistics.median(took) <= READY_MOST_S


def test_ten_thousand_models_cost_no_start(contest: Contest) -> None:
    many, none = contest.folder / "many", contest.folder / "none"
    many.mkdir()
    store = storage.open(f"sqlite:///{many / 'netwright.db'}", many)
    loaded = read(contest.folder / "model")
    run = ended_run(store, store.blobs.put(loaded.arrays, loaded.metadata).sha256)
    for i in range(10_000):
        store.models.add_version(f"model-{i:05}", run)
    store.close()

    def start(folder: Path) -> Figures:
        began_s = time.perf_counter()
        process, port = serving(folder, "--workers", "0")
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        took_s = time.perf_counter() - began_s
        if folder == many:
            raw, _ = bodies(contest)
            url = f"http://127.0.0.1:{port}/v1/models/model-09999/predict"
            assert httpx.post(url, content=raw, headers={"Content-Type": RAW}).json()["model"] == "model-09999:1"
        ended(process)
        return {"s": took_s}

    start(none)  # makes its folder
    found = interleaved({"none": lambda: start(none), "many": lambda: start(many)})
    a, b = middle(found["none"], "s"), middle(found["many"], "s")
    print(f"\nready after {a:.2f} s without a model, {b:.2f} s with 10,000 registered ones")
    assert b - a <= START_MORE_S
