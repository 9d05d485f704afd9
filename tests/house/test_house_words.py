"""What must not stand in a committed file: places of one machine, hosts of package registries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 2_000_000  # a golden model of a reference, compressed

# Split in two, or this file would break its own law.
FORBIDDEN = {
    "a folder of one machine": r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+|Us" + r"ers/\w+)/",
    "a package registry": r"py"
    + r"pi\.org|pythonho"
    + r"sted\.org|npm"
    + r"js\.(?:org|com)|conda\.ana"
    + r"conda\.org",
}


def _committed() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        pytest.skip("needs git to tell which files are the repository's")
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def _text(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data[:8192] else data.decode("utf-8", "replace")


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_speaks_of(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()}" for path in _committed() if (hit := pattern.search(_text(path)))
    ]
    assert found == []


def test_the_service_knows_no_pickle() -> None:
    words = re.compile(r"^\s*(?:import|from) (?:c?pickle|shelve|marshal|dill|joblib)\b|allow_pickle=True", re.MULTILINE)
    assert [path for path in (ROOT / "service").rglob("*.py") if words.search(path.read_text("utf-8"))] == []


def test_committed_files_are_small() -> None:
    large = {
        path.relative_to(ROOT).as_posix(): size
        for path in _committed()
        if (size := path.stat().st_size) > LARGEST_BYTES
    }
    assert large == {}
