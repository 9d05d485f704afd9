"""A run's metrics as TensorBoard reads them: TFRecords of Event messages, written without TensorFlow or protobuf.

A record is its length, that length's checksum, the message, its checksum; a checksum is CRC-32C (Castagnoli), masked.
The messages of a series differ in fixed places only, so all of them are written and summed up column by column.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.storage import Series

Bytes = NDArray[np.uint8]
_VERSION: Final = b"\x1a\x0dbrain.Event:2"  # field 3 of Event, the first record of every file
_MASK: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, its bits reversed
_AT_ONCE: Final = 1 << 13


def event_file(metrics: Iterable[Series]) -> Iterator[bytes]:
    """The file, piece by piece. Values become float32, as TensorBoard keeps them."""
    yield _records(_constant(_VERSION, 1))
    for series in metrics:
        for at in range(0, len(series.steps), _AT_ONCE):
            part = slice(at, at + _AT_ONCE)
            yield _records(_events(series.name, series.steps[part], series.times[part], series.values[part]))


def _events(name: str, steps: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64]) -> Bytes:
    """(n, bytes of a message): Event {1: wall time, 2: step, 5: Summary {1: Value {1: tag, 2: simple value}}}"""
    n, tag = len(steps), name.encode()
    before = _field(1, tag) + b"\x15"  # field 2, four bytes
    value_length = len(before) + 4
    head = b"\x2a" + _varint(len(b"\x0a" + _varint(value_length)) + value_length) + b"\x0a" + _varint(value_length)
    with np.errstate(over="ignore"):  # too large for float32: infinite
        short = values.astype("<f4")
    parts = (
        _constant(b"\x09", n), _raw(times / 1000, "<f8"), _constant(b"\x10", n), _varints(steps),
        _constant(head + before, n), _raw(short, "<f4"),
    )  # fmt: skip
    return np.concatenate(parts, axis=1)


def _records(messages: Bytes) -> bytes:
    """Messages of one length, (n, length), each in its frame."""
    n, length = messages.shape
    head = _constant(struct.pack("<Q", length), 1)
    head = np.concatenate([head, _raw(_checksums(head), "<u4")], axis=1)
    tail = _raw(_checksums(messages), "<u4")
    return np.concatenate([np.broadcast_to(head, (n, 12)), messages, tail], axis=1).tobytes()


def _checksums(rows: Bytes) -> NDArray[np.uint32]:
    """The masked CRC-32C of each row."""
    crc: NDArray[np.uint32] = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = _TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(_MASK)


def _table() -> NDArray[np.uint32]:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ np.uint32(_POLYNOMIAL), crc >> 1)
    return crc


def _varint(number: int) -> bytes:
    return _varints(np.array([number])).tobytes()


def _varints(numbers: NDArray[np.int64]) -> Bytes:
    """Seven bits a byte, all in as many bytes as the largest needs: those ahead say that more follow."""
    width = max(1, -(-int(numbers.max()).bit_length() // 7))
    found = (numbers[:, None] >> np.arange(0, 7 * width, 7) & 0x7F).astype(np.uint8)
    found[:, :-1] |= 0x80
    return found


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _constant(data: bytes, n: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (n, len(data)))


def _raw(numbers: NDArray[np.generic], dtype: str) -> Bytes:
    found: Bytes = np.ascontiguousarray(numbers, dtype).view(np.uint8).reshape(len(numbers), -1)
    return found


_TABLE: Final = _table()
