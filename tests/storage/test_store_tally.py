"""Durations counted in a file for each process: every one is told of once, whoever died meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.storage import BOUNDS_S, Process, Store, Tally

COUNT = """
import sys
from pathlib import Path
from service.storage import Tally
tally = Tally(Path(sys.argv[1]))
tally.share("worker")
for _ in range(3):
    tally["commit"].add(0.004)
print("counted", flush=True)
sys.stdin.read()
"""


def counts(tally: Tally) -> dict[float, int]:
    """Commits by the bound of their bucket."""
    found = tally.read()["commit"].counts
    return {bound: n for bound, n in zip((*BOUNDS_S, float("inf")), found, strict=True) if n}


@pytest.mark.parametrize("shared", [False, True])
def test_a_duration_belongs_to_the_first_bucket_that_is_long_enough(tmp_path: Path, shared: bool) -> None:
    tally = Tally(tmp_path / "tally")
    if shared:
        tally.share("server")
    for seconds in (0.0, 0.0001, 0.00011, 0.3, 99.0):
        tally["commit"].add(seconds)
    assert counts(tally) == {0.0001: 2, 0.00025: 1, 0.5: 1, float("inf"): 1}
    assert tally.read()["commit"].sum_s == pytest.approx(99.30021)
    assert not any(tally.read()["predict"].counts)
    tally.close()


def test_what_a_process_counted_is_told_while_it_lives_and_taken_over_when_it_is_dead(tmp_path: Path) -> None:
    ours = Tally(tmp_path / "tally")
    ours["commit"].add(0.3)
    ours.share("server")
    with subprocess.Popen(
        [sys.executable, "-c", COUNT, str(tmp_path / "tally")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"counted\n"
        assert Process("worker", other.pid) in ours.processes()
        ours.fold()
        assert counts(ours) == {0.005: 3, 0.5: 1}
        assert len(list((tmp_path / "tally").iterdir())) == 2
        other.kill()
    assert [each.kind for each in ours.processes()] == ["server"]
    assert counts(ours) == {0.005: 3, 0.5: 1}
    ours.fold()
    assert counts(ours) == {0.005: 3, 0.5: 1}
    assert len(list((tmp_path / "tally").iterdir())) == 1
    ours.close()


def test_where_no_file_can_be_made_a_process_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "tally").write_text("not a folder")
    tally = Tally(tmp_path / "tally")
    tally.share("server")
    tally["commit"].add(0.3)
    tally.fold()
    assert tally["commit"].cells[-1] == 300_000_000
    assert tally.processes() == []


def test_every_commit_of_the_store_is_timed(store: Store) -> None:
    before = sum(store.tally.read()["commit"].counts)
    store.jobs.submit(type="train", spec={})
    store.jobs.counts()
    with pytest.raises(RuntimeError, match="changed my mind"), store._database.write():
        raise RuntimeError("changed my mind")
    assert sum(store.tally.read()["commit"].counts) == before + 1
