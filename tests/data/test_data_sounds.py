"""Zips of WAV files by folder: their samples from -1 to 1, whatever their width, and hostile ones refused."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data import Dataset, DatasetSpec, Limits, Preprocessor, Upload, outline, prepare, read, rows_to_dataset
from service.errors import InvalidData, TooLarge

PATTERN = {1: "B", 2: "<h", 4: "<i"}


def wav(samples: list[int], width: int = 2, channels: int = 1, rate: int = 8000) -> bytes:
    """Written by Python's own module; of three bytes by hand."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 3:
            file.writeframes(b"".join(each.to_bytes(3, "little", signed=True) for each in samples))
        else:
            file.writeframes(b"".join(struct.pack(PATTERN[width], each) for each in samples))
    return out.getvalue()


def upload(folder: Path, files: dict[str, bytes], limits: Limits = Limits()) -> Dataset:  # noqa: B008
    with zipfile.ZipFile(folder / "upload", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    read([Upload("a.zip", folder / "upload")], folder / "parsed", None, limits)
    return Dataset.open(folder / "parsed")


def whole(data: Dataset, rows: int) -> list[Any]:
    """The samples of 16 bits as they were written."""
    return [(np.array(row["sound"], float) * 2**15).tolist() for row in data.preview(rows)]


def told(folder: Path, files: dict[str, bytes]) -> Any:
    with pytest.raises(InvalidData) as caught:
        upload(folder, files)
    return caught.value.faults[0]


@pytest.mark.parametrize(
    ("width", "sent", "kept"),
    [
        (1, [0, 128, 192], [-1.0, 0.0, 0.5]),
        (2, [-32768, 1, 32767], [-1.0, 2**-15, 1 - 2**-15]),
        (3, [-8388608, -1, 8388607], [-1.0, -(2**-23), 1 - 2**-23]),
        (4, [-(2**31), 2**30, 2**7], [-1.0, 0.5, 2**-24]),
    ],
)
def test_sounds_of_one_length_are_their_samples_channels_last(
    tmp_path: Path, width: int, sent: list[int], kept: list[float]
) -> None:
    data = upload(tmp_path, {"dog/1.wav": wav(sent, width), "cat/2.WAV": wav(sent[::-1], width)})
    sound, label = data.description.columns
    assert (data.description.kind, sound.type, sound.shape, sound.samples_per_s) == ("array", "array", [3, 1], 8000)
    assert data.column("sound").values.tolist() == [[[v] for v in kept], [[v] for v in kept[::-1]]]
    assert (label.classes, data.column("label").take(np.arange(2))) == (["cat", "dog"], ["dog", "cat"])
    assert outline(data.description, DatasetSpec(id="ds_1"), "class").shape == (3, 1), "as conv1d takes it"


def test_sounds_of_several_lengths_are_sequences(tmp_path: Path) -> None:
    files = {"a/1.wav": wav([1, 2, 3]), "b/2.wav": wav([4]), "a/3.wav": wav([5, 6])}
    data = upload(tmp_path, files)
    assert whole(data, 3) == [[1, 2, 3], [4], [5, 6]]
    assert data.description.columns[0].samples_per_s == 8000
    stereo = upload(tmp_path, {"a/1.wav": wav([1, 2, 3, 4], channels=2), "b/2.wav": wav([5, 6], channels=2)})
    assert whole(stereo, 2) == [[[1, 2], [3, 4]], [[5, 6]]]


def test_sounds_in_no_folders_have_no_label_and_that_is_told(tmp_path: Path) -> None:
    data = upload(tmp_path, {"1.wav": wav([1, 2]), "2.wav": wav([3, 4])})
    assert list(data.columns) == ["sound"]
    assert "no folders" in data.description.warnings[0]


def test_a_sound_of_another_kind_is_named(tmp_path: Path) -> None:
    fault = told(tmp_path, {"a/1.wav": wav([1, 2]), "b/2.wav": wav([1, 2], rate=16000)})
    assert (fault.pointer, fault.code) == ("/rows/1", "other_sound")
    assert "sound 2, 'b/2.wav': 16,000 samples a second and 1 channels, the first one has 8,000" in fault.message


def test_what_is_no_sound_among_sounds_is_named(tmp_path: Path) -> None:
    assert told(tmp_path, {"a/1.wav": wav([1, 2]), "a/note.txt": b"x"}).code == "not_a_sound"
    assert told(tmp_path, {"a/1.wav": wav([1, 2]), "b/2.wav": b"RIFF"}).code == "damaged"
    assert told(tmp_path, {"a/1.wav": wav([])}).message.endswith("it has no samples")


def test_numbers_that_are_not_whole_are_refused_with_a_way_out(tmp_path: Path) -> None:
    floats = bytearray(wav([1, 2]))
    floats[20:22] = struct.pack("<H", 3)  # WAVE_FORMAT_IEEE_FLOAT
    fault = told(tmp_path, {"a/1.wav": bytes(floats)})
    assert "16 bits" in fault.hint


def test_a_head_that_promises_more_than_follows_is_refused_before_it_is_believed(tmp_path: Path) -> None:
    lying = bytearray(wav([1, 2]))
    lying[40:44] = struct.pack("<I", 2**31 - 2)  # the length of the samples
    assert "do not follow" in told(tmp_path, {"a/1.wav": bytes(lying)}).message


def test_sounds_that_inflate_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    silent = {f"a/{at}.wav": wav([0] * 5000) for at in range(4)}
    with pytest.raises(TooLarge):
        upload(tmp_path, silent, Limits(inflated_ratio=1, inflated_free_bytes=1000))


def learned(folder: Path, lengths: tuple[int, int]) -> tuple[Preprocessor, list[bytes], Any]:
    """A preprocessor of two sounds after a way through JSON, the sounds, and what training sees of them."""
    files = [wav([(at * 37) % 200 - 100 for at in range(length)]) for length in lengths]
    data = upload(folder, {f"{'ab'[at]}/{at}.wav": file for at, file in enumerate(files)})
    found = prepare(data, DatasetSpec(id="ds_1"), "class")
    again = Preprocessor.from_json(json.loads(json.dumps(found.preprocessor.to_json())))
    return again, files, found.train.x


def test_a_sound_is_asked_about_as_it_was_learned(tmp_path: Path) -> None:
    told, files, x = learned(tmp_path, (5, 5))
    assert np.array_equal(told.rows(files), x)
    assert np.array_equal(told.rows([{"sound": base64.b64encode(files[0]).decode()}]), x[:1])
    with pytest.raises(InvalidData, match="4 samples, expected 5"):
        told.rows([wav([1, 2, 3, 4])])


def test_a_sound_of_any_length_is_asked_about_where_training_had_several(tmp_path: Path) -> None:
    told, files, x = learned(tmp_path, (5, 3))
    for row in (files, [{"sound": base64.b64encode(file).decode()} for file in files]):
        found = told.rows(row)
        assert [len(each) for each in found] == [5, 3]
        assert np.array_equal(found[1], x[1, :3])
    assert len(told.rows([wav([1] * 9)])[0]) == 9
    with pytest.raises(InvalidData, match="expected 8,000 and 1") as caught:
        told.rows([files[0], wav([1, 2], rate=16000), {"sound": base64.b64encode(wav([1, 2], channels=2)).decode()}])
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/1", "/rows/2/sound"]
    with pytest.raises(InvalidData, match="damaged WAV"):
        told.rows([files[0][:50]])


def test_a_model_that_learned_from_numbers_says_that_it_takes_no_sound(tmp_path: Path) -> None:
    rows = [{"t": [1.0] * length, "label": "ab"[length % 2]} for length in (2, 3, 4, 5)]
    rows_to_dataset(rows, tmp_path / "parsed")
    told = prepare(Dataset.open(tmp_path / "parsed"), DatasetSpec(id="ds_1"), "class").preprocessor
    assert isinstance(told, Preprocessor)
    with pytest.raises(InvalidData, match="did not learn from any"):
        told.rows([wav([1, 2])])
