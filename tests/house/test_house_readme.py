"""The README's journey is run as it is printed, by bash and curl, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LIMIT_S = 120

# Any answer that is an error ends the script, and what each command prints stands on lines of its own.
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; local status=$?; echo; return $status; }
"""


@pytest.fixture(scope="module")
def printed(standing: Any) -> list[str]:
    """What the README's blocks print, one script, line by line."""
    for tool in ("bash", "curl", "python3"):
        if shutil.which(tool) is None:
            pytest.skip(f"the README's journey needs {tool}")
    script = STRICT + "".join(BLOCKS).replace("http://127.0.0.1:8000", standing.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.strip()]


def _answers(printed: list[str], field: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in printed if line.startswith("{")]
    return [document for document in documents if field in document]


def test_the_journey_is_there() -> None:
    assert len(BLOCKS) == 2


def test_the_networks_metrics_are_told(printed: list[str]) -> None:
    (answer,) = _answers(printed, "metrics")
    assert {"train_loss", "val_loss", "val_accuracy"} <= set(answer["metrics"])


def test_the_flower_is_named(printed: list[str]) -> None:
    (answer,) = _answers(printed, "predictions")
    (prediction,) = answer["predictions"]
    assert "setosa" in prediction["label"]
    assert prediction["probability"] > 0.9


def test_the_text_goes_on(printed: list[str]) -> None:
    (answer,) = _answers(printed, "choices")
    assert answer["object"] == "text_completion"
    assert len(answer["choices"][0]["text"].split()) > 3


def test_the_streams_ended_with_the_jobs(printed: list[str]) -> None:
    assert sum('"succeeded"' in line for line in printed) >= 2
