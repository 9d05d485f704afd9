"""How values lie, whatever they are: every value is in one bin, and every bin has two ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.data import Dataset, Upload, histograms, read

ODD = {
    "one of many digits": [2.0**60] * 3,
    "neighbours": [2.0**53, 2.0**53 + 2, 2.0**53 + 4],
    "hardly apart": [1e9 + at * 1e-7 for at in range(40)],
    "the largest and the least": [1.7e308, -1.7e308, 0.0],
    "all the same": [0.25] * 4,
    "the smallest there is": [5e-324, 0.0, -5e-324],
    "few whole ones": [0.0, 1.0, 3.0],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("bins", [1, 20, 1000])
def test_each_value_is_counted_once(tmp_path: Path, name: str, bins: int) -> None:
    lines = "\n".join(["x", *map(repr, ODD[name])])
    (tmp_path / "upload").write_text(lines + "\n", encoding="utf-8")
    read([Upload("a.csv", tmp_path / "upload")], tmp_path / "parsed")
    found = histograms(Dataset.open(tmp_path / "parsed"), bins)["x"]
    assert found.edges is not None
    assert len(found.edges) == len(found.counts) + 1
    assert found.edges == sorted(found.edges)
    assert found.edges[0] <= min(ODD[name]) <= max(ODD[name]) <= found.edges[-1]
    assert (sum(found.counts), found.missing) == (len(ODD[name]), 0)
