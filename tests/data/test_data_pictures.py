"""Zips of pictures by folder: pixels as an independent reader has them, classes by folder, hostile zips refused."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Limits, Preprocessor, Upload, Wishes, prepare, read
from service.errors import InvalidData, MissingExtra, RequestError, TooLarge

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def png(pixels: np.ndarray[Any, Any], claim: tuple[int, int] | None = None) -> bytes:
    """Written without Pillow (PNG, ISO 15948): grey, RGB or RGBA, 8 bits; `claim` is the (width, height) it says."""
    height, width = pixels.shape[:2]
    colour = {2: 0, 3: 2}[pixels.ndim] if pixels.ndim == 2 or pixels.shape[2] == 3 else 6
    head = struct.pack(">IIBBBBB", *(claim or (width, height)), 8, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def upload(folder: Path, content: bytes, limits: Limits = Limits(), **wishes: Any) -> Dataset:  # noqa: B008
    (folder / "upload").write_bytes(content)
    read([Upload("a.zip", folder / "upload")], folder / "parsed", None, limits, Wishes(**wishes))
    return Dataset.open(folder / "parsed")


@pytest.fixture
def pillow() -> Any:
    return pytest.importorskip("PIL.Image")


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def test_folders_are_classes_and_pixels_are_kept(tmp_path: Path, pillow: Any) -> None:
    litter = {"__MACOSX/cat/._a.png": b"x", "cat/.DS_Store": b"x"}
    data = upload(tmp_path, zipped({"all/cat/a.png": png(GREY), "all/dog/b.PNG": png(GREY + 9), **litter}))
    assert data.description.kind == "image"
    assert np.array_equal(data.column("image").values, [GREY, GREY + 9])
    assert data.column("label").take([0, 1]) == ["cat", "dog"]


def test_without_folders_there_are_only_pictures_and_colours_are_as_many_as_needed(tmp_path: Path, pillow: Any) -> None:
    data = upload(tmp_path, zipped({"a.png": png(GREY), "b.png": png(RGB)}))
    assert list(data.columns) == ["image"]
    assert "no folders" in data.description.warnings[0]
    assert np.array_equal(data.column("image").values, [np.repeat(GREY[..., None], 3, 2), RGB])


def test_mnist_as_a_zip_of_png_is_mnist(tmp_path: Path, shared: Callable[..., Dataset], pillow: Any) -> None:
    shared("mnist_t10k-images-idx3-ubyte.gz")  # or skipped
    raw = gzip.decompress((SHARED / "mnist_t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:300]
    digits = gzip.decompress((SHARED / "mnist_t10k-labels-idx1-ubyte.gz").read_bytes())[8:308]
    files = {f"mnist/{digit}/{at}.png": png(one) for at, (one, digit) in enumerate(zip(pixels, digits, strict=True))}
    data = upload(tmp_path, zipped(files))
    assert np.array_equal(data.column("image").values, pixels)
    assert data.column("label").take(range(300)) == [str(digit) for digit in digits]
    found = prepare(data, DatasetSpec.model_validate({"id": "ds_1"}), "class")
    assert (found.train.x.shape, found.train.x.dtype.name, found.scale) == ((300, 28, 28, 1), "uint8", 1 / 255)
    assert found.train.y.tolist() == list(digits)


def test_jpeg_is_read_and_other_sizes_are_named_or_scaled(tmp_path: Path, pillow: Any) -> None:
    out = io.BytesIO()
    pillow.new("RGB", (8, 6), (200, 100, 50)).save(out, "JPEG")
    files = zipped({"x/a.png": png(GREY), "x/b.jpg": out.getvalue()})
    with pytest.raises(InvalidData) as caught:
        upload(tmp_path, files)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/rows/1", "other_size")
    assert "picture 2, 'x/b.jpg': 8 x 6 pixels, the first one has 4 x 3" in fault.message
    assert "resize=" in str(fault.hint)
    values = upload(tmp_path, files, resize=(4, 3)).column("image").values
    assert values.shape == (2, 3, 4, 3)
    assert np.abs(values[1].astype(int) - [200, 100, 50]).max() <= 3


def lying(content: bytes, name: bytes, size: int) -> bytes:
    """The directory and the member's own head say another size than it has."""
    for mark, at_size, at_name in ((b"PK\3\4", 22, 30), (b"PK\1\2", 24, 46)):
        at = next(
            at
            for at in range(len(content))
            if content[at : at + 4] == mark and content[at + at_name :].startswith(name)
        )
        content = content[: at + at_size] + size.to_bytes(4, "little") + content[at + at_size + 4 :]
    return content


def blanks() -> bytes:
    return zipped(dict.fromkeys((f"a/{at}.png" for at in range(40)), png(np.zeros((4000, 4000), np.uint8))))


@cache
def bomb() -> bytes:
    return zipped({"a/b.png": bytes(90_000_000)})


HOSTILE: dict[str, tuple[bytes | Callable[[], bytes], type[RequestError], str]] = {
    "a path to elsewhere": (zipped({"a/../../b.png": png(GREY)}), InvalidData, "leads elsewhere"),
    "an absolute path": (zipped({"/etc/b.png": png(GREY)}), InvalidData, "leads elsewhere"),
    "a file of another kind": (zipped({"a/b.png": png(GREY), "a/c.svg": b"<svg/>"}), InvalidData, "a/c.svg"),
    "no picture inside": (zipped({"a/b.png": b"no picture"}), InvalidData, "picture 1, 'a/b.png': cannot be read"),
    "a picture cut short": (zipped({"a/b.png": png(GREY)[:50]}), InvalidData, "picture 1, 'a/b.png': cannot be read"),
    "some without a class": (zipped({"a/b.png": png(GREY), "c.png": png(GREY)}), InvalidData, "lies in no folder"),
    "a picture of 10^10 pixels": (zipped({"a/b.png": png(GREY, (100_000, 100_000))}), TooLarge, "pixels"),
    "blank pictures, 16 MB each": (blanks, TooLarge, "bytes, more than"),
    "a member that inflates 1,000 times": (bomb, TooLarge, "inflate"),
    "one that lies": (lambda: lying(bomb(), b"a/b.png", 9), InvalidData, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_in_little_memory(what: str, tmp_path: Path, pillow: Any) -> None:
    content, error, words = HOSTILE[what]
    packed = content() if callable(content) else content
    tracemalloc.start()
    try:
        with pytest.raises(error, match=words.replace("^", ".")) as caught:
            upload(tmp_path, packed)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.faults
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_a_directory_of_names_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    whole = zipped({"a/b.png": png(GREY)})
    at = whole.rfind(b"PK\5\6") + 12
    (tmp_path / "upload").write_bytes(whole[:at] + (1 << 31).to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(RequestError):
        read([Upload("a.zip", tmp_path / "upload")], tmp_path / "parsed", "images")


def test_without_the_extra_the_answer_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra) as caught:
        upload(tmp_path, zipped({"a/b.png": png(GREY)}))
    assert "netwright[images]" in str(caught.value.hint)


@pytest.mark.parametrize("colour", ["L", "RGB"])
def test_a_picture_to_tell_is_scaled_as_those_of_training_were(tmp_path: Path, pillow: Any, colour: str) -> None:
    chance, files = np.random.default_rng(2), dict[str, bytes]()
    for at, size in enumerate([(9, 7), (4, 3), (5, 12), (8, 6)]):
        out = io.BytesIO()
        pillow.fromarray(chance.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(colour).save(out, "PNG")
        files["ab"[at % 2] + f"/{at}.png"] = out.getvalue()
    data = upload(tmp_path, zipped(files), resize=(4, 3))
    told = prepare(data, DatasetSpec(id="ds_1"), "class")
    again = Preprocessor.from_json(json.loads(json.dumps(told.preprocessor.to_json())))
    assert np.array_equal(again.rows(list(files.values())), told.train.x)


def test_a_picture_of_another_size_is_refused_where_training_had_one(tmp_path: Path, pillow: Any) -> None:
    told = prepare(
        upload(tmp_path, zipped({"a/1.png": png(GREY), "b/2.png": png(GREY)})), DatasetSpec(id="ds_1"), "class"
    )
    assert isinstance(told.preprocessor, Preprocessor)
    with pytest.raises(InvalidData, match="9 x 9 pixels, expected 4 x 3") as caught:
        told.preprocessor.rows([png(np.zeros((9, 9), np.uint8))])
    assert "`resize`" in (caught.value.faults[0].hint or "")


def test_a_picture_of_too_many_pixels_is_not_unpacked(tmp_path: Path, pillow: Any) -> None:
    data = upload(tmp_path, zipped({"a/1.png": png(GREY), "b/2.png": png(GREY)}), resize=(4, 3))
    told = prepare(data, DatasetSpec(id="ds_1"), "class").preprocessor
    assert isinstance(told, Preprocessor)
    tracemalloc.start()
    with pytest.raises(InvalidData, match="16,777,216"):
        told.rows([png(np.zeros((2, 2), np.uint8), claim=(5000, 5000))])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
