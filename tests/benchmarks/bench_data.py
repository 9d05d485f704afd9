"""Rows a second of reading a CSV, beside pyarrow's; the memory a large one takes; `make bench-data`."""

from __future__ import annotations

import gzip
import os
import re
import statistics
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
TIMES = 9
SHARED = ROOT.parent / "shared" / "data"
REAL = ("california_housing.csv", "adult_train.csv", "mnist_t10k")
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


def repeated(path: Path, name: str) -> int:
    """A real table, its rows repeated to about SPEED_MIB; MNIST's test part as 785 columns, once; returns its rows."""
    if name.startswith("mnist"):
        pixels = gzip.decompress((SHARED / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
        digits = gzip.decompress((SHARED / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
        table = np.column_stack([np.frombuffer(digits, np.uint8), np.frombuffer(pixels, np.uint8).reshape(-1, 784)])
        names = ",".join(["label", *(f"pixel_{at}" for at in range(784))])
        path.write_text("\n".join([names, *(",".join(map(str, row)) for row in table.tolist()), ""]))
        return len(table)
    names, *lines = (SHARED / name).read_text().splitlines()
    times = -(-SPEED_MIB * MIB // (SHARED / name).stat().st_size)
    path.write_text("\n".join([names, *lines * times, ""]))
    return len(lines) * times


def compare(path: Path, rows: int, title: str) -> None:
    """Prints the rows a second of pyarrow, of pyarrow on one thread, and ours, in turn: medians and the best."""
    csv = pytest.importorskip("pyarrow.csv")
    took: dict[str, list[float]] = {"pyarrow": [], "pyarrow, one thread": [], "netwright": []}
    parsed = path.with_name("parsed")
    for _ in range(TIMES):
        for name, times in took.items():
            parsed.unlink(missing_ok=True)  # a data set is a new file
            began = time.perf_counter()
            if name == "netwright":
                assert read([Upload("a.csv", path)], parsed).description.rows == rows
            else:
                csv.read_csv(path, csv.ReadOptions(use_threads=name == "pyarrow"))
            times.append(time.perf_counter() - began)
    size = path.stat().st_size / MIB
    sys.stdout.write(f"\n{title}: {rows:,} rows, {size:.0f} MiB")
    for name, times in took.items():
        usual = statistics.median(times)
        sys.stdout.write(f"\n  {name:20} {rows / usual:12,.0f} rows/s  {size / usual:8.1f} MiB/s")
    for of, what in ((statistics.median, "medians"), (min, "the best")):
        threads, one, ours = (float(of(times)) for times in took.values())
        sys.stdout.write(f"\n  {what}: {threads / ours:.2f} of pyarrow (wanted: 0.5), {one / ours:.2f} on one thread")
    sys.stdout.write("\n")


def test_reading_keeps_up_with_pyarrow(tmp_path: Path) -> None:
    compare(tmp_path / "a.csv", made(tmp_path / "a.csv", SPEED_MIB * MIB), "made table")


@pytest.mark.parametrize("name", REAL)
def test_reading_real_tables_keeps_up_with_pyarrow(name: str, tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("the real data are not at ../shared/data")
    compare(tmp_path / "a.csv", repeated(tmp_path / "a.csv", name), name)


def test_reading_words_in_quotes_keeps_up_with_pyarrow(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("the real data are not at ../shared/data")
    rows = repeated(tmp_path / "plain.csv", REAL[1])
    text = re.sub(r"[^,\n]*[A-Za-z][^,\n]*", r'"\g<0>"', (tmp_path / "plain.csv").read_text())
    (tmp_path / "a.csv").write_text(text)
    compare(tmp_path / "a.csv", rows, f"{REAL[1]}, words in quotes")


def test_a_wide_table_is_taken_in_little_memory(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("the real data are not at ../shared/data")
    rows = repeated(tmp_path / "a.csv", REAL[-1])
    found, peak, took = taken_in(tmp_path)
    sys.stdout.write(f"\n785 columns, {rows:,} rows: {peak:.0f} MiB of memory at most, {took:.1f} s\n")
    assert found == rows
    assert peak < MOST_MIB


def taken_in(folder: Path) -> tuple[int, float, float]:
    """Rows, MiB of memory at most and seconds of reading a.csv in a process of its own."""
    command = [sys.executable, "-c", READ, str(folder / "a.csv"), str(folder / "parsed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=1800).stdout.split()
    return int(told[0]), float(told[1]), float(told[2])


def test_a_gigabyte_is_taken_in_little_memory(tmp_path: Path) -> None:
    rows = made(tmp_path / "a.csv", LARGE_MIB * MIB)
    found, peak, took = taken_in(tmp_path)
    sys.stdout.write(f"\n{LARGE_MIB} MiB, {rows:,} rows: {peak:.0f} MiB of memory at most, {took:.0f} s\n")
    assert found == rows
    assert peak < MOST_MIB
