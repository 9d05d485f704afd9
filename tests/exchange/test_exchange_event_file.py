"""Metrics as TensorBoard's own reader finds them in the exported file."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.exchange import event_file
from service.storage import Series

STEPS = [0, 1, 127, 128, 70_000, (1 << 40) + 3]
NAMES = ["loss", "val/accuracy", "Größe", "n" * 200]


def series(name: str, steps: Any, values: Any) -> Series:
    at = np.asarray(steps, np.int64)
    return Series(name, at, np.asarray(values, np.float64), 1_700_000_000_123 + at % 1000, len(at), None)


def test_tensorboards_own_reader_reads_every_point(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    values = [0.5, math.inf, -1e-30, 1e300, 0.1, 3.0]
    given = [series(name, STEPS, values) for name in NAMES]
    (tmp_path / "events.out.tfevents.1").write_bytes(b"".join(event_file(given)))
    found = accumulator.EventAccumulator(str(tmp_path), size_guidance={accumulator.TENSORS: 0, accumulator.SCALARS: 0})
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == sorted(NAMES)
    with np.errstate(over="ignore"):
        short = np.asarray(values, np.float32).tolist()
    for each in given:
        points = found.Scalars(each.name)
        assert [point.step for point in points] == STEPS
        assert [point.value for point in points] == short
        assert [point.wall_time for point in points] == (each.times / 1000).tolist()


def test_a_nan_is_still_one_and_many_points_are_all_there(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    values = np.arange(9_000.0)
    values[3] = math.nan
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(event_file([series("loss", np.arange(9_000), values)])))
    first, *events = loader.RawEventFileLoader(str(path)).Load()
    assert b"brain.Event:2" in first
    assert len(events) == 9_000
    assert math.isnan(struct.unpack("<f", events[3][-4:])[0])
    assert struct.unpack("<f", events[-1][-4:]) == (8_999.0,)


def test_the_checksums_are_those_of_rfc_3720() -> None:
    """Of 32 bytes of zeros CRC-32C is 8a9136aa (RFC 3720, B.4); the mask turns it by 15 bits and adds a282ead8."""
    from service.exchange.event_file import _checksums

    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _checksums(np.zeros((1, 32), np.uint8)).tolist() == [masked]


def test_a_file_without_metrics_is_its_version_alone() -> None:
    (record,) = event_file([])
    assert record[:8] == struct.pack("<Q", 15)
    assert record[12:-4] == b"\x1a\x0dbrain.Event:2"
