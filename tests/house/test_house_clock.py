"""Time is read in one place, so that nothing can hang on a clock that people and programs may set."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def _read(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)} & WALL_CLOCKS


def test_only_the_clock_reads_the_wall_clock() -> None:
    readers = {path.name for path in (ROOT / "service").rglob("*.py") if _read(path)}
    assert readers == {"clock.py"}
