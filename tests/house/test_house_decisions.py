"""The decision pages keep their form, and the page of dependencies tells the truth."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
HEADINGS = ["Situation", "Decision", "Alternatives", "Consequences"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_four_headings(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert text.startswith(f"# {page.name[:4]}: ")
    assert text.count("\n") <= 60, "one page"


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (FOLDER / "README.md").read_text("utf-8")) == [p.name for p in PAGES]


def test_each_dependency_has_a_reason_and_each_reason_a_dependency() -> None:
    rows = re.findall(
        r"^\| ([a-z][\w-]*) \| .{10,} \|$", (FOLDER / "0002-dependencies.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(rows) == sorted(Requirement(line).name for line in PROJECT["dependencies"])


def test_constraints_pin_all_that_an_installation_brings() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if line and not line.startswith("#")}
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines if line and not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    always = _brought(PROJECT["dependencies"] + extras["dev"])
    image = [line for name in ("images", "data", "onnx") for line in extras[name]]
    with suppress(metadata.PackageNotFoundError):  # without the extras: what they need in turn is not known
        assert always | _brought(image) == pinned
    assert always | {canonicalize_name(Requirement(line).name) for line in image} <= pinned


def _brought(requirements: list[str]) -> set[str]:
    """The names of all packages that these requirements install here, with what they need in turn."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += [Requirement(line) for line in metadata.requires(requirement.name) or []]
    return found
