"""docs/data.md is run as it is printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")
BASH = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; local status=$?; echo; return $status; }
"""


def test_the_page_fits_a_screen_and_its_examples_run(standing: Any, tmp_path: Path) -> None:
    for tool in ("bash", "curl", "python3"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's examples need {tool}")
    script = STRICT + "".join(BASH).replace("http://127.0.0.1:8000", standing.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    upload, begun, pieces, preview, answers, plan, search = (
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")
    )
    assert PAGE.count("\n") < 100
    assert [each["label"] for each in answers["predictions"]] == ["rise", "fall"]
    assert (begun["offset"], pieces["columns"][0]["type"]) == (20, "text")
    assert [column["type"] for column in upload["columns"]] == ["category", "category", "number", "category"]
    assert preview["rows"][1] == {"zip": "00501", "joined": 1_709_164_800, "age": None, "plan": "free"}
    assert plan["parameters"] == 3 + 2 + 4 + 1, "three zip codes, an age and its gap, two turns, a bias"
    assert [each["metrics"]["val_accuracy"]["n"] for each in search["candidates"]] == [5, 5]
    assert search["candidates"][search["best"]]["metrics"]["val_accuracy"]["mean"] > 0.9
