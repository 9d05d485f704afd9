"""What is learned from real data, through HTTP: tables against scikit-learn's MLP, series against the naive forecast,
MNIST against fixed marks; `make bench-results`. MNIST takes minutes: `-k "not mnist"` leaves it out.

scikit-learn gets the same rows, hidden units, optimizer, learning rate, batch size and epochs, and the usual scaling
and one-hot encoding. A server of its own is started in a folder of its own. Needs the data sets of ../shared/data.
"""

from __future__ import annotations

import csv
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import Client

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SEEDS = (1, 2, 3)
LAGS = 12
Json = dict[str, Any]
Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A file (and its own test file, if it has one), what to learn of it from which columns, and how."""

    file: str
    target: str
    features: tuple[str, ...] = ()
    test: str | None = None
    number: bool = False
    hidden: tuple[int, ...] = (64, 32)
    epochs: int = 30
    batch: int = 32


TABLES = {
    "titanic": Table("seaborn_titanic.csv", "survived", ("pclass", "sex", "age", "sibsp", "parch", "fare", "embarked")),
    "wine_quality": Table("wine_quality_red.csv", "quality"),
    "wine_as_number": Table("wine_quality_white.csv", "quality", number=True),
    "california_housing": Table("california_housing.csv", "median_house_value", number=True, batch=128, epochs=40),
    "adult": Table("adult_train.csv", "income", test="adult_test.csv", batch=128, epochs=10),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    if not DATA.exists():
        pytest.skip("needs the data sets of ../shared/data")
    folder = tmp_path_factory.mktemp("results") / "data"
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "1", "--data-dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    with Client(server.stdout.readline().split()[-1]) as client:
        yield client
    server.terminate()
    server.communicate(timeout=10)


def tell(what: str, *figures: str) -> None:
    """One line of the table."""
    print(f"\n{what:<26}" + "  ".join(figures), end="", flush=True)


def read(name: str) -> list[Row]:
    with open(DATA / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[Row]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def parts(table: Table) -> tuple[list[Row], list[Row]]:
    """Training and test rows: the files' own, else three quarters and one quarter, shuffled by a fixed seed."""
    rows = [row for row in read(table.file) if row[table.target]]
    if table.test is not None:
        return rows, read(table.test)
    random.Random(0).shuffle(rows)
    cut = len(rows) * 3 // 4
    return rows[:cut], rows[cut:]


def dense(units: tuple[int, ...], last: int, end: str | None) -> list[Json]:
    layers: list[Json] = [{"kind": "dense", "units": n, "activation": "relu"} for n in units]
    return [*layers, {"kind": "dense", "units": last, "activation": end}]


def trained(client: Client, spec: Json, timeout_s: float = 600) -> tuple[Json, float]:
    """(every metric's summary, seconds) of a job that succeeds."""
    begun = time.perf_counter()
    done = client.wait(client.submit({"type": "train", "spec": spec})["id"], timeout_s=timeout_s)
    assert done["status"] == "succeeded", done["error"]
    return client.metrics(done["run_id"]), time.perf_counter() - begun


def ours(client: Client, table: Table, seed: int, train: str, test: str, classes: int) -> float:
    loss = "squared_error" if table.number else "cross_entropy"
    spec = {
        "dataset": {"id": train, "target": table.target, "test": {"id": test}}
        | ({"features": list(table.features)} if table.features else {}),
        "network": {"layers": dense(table.hidden, classes, None if table.number else "softmax")},
        "loss": {"kind": loss}, "optimizer": {"kind": "adam", "learning_rate": 0.001},
        "training": {"epochs": table.epochs, "batch_size": table.batch, "seed": seed},
        "metrics": ["r2"] if table.number else ["accuracy"],
    }  # fmt: skip
    return float(trained(client, spec)[0]["test_r2" if table.number else "test_accuracy"]["last"])


def theirs(table: Table, seed: int, train: list[Row], test: list[Row]) -> float:
    """R2 or accuracy of scikit-learn's MLP, without its early stopping, for as many epochs."""
    compose, impute = pytest.importorskip("sklearn.compose"), pytest.importorskip("sklearn.impute")
    pipeline, preparing = pytest.importorskip("sklearn.pipeline"), pytest.importorskip("sklearn.preprocessing")
    network = pytest.importorskip("sklearn.neural_network")
    names = table.features or tuple(name for name in train[0] if name != table.target)
    numbers = [i for i, name in enumerate(names) if all(_is_number(row[name]) for row in train)]
    words = [i for i in range(len(names)) if i not in numbers]
    scaled = pipeline.make_pipeline(impute.SimpleImputer(), preparing.StandardScaler())
    encoder = compose.ColumnTransformer(
        [("n", scaled, numbers), ("w", preparing.OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)]
    )
    x = [np.array([[_value(row[n], i in numbers) for i, n in enumerate(names)] for row in some], object)
         for some in (train, test)]  # fmt: skip
    y = [np.array([row[table.target] for row in some], float if table.number else str) for some in (train, test)]
    given = {"hidden_layer_sizes": table.hidden, "batch_size": table.batch, "alpha": 0.0, "random_state": seed,
             "max_iter": table.epochs, "n_iter_no_change": table.epochs}  # fmt: skip
    model = (network.MLPRegressor if table.number else network.MLPClassifier)(**given)
    mean, unit = (y[0].mean(), y[0].std()) if table.number else (0, 1)
    inputs = encoder.fit_transform(x[0])
    with pytest.warns(Warning, match="converge"):
        model.fit(inputs, (y[0] - mean) / unit if table.number else y[0])
    return float(model.score(encoder.transform(x[1]), (y[1] - mean) / unit if table.number else y[1]))


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _value(text: str, number: bool) -> object:
    return (float(text) if text else float("nan")) if number else text.strip()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_learned_as_well_as_by_scikit_learn(client: Client, tmp_path: Path, name: str) -> None:
    table = TABLES[name]
    train, test = parts(table)
    ids = [client.upload(write(tmp_path / f"{name}_{part}.csv", rows))["id"]
           for part, rows in (("train", train), ("test", test))]  # fmt: skip
    classes = 1 if table.number else len({row[table.target] for row in train})
    mine = [ours(client, table, seed, ids[0], ids[1], classes) for seed in SEEDS]
    others = [theirs(table, seed, train, test) for seed in SEEDS]
    word = "R2" if table.number else "accuracy"
    tell(name, f"test {word}", *(f"{who} {statistics.mean(found):.4f} ({min(found):.4f}..{max(found):.4f})"
                                 for who, found in (("ours", mine), ("scikit-learn", others))))  # fmt: skip
    assert statistics.mean(mine) >= statistics.mean(others) - 0.01


@pytest.mark.parametrize(("name", "column"), [("airline_passengers", "Passengers"), ("monthly_sunspots", "Sunspots")])
def test_a_series_is_forecast_better_than_by_its_last_value(
    client: Client, tmp_path: Path, name: str, column: str
) -> None:
    """The next change from the last twelve and the level; naive: no change. The last 30 % in time are the test."""
    values = [float(row[column]) for row in read(f"{name}.csv")]
    changes = [b - a for a, b in pairwise(values)]
    rows = [{f"lag{k}": str(changes[i - k]) for k in range(1, LAGS + 1)} | {"level": str(values[i]),
            "change": str(changes[i])} for i in range(LAGS, len(changes))]  # fmt: skip
    cut = len(rows) * 7 // 10
    train, test = (client.upload(write(tmp_path / f"{part}.csv", some))["id"]
                   for part, some in (("train", rows[:cut]), ("test", rows[cut:])))  # fmt: skip
    found = []
    for seed in SEEDS:
        spec = {
            "dataset": {"id": train, "target": "change", "validation": 0.2, "test": {"id": test}},
            "network": {"layers": dense((16,), 1, None)}, "loss": {"kind": "squared_error"},
            "optimizer": {"kind": "adam", "learning_rate": 0.001, "weight_decay": 0.01},
            "training": {"epochs": 200, "batch_size": 16, "seed": seed, "early_stopping": {"patience": 20}},
            "metrics": ["mae", "rmse"],
        }  # fmt: skip
        found.append(float(trained(client, spec)[0]["test_mae"]["last"]))
    naive = statistics.mean(abs(float(row["change"])) for row in rows[cut:])
    mine = f"ours {statistics.mean(found):.3f} ({min(found):.3f}..{max(found):.3f})"
    tell(name, "test MAE", mine, f"naive {naive:.3f}")
    assert max(found) < naive


def mnist(client: Client, layers: list[Json], epochs: int, rate: float, **training: Any) -> tuple[float, float, int]:
    """(test accuracy, seconds, parameters)."""
    train, test = (client.upload(*(DATA / f"mnist_{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")))
                   for part in ("train", "t10k"))  # fmt: skip
    spec = {
        "dataset": {"id": train["id"], "target": "label", "test": {"id": test["id"]}},
        "network": {"layers": layers}, "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": rate, "schedule": {"kind": "cosine", "warmup_steps": 200}},
        "training": {"epochs": epochs, "batch_size": 128, "seed": 1} | training,
    }  # fmt: skip
    parameters = int(client.plan({"type": "train", "spec": spec})["parameters"])
    metrics, seconds = trained(client, spec, timeout_s=1800)
    return float(metrics["test_accuracy"]["last"]), seconds, parameters


def test_mnist_by_a_dense_network_with_dropout(client: Client) -> None:
    layers: list[Json] = [{"kind": "flatten"}]
    for units in (512, 256):
        layers += [{"kind": "dense", "units": units, "activation": "relu"}, {"kind": "dropout", "rate": 0.3}]
    accuracy, seconds, parameters = mnist(
        client, [*layers, {"kind": "dense", "units": 10, "activation": "softmax"}], epochs=16, rate=0.001
    )
    tell("mnist, dense + dropout", f"test accuracy {accuracy:.4f}", f"{parameters:,} parameters", f"{seconds:.0f} s")
    assert accuracy >= 0.984


def test_mnist_by_convolutions_with_augmentation(client: Client) -> None:
    def block(filters: int, padding: str) -> list[Json]:
        return [{"kind": "conv2d", "filters": filters, "kernel_size": 3, "padding": padding},
                {"kind": "batch_norm"}, {"kind": "relu"}]  # fmt: skip

    pool = {"kind": "max_pool2d", "pool_size": 2}
    layers = [*block(16, "same"), pool, *block(32, "same"), *block(64, "valid"), pool, {"kind": "flatten"},
              {"kind": "dropout", "rate": 0.3}, {"kind": "dense", "units": 10, "activation": "softmax"}]  # fmt: skip
    changes = [{"kind": "shift", "pixels": 2}, {"kind": "rotate", "degrees": 10.0}, {"kind": "zoom", "amount": 0.1}]
    accuracy, seconds, parameters = mnist(client, layers, epochs=8, rate=0.003, augmentation=changes)
    tell("mnist, convolutions", f"test accuracy {accuracy:.4f}", f"{parameters:,} parameters", f"{seconds:.0f} s")
    assert parameters < 100_000
    assert accuracy >= 0.993
