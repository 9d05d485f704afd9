"""Real data as people have it: read as it is, compared with numbers counted by other means."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.data import SAMPLES, Dataset, DatasetSpec, TargetKind, Upload, prepare, read, sample
from service.data.encoders import CategoryFeature
from service.errors import NotFound

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

Shared = Callable[..., Dataset]

TABLES: dict[str, tuple[str, TargetKind, int, int]] = {  # target, kind, rows (SOURCES.md), outputs
    "adult_train.csv": ("income", "binary", 32561, 1),
    "banknote.csv": ("label", "binary", 1372, 1),
    "california_housing.csv": ("median_house_value", "number", 20640, 1),
    "iris.csv": ("species", "class", 150, 3),
    "pima_diabetes.csv": ("label", "class", 768, 2),
    "seaborn_flights.csv": ("passengers", "number", 144, 1),
    "seaborn_mpg.csv": ("mpg", "number", 398, 1),
    "seaborn_penguins.csv": ("species", "class", 344, 3),
    "seaborn_titanic.csv": ("survived", "binary", 891, 1),
    "wine_quality_red.csv": ("quality", "class", 1599, 6),
    "wine_quality_white.csv": ("quality", "number", 4898, 1),
}


def spec(**fields: object) -> DatasetSpec:
    return DatasetSpec.model_validate({"id": "ds_1", **fields})


def cells(name: str) -> dict[str, list[str]]:
    with open(SHARED / name, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_cell_by_cell(shared: Shared, name: str) -> None:
    data = shared(name)
    for column, words in cells(name).items():
        found = data.column(column)
        missing = [word in {"", "?"} for word in words]
        assert found.description.missing == sum(missing)
        if found.description.type == "number":
            expected = [np.nan if gone else float(word) for word, gone in zip(words, missing, strict=True)]
            assert np.array_equal(found.values.astype(float), np.array(expected), equal_nan=True)
            assert found.description.mean == pytest.approx(np.nanmean(expected))
            assert found.description.std == pytest.approx(np.nanstd(expected))
        else:
            assert found.take(range(data.rows)) == [None if gone else w for w, gone in zip(words, missing, strict=True)]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_prepared_and_its_rows_predicted_alike(shared: Shared, name: str) -> None:
    target, kind, rows, outputs = TABLES[name]
    data = shared(name)
    found = prepare(data, spec(target=target, validation=0.2), kind)
    assert found.outline.outputs == outputs
    assert found.validation is not None
    assert len(found.train.x) + len(found.validation.x) == rows
    assert np.isfinite(found.train.x).all()
    assert np.abs(found.train.x.mean(axis=0)).max() <= 1 + 1e-6
    ids = found.validation.rows[:50]
    assert found.table.rows(data.take(ids)).tobytes() == found.validation.x[:50].tobytes()


def test_adults_test_file_is_read_by_the_train_files_words(shared: Shared) -> None:
    train, test = shared("adult_train.csv"), shared("adult_test.csv")
    found = prepare(train, spec(test={"id": "ds_2"}), "binary", test=test)
    assert found.outline.spec.target == "income"
    assert found.outline.shape == (
        6 + 7 + 1 + 16 + 7 + 14 + 1 + 6 + 5 + 2 + 41 + 1 + 1,
    )  # numbers, then words by column
    assert found.test is not None
    assert len(found.test.x) == 16281
    assert found.test.y.mean() == pytest.approx(3846 / 16281)  # UCI: 23.62 % of the test part earn more
    assert found.warnings == ()


MNIST = ("mnist_train-images-idx3-ubyte.gz", "mnist_train-labels-idx1-ubyte.gz")


def test_mnist_is_read_as_it_comes(shared: Shared) -> None:
    data = shared(*MNIST)
    raw = np.frombuffer(gzip.decompress((SHARED / MNIST[0]).read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((SHARED / MNIST[1]).read_bytes()), np.uint8, offset=8)
    assert np.array_equal(data.column("image").values, raw.reshape(60000, 28, 28))
    assert np.array_equal(data.column("label").values, labels)
    image, label = data.description.columns
    assert image.mean == pytest.approx(raw.mean())
    assert image.std == pytest.approx(raw.std())
    assert {top.value: top.count for top in label.top} == {str(n): int((labels == n).sum()) for n in range(10)}
    found = prepare(data, spec(validation=0.1, split_seed=7), "class")
    assert found.train.x.shape == (54000, 28, 28, 1)
    assert found.train.x.dtype == np.uint8
    assert found.scale == 1 / 255
    assert found.outline.classes == tuple("0123456789")
    assert np.array_equal(found.train.y, labels[found.train.rows])


def test_chinese_poems_keep_their_bytes(shared: Shared) -> None:
    data = shared("zh_tang_poems.txt")
    assert bytes(data.text()) == (SHARED / "zh_tang_poems.txt").read_bytes()
    assert data.rows == 13987  # SOURCES.md


def test_the_same_upload_is_the_same_file_packed_or_not(tmp_path: Path) -> None:
    if not (SHARED / "seaborn_titanic.csv").exists():
        pytest.skip("the real data is not on this machine (looked for ../shared/data)")
    plain = SHARED / "seaborn_titanic.csv"
    (tmp_path / "packed").write_bytes(gzip.compress(plain.read_bytes()))
    first = read([Upload("titanic.csv", plain)], tmp_path / "a")
    second = read([Upload("titanic.csv.gz", tmp_path / "packed")], tmp_path / "b")
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_the_same_every_time(name: str, tmp_path: Path) -> None:
    assert sample(name, tmp_path / "a") == sample(name, tmp_path / "b")


def test_samples_have_the_columns_that_callers_rely_on(tmp_path: Path) -> None:
    found = {name: sample(name, tmp_path / name).description for name in SAMPLES}
    assert {name: [column.name for column in one.columns] for name, one in found.items()} == {
        "digits": ["image", "label"],
        "iris": ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"],
        "python_reference": ["text"],
        "spiral": ["x", "y", "label"],
        "xor": ["x", "y", "label"],
    }
    assert [(name, one.kind, one.rows) for name, one in found.items() if name != "python_reference"] == [
        ("digits", "image", 1797),
        ("iris", "table", 150),
        ("spiral", "table", 400),
        ("xor", "table", 400),
    ]
    assert found["digits"].columns[0].shape == [8, 8]
    assert found["digits"].columns[0].max == 16
    assert found["iris"].columns[4].classes == ["setosa", "versicolor", "virginica"]


def test_xor_is_what_it_says(tmp_path: Path) -> None:
    sample("xor", tmp_path / "xor")
    for row in Dataset.open(tmp_path / "xor").preview(400):
        assert row["label"] == int((row["x"] > 0) is not (row["y"] > 0))  # type: ignore[operator]


def test_the_text_is_real_and_long_enough_to_learn_from(tmp_path: Path) -> None:
    sample("python_reference", tmp_path / "text")
    text = bytes(Dataset.open(tmp_path / "text").text()).decode()
    assert len(text) > 300_000
    assert "statement" in text


def test_an_unknown_sample_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        sample("digit", tmp_path / "a")
    assert caught.value.hint == "Did you mean 'digits'?"


@pytest.mark.oracle
def test_digits_and_iris_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits, load_iris

    sample("digits", tmp_path / "digits")
    sample("iris", tmp_path / "iris")
    digits, iris = Dataset.open(tmp_path / "digits"), Dataset.open(tmp_path / "iris")
    assert np.array_equal(digits.column("image").values, load_digits().images)
    assert np.array_equal(digits.column("label").values, load_digits().target)
    x = np.stack([iris.column(name).values for name in list(iris.columns)[:4]], 1)
    assert np.array_equal(x, load_iris().data)
    assert np.array_equal(iris.column("species").values, load_iris().target)


@pytest.mark.oracle
def test_scaling_and_encoding_are_scikit_learns(shared: Shared) -> None:
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    data = shared("california_housing.csv")
    found = prepare(data, spec(target="median_house_value", validation=0.2), "number")
    rows = data.take(found.train.rows)
    numbers = [name for name in data.columns if name not in {"median_house_value", "ocean_proximity"}]
    table = np.array([[np.nan if row[name] is None else row[name] for name in numbers] for row in rows], float)
    scaled = np.nan_to_num(StandardScaler().fit_transform(table))
    slots = [f.start for f in found.preprocessor.encoder.features if f.type == "number"]  # type: ignore[union-attr]
    assert np.allclose(found.train.x[:, slots], scaled, atol=1e-5)
    words = [[str(row["ocean_proximity"])] for row in rows]
    hot = OneHotEncoder(sparse_output=False).fit_transform(words)
    last = found.preprocessor.encoder.features[-1]  # type: ignore[union-attr]
    assert isinstance(last, CategoryFeature)
    order = [last.words.index(word) for word in sorted({word for (word,) in words})]
    assert np.array_equal(found.train.x[:, -5:][:, order], hot)


@pytest.mark.benchmark
def test_reading_is_fast_enough(tmp_path: Path) -> None:
    took = {}
    for names in (("adult_train.csv",), MNIST):
        began = time.perf_counter()
        read([Upload(name, SHARED / name) for name in names], tmp_path / names[0])
        took[names[0]] = time.perf_counter() - began
        began = time.perf_counter()
        Dataset.open(tmp_path / names[0])
        took["open " + names[0]] = time.perf_counter() - began
    assert took["adult_train.csv"] < 0.5
    assert took[MNIST[0]] < 1.0
    assert took["open adult_train.csv"] < 0.005
