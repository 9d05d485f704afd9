"""The same data in every format that holds it, uploaded, trained on and scored through HTTP; `make bench-formats`.

Tables with gaps, categories and numbers as text; MNIST as IDX, NPZ, CSV and a zip of PNG. Then what must be refused:
broken rows by their names, and bombs in bounded memory. Needs ../shared/data and the extras data and images.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_first_light as first
import numpy as np
import pytest

from service.client import ApiError, Client, Document
from service.data import MISSING

pytestmark = pytest.mark.benchmark
pyarrow = pytest.importorskip("pyarrow", reason="the extra data")
Image = pytest.importorskip("PIL.Image", reason="the extra images")

Columns = Mapping[str, list[Any]]
DIGITS = 12_000
GROWN_MIB = 100


@dataclass(frozen=True)
class Server:
    client: Client
    pid: int

    def peak_mib(self) -> float:
        words = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return float(words.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    if not first.DATA.exists():
        pytest.skip("needs the data sets of ../shared/data")
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(folder), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=first.ROOT)
    assert process.stdout is not None
    with Client(process.stdout.readline().split()[-1]) as client:
        client.ask("GET", "/health/ready")
        yield Server(client, process.pid)
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("formats")) as server:
        yield server.client


# --- tables -----------------------------------------------------------------------------------------------------


def cells(path: Path) -> Columns:
    """A CSV's columns: floats where every cell that says something is one, else words; None for what is missing."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    found: dict[str, list[Any]] = {}
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        words = [None if word.strip() in MISSING else word.strip() for word in column]
        try:
            found[name] = [None if word is None else float(word) for word in words]
        except ValueError:
            found[name] = words
    return found


def as_csv(columns: Columns, to: Path) -> Path:
    with open(to, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(columns)
        writer.writerows(["" if v is None else v for v in row] for row in zip(*columns.values(), strict=True))
    return to


def as_jsonl(columns: Columns, to: Path) -> Path:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    with (gzip.open if to.suffix == ".gz" else open)(to, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return to


def as_words(columns: Columns, to: Path) -> Path:
    """Every number as a text: what a careless exporter writes."""
    return as_jsonl({name: [None if v is None else str(v) for v in each] for name, each in columns.items()}, to)


def as_parquet(columns: Columns, to: Path) -> Path:
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(dict(columns)), to)
    return to


def as_npz(columns: Columns, to: Path) -> Path:
    def array(values: list[Any]) -> Any:
        words = any(isinstance(v, str) for v in values)
        return np.array(["" if v is None else v for v in values]) if words else np.array(values, float)

    np.savez(to, **{name: array(values) for name, values in columns.items()})
    return to


WRITERS: Mapping[str, tuple[str, Callable[[Columns, Path], Path]]] = {
    "CSV; semicolons": (".csv", as_csv),
    "JSON lines, gz": (".jsonl.gz", as_jsonl),
    "JSON, all as text": (".words.jsonl", as_words),
    "Parquet": (".parquet", as_parquet),
    "NPZ": (".npz", as_npz),
}
TABLES: Mapping[str, tuple[str, str, list[str] | None]] = {
    "seaborn_titanic.csv": (
        "survived",
        "binary",
        ["pclass", "sex", "age", "sibsp", "parch", "fare", "embarked", "deck"],
    ),
    "seaborn_penguins.csv": ("species", "class", None),
    "california_housing.csv": ("median_house_value", "number", None),
    "adult_train.csv": ("income", "binary", None),
}
ENDS: Mapping[str, tuple[Document, str, str]] = {
    "binary": ({"kind": "dense", "units": 1, "activation": "sigmoid"}, "binary_cross_entropy", "accuracy"),
    "class": ({"kind": "dense", "units": 3, "activation": "softmax"}, "cross_entropy", "accuracy"),
    "number": ({"kind": "dense", "units": 1}, "squared_error", "rmse"),
}


def uploaded(client: Client, path: Path, columns: Columns) -> Document:
    """What is written as text but is none is said to be numbers."""
    if ".words" not in path.name:
        return client.upload(path)
    numbers = [name for name, each in columns.items() if not any(isinstance(value, str) for value in each)]
    types = json.dumps(dict.fromkeys(numbers, "number"))
    with open(path, "rb") as file:
        found: Document = client.ask("POST", "/v1/datasets", files={"file": file}, data={"types": types})
    return found


def scored(client: Client, dataset: Document, target: str, kind: str, features: list[str] | None) -> tuple[float, str]:
    """(its test score, the beginning of its weights' digest)"""
    end, loss, metric = ENDS[kind]
    spec = {
        "dataset": {"id": dataset["id"], "target": target, "features": features, "test": 0.2, "split_seed": 1},
        "network": {"layers": [{"kind": "dense", "units": 32, "activation": "relu"}, end]},
        "loss": {"kind": loss}, "metrics": [metric],
        "training": {"epochs": 3 if dataset["rows"] > 10_000 else 30, "batch_size": 64, "seed": 1},
    }  # fmt: skip
    run, _ = first.train(client, spec)
    return run["summary"][f"test_{metric}"]["last"], str(run["weights_sha256"])[:8]


@pytest.mark.parametrize("file", TABLES)
def test_a_table_in_every_format(client: Client, tmp_path: Path, file: str) -> None:
    target, kind, features = TABLES[file]
    columns = cells(first.DATA / file)
    ways = {"CSV as it is": first.DATA / file}
    ways |= {name: write(columns, tmp_path / f"t{ending}") for name, (ending, write) in WRITERS.items()}
    print(f"\n{file}: {len(columns[target]):,} rows, test {ENDS[kind][2]}")
    found = {}
    for name, path in ways.items():
        stored = uploaded(client, path, columns)
        missing = sum(each["missing"] for each in stored["columns"])
        found[name], digest = scored(client, stored, target, kind, features)
        print(f"  {name:17} {stored['rows']:6,} rows {missing:6,} gaps   {found[name]:12.4f}   weights {digest}")
    spread = max(found.values()) - min(found.values())
    noise = (
        0.05 * found["CSV as it is"] if kind == "number" else within_noise(found["CSV as it is"], stored["rows"] // 5)
    )
    print(f"  spread {spread:.4f} (noise {noise:.4f})")
    assert spread <= noise


def within_noise(accuracy: float, rows: int) -> float:
    """Two standard deviations of the difference of two accuracies."""
    return 2 * math.sqrt(2 * accuracy * (1 - accuracy) / rows)


# --- pictures ---------------------------------------------------------------------------------------------------


def digits() -> tuple[Any, Any]:
    images, labels = (gzip.decompress(path.read_bytes()) for path in first.MNIST)
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels[:DIGITS], np.frombuffer(labels, np.uint8, offset=8)[:DIGITS]


def as_idx(x: Any, y: Any, folder: Path) -> list[Path]:
    paths = [folder / "images-idx3-ubyte", folder / "labels-idx1-ubyte.gz"]
    paths[0].write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *x.shape) + x.tobytes())
    paths[1].write_bytes(gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, len(y)) + y.tobytes()))
    return paths


def as_png(x: Any, y: Any, folder: Path) -> list[Path]:
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        for at, (picture, label) in enumerate(zip(x, y, strict=True)):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "png")
            archive.writestr(f"digits/{label}/{at:05}.png", file.getvalue())
    return [folder / "digits.zip"]


def as_pixels(x: Any, y: Any, folder: Path) -> list[Path]:
    names = ",".join(["label", *(f"pixel{at}" for at in range(784))])
    rows = np.concatenate([y[:, None], x.reshape(len(x), -1)], 1)
    np.savetxt(folder / "digits.csv", rows, "%d", ",", header=names, comments="")
    return [folder / "digits.csv"]


def as_arrays(x: Any, y: Any, folder: Path) -> list[Path]:
    np.savez_compressed(folder / "digits.npz", image=x, label=y)
    return [folder / "digits.npz"]


def test_digits_in_every_format(client: Client, tmp_path: Path) -> None:
    x, y = digits()
    print(f"\nMNIST, its first {DIGITS:,} digits: test accuracy")
    found = {}
    for name, write in {"IDX": as_idx, "NPZ": as_arrays, "CSV of pixels": as_pixels, "zip of PNG": as_png}.items():
        stored = client.upload(*write(x, y, tmp_path), name=name)
        flat = [{"kind": "flatten"}] if name != "CSV of pixels" else []
        spec = {
            "dataset": {"id": stored["id"], "target": "label" if name != "IDX" else None, "test": 0.2, "split_seed": 1},
            "network": {"layers": [*flat, *first.dense(64, 10)]},
            "loss": {"kind": "cross_entropy"}, "training": {"epochs": 4, "batch_size": 64, "seed": 1},
        }  # fmt: skip
        run, _ = first.train(client, spec)
        found[name] = run["summary"]["test_accuracy"]["last"]
        print(f"  {name:17} {stored['rows']:6,} rows   {found[name]:.4f}   weights {str(run['weights_sha256'])[:8]}")
    spread, noise = max(found.values()) - min(found.values()), within_noise(found["IDX"], DIGITS // 5)
    print(f"  spread {spread:.4f} (noise {noise:.4f})")
    assert spread <= noise


# --- what is refused --------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A picture's worth of zip that is 4 GB of zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/1.png", "w", force_zip64=True) as one,
    ):
        for _ in range(256):
            one.write(bytes(1 << 24))
    return file.getvalue()


def lying() -> bytes:
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117) + b"\n" + bytes(8_000)


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


BROKEN: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "a word among numbers": ("a.csv", lambda: b"a,b\n" + b"1,2\n" * 5_000 + b"3,four\n"),
    "a quote never closed": ("a.csv", lambda: b"a;b\n" + b"1;2\n" * 5_000 + b'3;"four\n'),
    "a cell too many": ("a.csv", lambda: b"a,b\n" + b"1,2\n" * 5_000 + b"3,4,5\n"),
    "a line of JSON cut short": ("a.jsonl", lambda: b'{"a": 1}\n' * 5_000 + b'{"a": \n'),
    "a zip bomb, 4 GB": ("a.zip", bomb),
    "a gzip bomb, 4 GB": ("a.csv.gz", lambda: gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000) * 1_000),
    "a .npy that lies, 8 TB": ("a.npy", lying),
    "a pickle in .npy": ("a.npy", objects),
    "a CSV of 1e7 columns": ("a.csv", lambda: b",".join(b"c%d" % at for at in range(10_000_000)) + b"\n"),
}


def test_what_is_refused(tmp_path: Path) -> None:
    print("\nrefused, and the server's peak of memory")
    with serving(tmp_path / "data") as server:
        for what, (name, make) in BROKEN.items():
            path, before = tmp_path / name, server.peak_mib()
            path.write_bytes(make())
            fields = {"types": "b:number"} if "word" in what else {}
            with pytest.raises(ApiError) as caught, open(path, "rb") as file:
                server.client.ask("POST", "/v1/datasets", files={"file": file}, data=fields, timeout=None)
            grown, told = server.peak_mib() - before, caught.value.detail
            size = path.stat().st_size / 1e6
            print(f"  {what:24} {size:5.1f} MB  {caught.value.status}  {grown:+4.0f} MiB  {told[:100]}")
            assert caught.value.status in (413, 422)
            assert grown < GROWN_MIB
        print(f"  peak {server.peak_mib():.0f} MiB")
