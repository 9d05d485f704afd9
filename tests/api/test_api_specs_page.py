"""docs/specs.md: its jobs are jobs, and its words are all that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_server import serving

from service.engine import SCORES

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "specs.md").read_text("utf-8")


async def test_every_job_of_the_page_is_one(tmp_path: Path) -> None:
    jobs = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    assert len(jobs) >= 5
    async with serving(tmp_path) as api:
        for job in jobs:
            answer = await api.http.post("/v1/plans", json=job)
            assert answer.status_code == 200, (job, answer.text)


def test_the_page_lists_every_kind_and_no_other() -> None:
    schemas: dict[str, Any] = json.loads((DOCS / "openapi.json").read_text("utf-8"))["components"]["schemas"]
    kinds = {each.get("properties", {}).get("kind", {}).get("const") for each in schemas.values()} - {None}
    rows = re.findall(r"^\| .*?`.*?\| (.*) \|$", PAGE.partition("## All words")[2], re.MULTILINE)
    listed = {word for row in rows for word in re.findall(r"`(\w+)`", row.partition("; each")[0])}
    assert listed == kinds


def test_the_page_lists_every_metric() -> None:
    (line,) = re.findall(r"^`metrics`: .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) - {"metrics"} == {*SCORES, "perplexity", "bits_per_character"}
