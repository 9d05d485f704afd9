"""The image cannot be built in the tests; what can be known of its Dockerfile without an engine is held here."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from service.config import PREFIX, cores, load

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def test_what_is_copied_exists_and_is_let_in() -> None:
    sources = [s for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for s in line.split()[:-1]]
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert sorted(sources) == sorted(let_in)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_it_runs_as_nobody_in_particular_and_keeps_its_data_in_a_volume() -> None:
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.MULTILINE)


def test_its_extras_are_extras() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (given,) = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(given.split(",")) <= known.keys()
    assert re.search(r'pip install [^&]* "\.\${EXTRAS:\+\[\$EXTRAS\]}"', DOCKERFILE), "none at all is a choice, too"


def test_its_settings_are_settings() -> None:
    environ = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", DOCKERFILE))
    settings = load(environ)
    assert settings.host == "0.0.0.0"
    assert settings.allow_remote
    assert settings.data_dir == Path("/data")


def test_its_health_check_is_a_program() -> None:
    found = re.search(r"^HEALTHCHECK .* CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    python, flag, program = json.loads(found.group(1))
    assert (python, flag) == ("python", "-c")
    ast.parse(program)
    assert "/health/ready" in program


@pytest.mark.parametrize(("quota", "share"), [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)])
def test_a_container_has_the_cores_that_its_quota_pays_for(
    quota: str, share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota}\n", "ascii")
    assert cores(tmp_path / "cpu.max") == share
    (tmp_path / "cpu.max").write_text("max 100000\n", "ascii")
    assert cores(tmp_path / "cpu.max") == cores(tmp_path / "there is none") == 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")
def test_a_process_that_is_pinned_to_one_core_counts_one() -> None:
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert cores() == load({}).workers == 1
    finally:
        os.sched_setaffinity(0, mine)
