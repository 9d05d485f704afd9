"""Files made to hurt: each refused with words, in little memory, nothing run and nothing left."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from service.data import Limits, Upload, read
from service.data.readers.csv_ahead import LARGE_BYTES
from service.errors import InvalidData, RequestError, TooLarge

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 24 << 20  # of memory while refusing; a line may have 8 MB


class Evil:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("pwned",)


def header(descr: str, shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Evil()], dtype=object), allow_pickle=True)
    return out.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


NPZ = zipped("a.npy", header("<f8", (100,)) + np.random.default_rng(0).normal(size=100).tobytes())
GZIP = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)


@cache
def bomb() -> bytes:
    return gzip.compress(bytes(100_000_000), 9)


HOSTILE: dict[str, tuple[str, bytes | Callable[[], bytes], type[RequestError], str]] = {
    "a pickle inside an npy": ("a.npy", pickled(), InvalidData, "Python objects"),
    "a pickle inside an npz": ("a.npz", zipped("a.npy", pickled()), InvalidData, "Python objects"),
    "a bare pickle": ("a.pkl", pickle.dumps({"a": 1}), InvalidData, "is a pickle"),
    "an npy that claims 80 TB": ("a.npy", header("<f8", (10**13,)) + bytes(64), InvalidData, "64 follow"),
    "an npy of a negative shape": ("a.npy", header("<f8", (-1, 4)) + bytes(64), InvalidData, "shape"),
    "an npy header of brackets": ("a.npy", b"\x93NUMPY\1\0\x28\x23" + b"(" * 9000, InvalidData, "header"),
    "an npy header cut short": ("a.npy", header("<f8", (4,))[:50], InvalidData, "header"),
    "an npz that inflates 1,000 times": ("a.npz", lambda: zipped("a.npy", bytes(99_999_000)), TooLarge, "inflate"),
    "an npz with a path": ("a.npz", zipped("../../etc/passwd", b"x"), InvalidData, ".npy arrays only"),
    "an npz with a flipped byte": ("a.npz", flipped(NPZ, 300), InvalidData, "cannot be read"),
    "an npz cut short": ("a.npz", NPZ[:-30], InvalidData, "cannot be read"),
    "a gzip bomb": ("a.csv.gz", bomb, TooLarge, "inflate"),
    "a gzip bomb that lies about its size": ("a.csv.gz", lambda: bomb()[:-4] + bytes(4), TooLarge, "inflate"),
    "a gzip cut short": ("a.csv.gz", GZIP[:40] + bytes(4), InvalidData, "damaged"),
    "a gzip with a flipped byte": ("a.csv.gz", flipped(GZIP, len(GZIP) - 6), InvalidData, "damaged"),
    "ten million columns": ("a.csv", lambda: b",".join([b"a"] * 10_000_000), TooLarge, "longer than"),
    "a hundred thousand columns": ("a.csv", b",".join([b"a"] * 100_000) + b"\n1", TooLarge, "columns"),
    "a line of 12 MB in CSV": ("a.csv", b"a,b\n1," + b"x" * 12_000_000 + b"\n", TooLarge, "line 2 is longer"),
    "a line of 12 MB in JSON": ("a.jsonl", b'{"a":"' + b"x" * 12_000_000 + b'"}', TooLarge, "line 1 is longer"),
    "a line of 12 MB in text": ("a.txt", b"x" * 12_000_000, TooLarge, "line 1 is longer"),
    "a quote that never ends": ("a.csv", b'a,b\n1,"' + b"x,y\n" * 1_000_000, InvalidData, "row 1 (line 2)"),
    "no UTF-8 in CSV": ("a.csv", b"a,b\n1,x\n2,\xe9\n", InvalidData, "line 3: byte 0xe9 is not UTF-8"),
    "no UTF-8 in text": ("a.txt", b"a\nb\n\xff\n", InvalidData, "line 3: byte 0xff is not UTF-8"),
    "UTF-16": ("a.csv", "a,b\n1,2\n".encode("utf-16"), InvalidData, "UTF-16"),
    "a NUL byte in CSV": ("a.csv", b"a,b\n1,x\n2,\0\n", InvalidData, "line 3: a NUL byte"),
    "a NUL byte in text": ("a.txt", b"a\n\0\n", InvalidData, "line 2: a NUL byte"),
    "nothing": ("a.csv", b"", InvalidData, "empty"),
    "blank lines": ("a.csv", b"\n \n\n", InvalidData, "empty"),
    "names without rows": ("a.csv", b"a,b,c\n", InvalidData, "no rows"),
    "brackets without end": ("a.jsonl", b"[" * 100_000, InvalidData, "recursion limit"),
    "an IDX that claims 216 TB": ("a", b"\0\0\x08\3" + b"\0\0\xea\x60" * 3, InvalidData, "cannot hold"),
    "random bytes": ("a.bin", np.random.default_rng(0).bytes(5000), InvalidData, "no known format"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a large CSV has imported is there before memory is measured, whichever test comes first."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "upload").write_bytes(b"a,b\n" + b"1,x\n" * (LARGE_BYTES // 4 + 1))
    read([Upload("a.csv", folder / "upload")], folder / "parsed")


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_in_little_memory_and_nothing_is_left(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content, error, words = HOSTILE[what]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upload").write_bytes(content() if callable(content) else content)
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            read([Upload(name, tmp_path / "upload")], tmp_path / "parsed")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in caught.value.message
    assert caught.value.faults
    assert len(caught.value.message) < 300
    assert peak < MOST_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


READ_AND_TELL = """
import resource, sys
from pathlib import Path
from service.data import Upload, read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parsed = read([Upload("a.csv", Path(sys.argv[1]))], Path(sys.argv[2]))
print(parsed.description.rows, parsed.bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_file_is_read_in_the_memory_of_its_pieces(tmp_path: Path) -> None:
    rows = 900_000  # held as Python's objects they would take 300 MB
    (tmp_path / "upload").write_bytes(b"a,b,c\n" + b"0.1,0.2,0.3\n" * rows)
    command = [sys.executable, "-c", READ_AND_TELL, str(tmp_path / "upload"), str(tmp_path / "parsed")]
    told = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=60).stdout.split()
    assert int(told[0]) == rows
    assert int(told[1]) > 24 * rows
    assert int(told[2]) < 100 * 1024  # KiB: 32 MiB may be held before the disk is used, and a piece


def test_a_limit_on_rows_and_on_columns_of_json_holds(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"a,b\n" + b"1,2\n" * 1000)
    (tmp_path / "columns").write_bytes(b'{"a":1}\n' * 10 + b'{"b":1,"c":2}\n')
    for name, limits in (("rows", Limits(rows=999)), ("columns", Limits(columns=2))):
        with pytest.raises(TooLarge):
            read([Upload("a.csv" if name == "rows" else "a.jsonl", tmp_path / name)], tmp_path / "parsed", None, limits)


def test_an_unknown_format_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InvalidData) as caught:
        read([Upload("a", tmp_path / "a")], tmp_path / "parsed", "cvs")
    assert caught.value.hint == "Did you mean 'csv'?"


def test_files_of_several_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "b.txt").write_bytes(b"words\n")
    with pytest.raises(InvalidData, match="csv, text"):
        read([Upload(name, tmp_path / name) for name in ("a.csv", "b.txt")], tmp_path / "parsed")
