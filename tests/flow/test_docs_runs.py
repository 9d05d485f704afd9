"""docs/runs.md is run as it is printed, by bash, curl and MLflow's client, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flow_runs import Serve

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runs.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT_S = 120
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; local status=$?; echo; return $status; }
"""


@pytest.fixture(scope="module")
def url(serve: Serve) -> str:
    return str(serve().url)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def printed(url: str, folder: Path) -> list[str]:
    """What the blocks print, one script, line by line."""
    for tool in ("bash", "curl", "python3"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's examples need {tool}")
    script = STRICT + "".join(BLOCKS).replace("http://127.0.0.1:8000", url)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.strip()]


def _answers(printed: list[str], field: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in printed if line.startswith("{")]
    return [document for document in documents if field in document]


def test_the_page_fits_a_screen_and_its_searches_find(printed: list[str]) -> None:
    assert PAGE.count("\n") < 85
    best, slow = _answers(printed, "has_more")
    assert [run["name"] for run in best["data"]] == ["rate 0.1", "rate 0.1"]
    assert [run["name"] for run in slow["data"]] == ["rate 0.001"]


def test_what_differs_is_told_and_a_repetition_parts_nowhere(printed: list[str]) -> None:
    (found,) = _answers(printed, "spec")
    assert [(each["field"], each["values"]) for each in found["spec"]] == [
        ("optimizer.learning_rate", [0.1, 0.001, 0.1])
    ]
    (loss,) = [each for each in found["metrics"] if each["name"] == "batch_loss"]
    steps = [int(line.split(",")[1]) for line in printed if line.startswith("batch_loss,")]
    assert found["runs"][1]["parted_at"] == loss["parted_at"][1]
    assert steps[0] < loss["parted_at"][1]
    assert found["runs"][2]["parted_at"] is None
    assert len({each["weights_sha256"] for each in found["runs"]}) == 2


def test_others_runs_event_files_and_prometheus_are_there(printed: list[str], folder: Path) -> None:
    assert "succeeded" in printed
    assert len(list((folder / "logs").glob("run_*/events.out.tfevents.*"))) == 3
    assert 'netwright_runs{status="succeeded"} 4' in printed
    assert "netwright_queue_depth 0" in printed
    for kind in ("server", "worker"):
        (line, *_) = [line for line in printed if line.startswith("netwright_process") and f'kind="{kind}"' in line]
        assert float(line.rpartition(" ")[2]) > 10 << 20


@pytest.mark.oracle
def test_mlflows_client_logs_as_the_page_says(url: str, folder: Path) -> None:
    pytest.importorskip("mlflow")
    program = PROGRAM.replace("http://127.0.0.1:8000", url)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=LIMIT_S, check=False,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[('with mlflow', {'val_loss': 0.3333333333333333})]"
