"""docs/models.md is run as it is printed, by bash and curl, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT_S = 120
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; local status=$?; echo; return $status; }
"""


@pytest.fixture(scope="module")
def printed(standing: Any) -> list[str]:
    """What the blocks print, one script, line by line."""
    for tool in ("bash", "curl", "python3", "sed"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's examples need {tool}")
    script = STRICT + "".join(BLOCKS).replace("http://127.0.0.1:8000", standing.url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.strip()]


def _answers(printed: list[str], field: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in printed if line.startswith("{")]
    return [document for document in documents if field in document]


def test_the_page_fits_a_screen_and_its_examples_run(printed: list[str]) -> None:
    assert len(BLOCKS) == 5
    assert PAGE.count("\n") < 80
    assert [each["version"] for each in _answers(printed, "run_id") if "note" in each] == [1, 2]


def test_rows_a_file_and_a_data_set_are_answered(printed: list[str]) -> None:
    (answer,) = _answers(printed, "predictions")
    (flower,) = answer["predictions"]
    assert (flower["label"], len(flower["layers"]["0"])) == ("setosa", 3)
    at = printed.index("row,label,probability")
    assert [line.split(",")[:2] for line in printed[at + 1 : at + 3]] == [["0", "setosa"], ["1", "virginica"]]
    assert printed[at + 3].startswith("149,virginica,")


def test_the_evaluation_counts_every_row_held_back(printed: list[str]) -> None:
    (found,) = _answers(printed, "per_class")
    assert sum(map(sum, found["counts"])) == 45
    assert {each["label"] for each in found["per_class"]} == {"setosa", "versicolor", "virginica"}


def test_the_run_shows_what_its_layer_looks_like(printed: list[str]) -> None:
    ((found,),) = (each["layers"] for each in _answers(printed, "layers"))
    assert (found["kind"], found["parameters"]) == ("dense", 15)
    assert 0 < found["gradient_norm"] < found["weight_norm"]


def test_the_alias_moved_for_the_better_and_back(printed: list[str]) -> None:
    moved, back = _answers(printed, "compared")
    assert (moved["version"], back["version"]) == (2, 1)
    assert moved["compared"]["new"] < moved["compared"]["old"]
    assert "# iris:1" in printed


def test_an_answer_says_why(printed: list[str]) -> None:
    ((found,),) = (each["attributions"] for each in _answers(printed, "attributions"))
    assert found["target"] == "setosa"
    assert sum(found["features"].values()) == pytest.approx(found["answer"] - found["baseline"], abs=1e-3)


def test_the_evaluation_tells_what_columns_are_worth(printed: list[str]) -> None:
    (found,) = (each["features"] for each in _answers(printed, "repetitions"))
    assert {each["feature"] for each in found} == {"sepal_length", "sepal_width", "petal_length", "petal_width"}
