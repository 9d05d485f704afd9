"""docs/exchange.md is run as it is printed; blocks that name other programs only where those are installed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "exchange.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python(.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT_S = 120


def ran(blocks: list[str], url: str, folder: Path) -> None:
    code = "\n".join(blocks).replace("http://127.0.0.1:8000", url)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_is_short_and_runs_without_extras(standing: Any, tmp_path: Path) -> None:
    assert PAGE.count("\n") < 100
    plain = [code for needs, code in BLOCKS if not needs.strip()]
    assert len(plain) >= 3
    ran(plain, standing.url, tmp_path)


@pytest.mark.oracle
def test_the_page_runs_with_all_its_programs(standing: Any, tmp_path: Path) -> None:
    needed = {name for needs, _ in BLOCKS for name in needs.split()}
    missing = sorted(name for name in needed if find_spec(name) is None)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    ran([code for _, code in BLOCKS], standing.url, tmp_path)
