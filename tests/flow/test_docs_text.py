"""docs/text.md is run as it is printed: by bash and curl, and by OpenAI's client where it is installed."""

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
PAGE = (ROOT / "docs" / "text.md").read_text("utf-8")
BASH, PYTHON = (re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for kind in ("bash", "python"))
LIMIT_S = 120
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; local status=$?; echo; return $status; }
"""


@pytest.fixture(scope="module")
def printed(standing: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The documents that the blocks print, one script, in order."""
    for tool in ("bash", "curl", "python3"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page's examples need {tool}")
    script = STRICT + "".join(BASH).replace("http://127.0.0.1:8000", standing.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path_factory.mktemp("page"), capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _answers(printed: list[Any], field: str) -> list[Any]:
    return [document[field] for document in printed if field in document]


def test_the_page_fits_a_screen_and_its_examples_run(printed: list[Any]) -> None:
    assert (len(BASH), len(PYTHON)) == (5, 1)
    assert PAGE.count("\n") < 80
    (metrics,) = _answers(printed, "metrics")
    assert metrics["val_perplexity_with_cache"]["last"] < metrics["val_perplexity"]["last"]


def test_what_is_asked_is_answered(printed: list[Any]) -> None:
    first, explained = _answers(printed, "choices")
    assert [len(choice["text"].split()) > 2 for choice in first] == [True, True]
    prefixed, cached = _answers(printed, "suggestions")
    assert {each["text"][:2] for each in prefixed} == {"ex"}
    assert "spam" in {each["text"] for each in cached}
    whys = explained[0]["explanations"]
    assert [len(why["sources"]) for why in whys] == [1, 1]
    assert all(why["sources"][0]["line"] > 0 and why["count"] > 0 for why in whys)


def test_sense_scores_above_nonsense_and_the_file_of_a_model_as_the_model(printed: list[Any]) -> None:
    scores = [each for each in printed if "perplexity" in each]
    sense, nonsense = scores[0]["texts"]
    assert sense["perplexity"] < nonsense["perplexity"]
    mixed, back = scores[1:]
    assert mixed["with_cache"]["perplexity"] > 1
    assert back["log10_prob"] == pytest.approx(sense["log10_prob"], rel=1e-5)


def test_openais_client_runs_as_printed(standing: Any, printed: list[Any]) -> None:
    pytest.importorskip("openai")
    code = PYTHON[0].replace("http://127.0.0.1:8000", standing.url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    listed, text = done.stdout.split("\n", 1)
    assert "'manual'" in listed
    assert text.strip()
