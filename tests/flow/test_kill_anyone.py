"""A short drill of kills at random; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

from flow_chaos import drill


def test_whoever_is_killed_nothing_acknowledged_is_lost_doubled_or_otherwise(tmp_path: Path) -> None:
    books = drill(tmp_path, kills=7, pause_s=0.5)
    assert books.wrong == [], str(books)
    assert books.kills.total() == 7
    assert books.acknowledged
