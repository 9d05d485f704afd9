"""A room is entered by its front door: nobody imports what lies behind another room's `__init__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service"
ROOMS = {path.name for path in SERVICE.iterdir() if (path / "__init__.py").exists()}
SECOND_DOORS = {"service.specs.artifact": "the model's file: the one thing that jobs write and serving reads"}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _behind(module: str, own: str) -> bool:
    """Whether a module lies behind the door of another room than `own`."""
    parts = module.split(".")
    return len(parts) > 2 and parts[0] == "service" and parts[1] in ROOMS - {own} and module not in SECOND_DOORS


def test_the_rooms_are_found() -> None:
    assert {"api", "data", "demo", "engine", "jobs", "ngram", "serving", "specs", "storage"} <= ROOMS


def test_nobody_enters_a_room_but_by_its_door() -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted(SERVICE.rglob("*.py"))
        for module in _imported(path)
        if _behind(module, own=path.relative_to(SERVICE).parts[0])
    ]
    assert found == []


def test_second_doors_are_used() -> None:
    used = {module for path in SERVICE.rglob("*.py") for module in _imported(path)}
    assert set(SECOND_DOORS) <= used
