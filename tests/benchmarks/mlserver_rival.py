"""MLServer with the same network, as its documentation says to serve one's own; and processes that never outlive us."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

MODEL = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
class Mlp(MLModel):
    async def load(self):
        self.w = dict(np.load("weights.npz"))
        return True
    async def predict(self, payload):
        x = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        h = np.maximum(x.astype(np.float32) @ self.w["a"].T + self.w["b"], 0)
        z = h @ self.w["c"].T + self.w["d"]
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("p", p)])
"""


def on(core: int | None, words: list[str]) -> list[str]:
    """The command on one core, where there are several, or on all; it is asked to leave when we die, however we do."""
    bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [*bound, *words] if core is None or os.cpu_count() == 1 else [*bound, "taskset", "-c", str(core), *words]


def rival(place: Path, folder: Path, weights: Mapping[str, Any], core: int) -> tuple[subprocess.Popen[str], int]:
    """MLServer from the environment at `place`, ready to answer for the model `mlp`, and its port."""
    folder.mkdir()
    ports = [_free_port() for _ in range(3)]
    settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "host": "127.0.0.1"}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "mlp", "implementation": "mlp.Mlp"}))
    (folder / "mlp.py").write_text(MODEL)
    names = dict(zip("abcd", ("0.weight", "0.bias", "1.weight", "1.bias"), strict=True))
    np.savez(folder / "weights.npz", **{short: weights[name] for short, name in names.items()})
    words, log = on(core, [str(place / "bin" / "mlserver"), "start", "."]), folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            words, cwd=folder, stdout=file, stderr=file, text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ""},
        )  # fmt: skip
    _until_ready(f"http://127.0.0.1:{ports[0]}/v2/models/mlp/ready", process, log)
    return process, ports[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])
