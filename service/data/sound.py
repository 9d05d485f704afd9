"""WAV: samples of any width as numbers from -1 to 1."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np

from service.errors import InvalidData
from service.tensors import Array

MAGIC = b"RIFF"
_WIDE = 3  # bytes of a sample that no number of NumPy's has
_SILENCE = 128  # of samples of one byte, which have no sign
_DAMAGED = (OSError, ValueError, EOFError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Head:
    """What a sound's head says: samples of each channel, channels, bytes of a sample, samples a second."""

    frames: int
    channels: int
    width: int
    rate: int


@contextmanager
def opened(file: IO[bytes]) -> Iterator[wave.Wave_read]:
    """A WAV file whose head is read. Raises InvalidData, without a place."""
    try:
        with wave.open(file) as sound:
            yield sound
    except wave.Error as error:
        words, hint = str(error)[:60], "save it as WAV of whole numbers (PCM), 16 bits"
        raise InvalidData(f"a WAV file that cannot be read ({words})", hint=hint) from error
    except _DAMAGED as error:
        raise InvalidData(f"a damaged WAV file ({str(error)[:60] or 'it ends too early'})") from error


def head_of(sound: wave.Wave_read) -> Head:
    """What the head says."""
    return Head(sound.getnframes(), sound.getnchannels(), sound.getsampwidth(), sound.getframerate())


def samples_of(sound: wave.Wave_read, head: Head) -> Array:
    """(frames, channels) float32 from -1 to below 1. Raises ValueError when they are fewer than the head says."""
    data = sound.readframes(head.frames)
    if len(data) != head.frames * head.channels * head.width:
        raise ValueError("it ends too early")
    return _numbers(data, head.width).reshape(head.frames, head.channels)


def heard(data: bytes, channels: int, rate: int | None) -> Array:
    """(frames, channels) of a file that a model of sounds is asked about. Raises InvalidData, without a place."""
    if rate is None:
        raise InvalidData("a WAV file, but this model did not learn from any", hint="send numbers as in training")
    with opened(BytesIO(data)) as sound:
        head = head_of(sound)
        if head.frames * head.channels * head.width > len(data):
            raise ValueError(f"its head tells of {head.frames:,} samples, which do not follow")
        found = samples_of(sound, head)
    if (head.channels, head.rate) != (channels, rate):
        told = f"{head.rate:,} samples a second and {head.channels} channels"
        raise InvalidData(
            f"a WAV file of {told}, expected {rate:,} and {channels}", hint="bring it to what training had"
        )
    return found


def _numbers(data: bytes, width: int) -> Array:
    """float32 of whole numbers of so many bytes, little end first."""
    scale = np.float32(1 << (8 * width - 1))
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - _SILENCE) / scale
    if width != _WIDE:
        return np.frombuffer(data, f"<i{width}").astype(np.float32) / scale
    wide = np.zeros((len(data) // _WIDE, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, _WIDE)
    return (wide.reshape(-1).view("<i4") >> 8).astype(np.float32) / scale
