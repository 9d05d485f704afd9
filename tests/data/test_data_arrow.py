"""Parquet and Arrow: the data set of the CSV that the table was made from; what has no place is refused by name."""

from __future__ import annotations

import datetime
import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.data import MISSING, ColumnDescription, Dataset, Limits, Upload, read
from service.data.readers import arrow as arrow_reader
from service.errors import InvalidData, MissingExtra, RequestError, TooLarge

if TYPE_CHECKING:
    import pyarrow

Load = Callable[..., Dataset]
Write = Callable[["pyarrow.Table", Path], None]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TABLES = ("seaborn_titanic.csv", "seaborn_penguins.csv", "california_housing.csv")
KINDS = ("parquet", "parquet, zstd, plain", "file", "file, zstd", "stream", "feather")


@pytest.fixture
def arrow() -> Any:
    return pytest.importorskip("pyarrow")


def write(table: pyarrow.Table, path: Path, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    if kind.startswith("parquet"):
        plain = kind.endswith("plain")
        pa.parquet.write_table(table, path, compression="zstd" if plain else "snappy", use_dictionary=not plain)
    elif kind == "feather":
        pa.feather.write_feather(table, str(path))
    else:
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        options = pa.ipc.IpcWriteOptions(compression="zstd" if "zstd" in kind else None)
        with new(str(path), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=500)


def loaded(table: pyarrow.Table, folder: Path, kind: str = "parquet", name: str = "a") -> Dataset:
    write(table, folder / "upload", kind)
    read([Upload(name, folder / "upload")], folder / "parsed")
    return Dataset.open(folder / "parsed")


def exact(column: ColumnDescription) -> dict[str, object]:
    """Mean and deviation are merged from pieces, which differ in size."""
    near = {name: f"{getattr(column, name) or 0:.10g}" for name in ("mean", "std")}
    return column.model_dump() | near


@pytest.mark.parametrize(("name", "kind"), list(zip(TABLES * 2, KINDS, strict=True)))
def test_a_real_table_is_the_csvs_data_set(
    name: str, kind: str, tmp_path: Path, shared: Callable[..., Dataset], arrow: Any
) -> None:
    expected = shared(name)
    from pyarrow import csv

    options = csv.ConvertOptions(strings_can_be_null=True, null_values=sorted(MISSING), true_values=[], false_values=[])
    table = csv.read_csv(SHARED / name, convert_options=options)
    found = loaded(table, tmp_path, kind)
    assert [exact(column) for column in found.description.columns] == [
        exact(column) for column in expected.description.columns
    ]
    assert found.take(range(found.rows)) == expected.take(range(expected.rows))


def test_every_type_with_and_without_nulls_becomes_numbers_or_words(tmp_path: Path, arrow: Any) -> None:
    pa, day = arrow, datetime.date(2024, 2, 29)
    noon = datetime.datetime(2024, 2, 29, 12)
    table = pa.table({
        "int8": pa.array([1, None], pa.int8()), "uint64": pa.array([2**53, None], pa.uint64()),
        "half": pa.array([np.float16(0.5), None], pa.float16()), "decimal": pa.array([None, 3], pa.decimal128(5, 2)),
        "nothing": pa.array([None, None]), "truth": pa.array([True, None]), "word": pa.array(["NA", None]),
        "view": pa.array(["é", None], pa.string_view()), "large": pa.array(["x", None], pa.large_string()),
        "codes": pa.array(["b", None]).dictionary_encode(), "levels": pa.array([7, None]).dictionary_encode(),
        "day": pa.array([day, None], pa.date32()), "day_ms": pa.array([day, None], pa.date64()),
        "noon": pa.array([noon, None], pa.timestamp("us")), "zoned": pa.array([noon, None], pa.timestamp("ns", "UTC")),
        "clock": pa.array([datetime.time(0, 1, 0, 500_000), None], pa.time32("ms")),
        "long": pa.array([datetime.timedelta(minutes=2), None], pa.duration("ms")),
    })  # fmt: skip
    day_s = (day - datetime.date(1970, 1, 1)).days * 86_400
    row = {
        "int8": 1, "uint64": 2**53, "half": 0.5, "decimal": None, "nothing": None, "truth": "true", "word": "NA",
        "view": "é", "large": "x", "codes": "b", "levels": 7, "day": day_s, "day_ms": day_s, "noon": day_s + 43_200,
        "zoned": day_s + 43_200, "clock": 60.5, "long": 120,
    }  # fmt: skip
    found = loaded(table, tmp_path, "file")
    assert found.take([0, 1]) == [row, {name: 3 if name == "decimal" else None for name in row}]


def test_what_has_no_place_in_a_table_is_refused_by_name(tmp_path: Path, arrow: Any) -> None:
    table = arrow.table({"a": [1], "list": [["x"]], "of": [{"x": 1}], "raw": [b"x"]})
    for kind in ("parquet", "stream"):
        with pytest.raises(InvalidData) as caught:
            loaded(table, tmp_path, kind)
        assert [fault.pointer for fault in caught.value.faults] == ["/columns/list", "/columns/of", "/columns/raw"]
    with pytest.raises(InvalidData, match="same name"):
        loaded(arrow.Table.from_arrays([arrow.array([1])] * 2, ["a", "a"]), tmp_path)
    with pytest.raises(InvalidData, match="no rows"):
        loaded(table.select(["a"]).slice(0, 0), tmp_path)


LISTS: dict[str, Any] = {
    "pairs": [[[1.5, 2.0], [3.0, 4.0]], [[5.0, 6.0]], [[7.0, 8.0]] * 3],
    "flat": [[1], [2, 3], [4]],
    "alike": [[1, 2], [3, 4], [5, 6]],
}


@pytest.mark.parametrize("kind", ["parquet", "stream"])
def test_lists_of_numbers_are_arrays_or_sequences(tmp_path: Path, arrow: Any, kind: str) -> None:
    data = loaded(arrow.table(LISTS), tmp_path, kind)
    assert [dict(zip(LISTS, row, strict=True)) for row in zip(*LISTS.values(), strict=True)] == data.preview()
    assert [(each.type, each.dtype, each.shape) for each in data.description.columns] == [
        ("sequence", "float32", [3, 2]), ("sequence", "int32", [2]), ("array", "int32", [2]),
    ]  # fmt: skip
    fixed = arrow.array(LISTS["pairs"], arrow.list_(arrow.list_(arrow.float32(), 2)))
    assert loaded(arrow.table({"pairs": fixed[1:]}), tmp_path, kind).preview() == [
        {"pairs": each} for each in LISTS["pairs"][1:]
    ]


def test_every_fault_in_lists_is_told_at_its_row_step_and_number(tmp_path: Path, arrow: Any) -> None:
    wrong = {
        "flat": [[1.0, None], None, [], [float("nan")], [float("inf")]],
        "deep": [[[1.0, 2.0], [3.0]], [None], [[None, 2.0]], [[1.0, 2.0]], [[1.0, 2.0]]],
    }
    with pytest.raises(InvalidData) as caught:
        loaded(arrow.table(wrong), tmp_path)
    assert [fault.pointer for fault in caught.value.faults] == [
        "/rows/0/flat/1", "/rows/1/flat", "/rows/2/flat", "/rows/3/flat/0", "/rows/4/flat/0",
        "/rows/0/deep/1", "/rows/1/deep/0", "/rows/2/deep/0/0",
    ]  # fmt: skip


def test_files_of_the_same_columns_are_one_data_set_packed_or_not(tmp_path: Path, arrow: Any) -> None:
    for at, kind in enumerate(("parquet", "parquet, zstd, plain")):
        write(arrow.table({"a": [at, at + 10], "w": ["x", "y"]}), tmp_path / str(at), kind)
    (tmp_path / "1").write_bytes(gzip.compress((tmp_path / "1").read_bytes()))
    read([Upload("a", tmp_path / "0"), Upload("b.gz", tmp_path / "1")], tmp_path / "parsed")
    assert Dataset.open(tmp_path / "parsed").column("a").values.tolist() == [0, 10, 1, 11]
    write(arrow.table({"b": [1]}), tmp_path / "2", "parquet")
    with pytest.raises(InvalidData, match="other columns"):
        read([Upload("a", tmp_path / "0"), Upload("b", tmp_path / "2")], tmp_path / "refused")


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_with_words(kind: str, tmp_path: Path, arrow: Any) -> None:
    write(arrow.table({"a": list(range(300)), "w": list("xyz") * 100}), tmp_path / "whole", kind)
    whole, numbers = (tmp_path / "whole").read_bytes(), np.random.default_rng(5)
    cut = [whole[:size] for size in (7, len(whole) // 2, len(whole) - 9)]
    flips = [(int(numbers.integers(len(whole))), int(numbers.integers(1, 256))) for _ in range(12)]
    flipped = [whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :] for at, bits in flips]
    told = [refusal(damaged, tmp_path) for damaged in [*cut, *flipped]]
    if kind != "stream":  # a stream may end anywhere between two messages
        assert all(told[:3])
    assert all(word is None or len(word) < 300 for word in told)


def refusal(content: bytes, folder: Path) -> str | None:
    (folder / "upload").write_bytes(content)
    try:
        read([Upload("a.parquet", folder / "upload")], folder / "parsed")
    except RequestError as error:
        return error.message
    return None


@pytest.mark.parametrize("kind", ["parquet", "file, zstd"])
def test_a_few_bytes_that_become_very_many_are_refused(kind: str, tmp_path: Path, arrow: Any) -> None:
    few = Limits(inflated_free_bytes=1 << 20, inflated_ratio=2)
    write(arrow.table({"a": np.zeros(1_000_000)}), tmp_path / "upload", kind)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="inflate"):
        read([Upload("a", tmp_path / "upload")], tmp_path / "parsed", None, few)
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()
    with pytest.raises(TooLarge, match="rows"):
        read([Upload("a", tmp_path / "upload")], tmp_path / "parsed", None, Limits(rows=999_999))


def test_long_words_that_all_rows_share_count_as_often_as_they_are_written(tmp_path: Path, arrow: Any) -> None:
    words = arrow.DictionaryArray.from_arrays(arrow.array([0] * 4_000 + [1]), ["x" * 100_000, "y"])
    write(arrow.table({"w": words}), tmp_path / "upload", "parquet")
    assert (tmp_path / "upload").stat().st_size < 10_000
    with pytest.raises(TooLarge, match="400,0"):
        read([Upload("a", tmp_path / "upload")], tmp_path / "parsed")


def test_without_the_extra_the_answer_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_reader, "find_spec", lambda name: None)
    for magic in (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"):
        (tmp_path / "upload").write_bytes(magic + bytes(100))
        with pytest.raises(MissingExtra) as caught:
            read([Upload("a", tmp_path / "upload")], tmp_path / "parsed")
        assert "netwright[data]" in str(caught.value.hint)
