"""docs/predictions.md is run as it is printed, by bash and curl, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "predictions.md").read_text("utf-8")
(PYTHON,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT_S = 120
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@" && { [[ "$*" == *accept:* ]] || echo; }; }
"""


@pytest.fixture(scope="module")
def url(standing: Any) -> str:
    return str(standing.url)


@pytest.fixture(scope="module")
def printed(url: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the blocks print, one script, line by line."""
    for tool in ("bash", "curl", "python3"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's examples need {tool}")
    text = "".join(BLOCKS).replace("http://127.0.0.1:8000", url)
    done = subprocess.run(
        ["bash", "-c", STRICT + text], cwd=tmp_path_factory.mktemp("page"), capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.strip()]


def _answers(printed: list[str], field: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in printed if line.startswith("{")]
    return [document for document in documents if field in document]


def test_the_page_fits_a_screen_and_its_examples_run(printed: list[str]) -> None:
    assert len(BLOCKS) == 3
    assert PAGE.count("\n") < 80
    (index,) = [line for line in printed if line.startswith("[{")]
    assert {"name": "flowers", "version": "1", "state": "READY", "reason": ""} in json.loads(index)


def test_json_and_bytes_are_answered_alike(printed: list[str]) -> None:
    one, two = _answers(printed, "predictions")
    assert one["model"] == two["model"] == "flowers:1"
    assert [each["label"] for each in two["predictions"]] == ["setosa", "virginica"]
    (line,) = [line for line in printed if line.startswith("setosa")]
    told = [each["probabilities"]["setosa"] for each in two["predictions"]]
    assert [float(each) for each in line.split()[1:]] == pytest.approx(told, rel=1e-6)


def test_the_protocols_answer_has_the_labels(printed: list[str]) -> None:
    (answer,) = _answers(printed, "model_version")
    assert (answer["id"], answer["outputs"][0]["data"]) == ("7", ["setosa", "virginica"])
    (metadata,) = _answers(printed, "platform")
    assert metadata["inputs"] == [{"name": "rows", "datatype": "FP32", "shape": [-1, 4]}]


@pytest.mark.oracle
def test_the_client_of_others_is_answered(url: str, printed: list[str]) -> None:
    pytest.importorskip("tritonclient.http")
    text = PYTHON.replace("127.0.0.1:8000", url.removeprefix("http://"))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    said = [float(each) for each in re.findall(r"[\d.]+(?:e-?\d+)?", done.stdout)]
    (line,) = [line for line in printed if line.startswith("setosa")]
    assert said[::3] == pytest.approx([float(each) for each in line.split()[1:]], abs=1e-5)
