"""Rows a second of reading a CSV, beside pyarrow's; the memory a large one takes; `make bench-data`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from service.data import Upload, read

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
SPEED_MIB, LARGE_MIB = 32, 1000
MOST_MIB = 300
TOWNS = ("Oslo", "Rome", "Lima", "Kyoto", "Quito")
READ = """
import sys, time
from pathlib import Path
from service.data import Upload, read
began = time.perf_counter()
parsed = read([Upload("a.csv", Path(sys.argv[1]))], Path(sys.argv[2]))
status = Path("/proc/self/status").read_text()  # what getrusage tells begins with the parent's
peak = int(status.split("VmHWM:")[1].split()[0])
print(parsed.description.rows, peak / 1024, time.perf_counter() - began)
"""


def made(path: Path, size: int) -> int:
    """A table of at least `size` bytes: eight numbers, a whole one, a word, some missing; returns its rows."""
    numbers = np.random.default_rng(1).normal(size=(20_000, 8)).round(6)
    lines = [",".join(map(str, row)) + f",{at % 97 or ''},{TOWNS[at % 5]}\n" for at, row in enumerate(numbers.tolist())]
    piece, rows = "".join(lines).encode(), 0
    with open(path, "wb") as file:
        file.write(b"a,b,c,d,e,f,g,h,count,town\n")
        while file.tell() < size:
            file.write(piece)
            rows += len(lines)
    return rows


def test_reading_keeps_up_with_pyarrow(tmp_path: Path) -> None:
    csv = pytest.importorskip("pyarrow.csv")
    rows, best = made(tmp_path / "a.csv", SPEED_MIB * MIB), dict[str, float]()
    for _ in range(3):
        for name in ("pyarrow", "netwright"):
            began = time.perf_counter()
            if name == "pyarrow":
                csv.read_csv(tmp_path / "a.csv")
            else:
                read([Upload("a.csv", tmp_path / "a.csv")], tmp_path / "parsed")
            best[name] = min(best.get(name, 1e9), time.perf_counter() - began)
    for name, took in best.items():
        sys.stdout.write(f"\n{name:10} {rows / took:12,.0f} rows/s  {SPEED_MIB / took:8.1f} MiB/s")
    sys.stdout.write(f"\nratio {best['pyarrow'] / best['netwright']:.3f} (wanted: 0.5)\n")


def test_a_gigabyte_is_taken_in_little_memory(tmp_path: Path) -> None:
    rows = made(tmp_path / "a.csv", LARGE_MIB * MIB)
    command = [sys.executable, "-c", READ, str(tmp_path / "a.csv"), str(tmp_path / "parsed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=1800).stdout.split()
    found, peak, took = int(told[0]), float(told[1]), float(told[2])
    sys.stdout.write(f"\n{LARGE_MIB} MiB, {rows:,} rows: {peak:.0f} MiB of memory at most, {took:.0f} s\n")
    assert found == rows
    assert peak < MOST_MIB
