"""Reads a zip of WAV sounds, in folders called by their classes: their samples as they are, whole numbers."""

from __future__ import annotations

import math
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO
from zipfile import ZipInfo

import numpy as np

from service.data.columns import Arrays, Finished, Sequences
from service.data.place import MOST_FAULTS, pointer, refusal, shown
from service.data.readers import Read
from service.data.readers.folders import ZIP_ERRORS, Kind, Member, labelled, labels_of, members_of
from service.data.source import BLOCK_BYTES, Source, oversized
from service.data.spool import Spool
from service.errors import Fault
from service.tensors import Array

SOUNDS = Kind("sound", "sounds", "WAV", (".wav",))
_WIDE = 3  # bytes of a sample that no number of NumPy's has
_SILENCE = 128  # of samples of one byte, which have no sign
_DTYPES = {1: "int16", 2: "int16", 3: "int32", 4: "int32"}


@dataclass(frozen=True)
class _Head:
    """What a sound's head says; sounds of one data set differ in `frames` alone."""

    frames: int
    channels: int
    width: int
    rate: int

    def __str__(self) -> str:
        return f"{self.rate:,} samples a second, {self.channels} channels, {8 * self.width} bits"


def read_sounds(sources: Sequence[Source], spool: Spool) -> Read:
    """Columns `sound`, (samples, channels) or a sequence of any length, and `label`. Raises InvalidData, TooLarge."""
    with members_of(sources, spool, SOUNDS) as members:
        labels_of(members)  # before any is opened
        heads = _heads(members)
        _check_bytes(sources, heads)
        column = _column(members, heads, spool)
    return len(members), *labelled(members, column, spool, SOUNDS)


def _heads(members: list[Member]) -> list[_Head]:
    heads, faults = list[_Head](), list[Fault]()
    for at, (archive, info) in enumerate(members):
        with archive.open(info) as file, _opened(file, info, at) as sound:
            head = _Head(sound.getnframes(), sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        heads.append(head)
        if (words := _misfit(head, heads[0], info)) is not None:
            message = f"sound {at + 1}, {shown(info.filename, 80)}: {words}"
            faults.append(Fault(pointer("rows", at), "other_sound", message, "make all of one kind, as with ffmpeg"))
        if len(faults) == MOST_FAULTS:
            break
    if faults:
        raise refusal(faults)
    return heads


def _misfit(head: _Head, first: _Head, info: ZipInfo) -> str | None:
    if not head.frames:
        return "it has no samples"
    if head.frames * head.channels * head.width > info.file_size:
        return f"its head tells of {head.frames:,} samples, which do not follow"
    if (head.channels, head.width, head.rate) != (first.channels, first.width, first.rate):
        return f"{head}; the first one has {first}"
    return None


@contextmanager
def _opened(file: IO[bytes], info: ZipInfo, at: int) -> Iterator[wave.Wave_read]:
    """A sound whose head is read. Raises InvalidData naming it."""
    where, place = f"sound {at + 1}, {shown(info.filename, 80)}", pointer("rows", at)
    try:
        with wave.open(file) as sound:
            yield sound
    except wave.Error as error:
        words = f"{where}: cannot be read ({str(error)[:60]})"
        hint = "save it as WAV of whole numbers (PCM), 16 bits"
        raise refusal([Fault(place, "unsupported_type", words, hint)]) from error
    except (*ZIP_ERRORS, OSError, ValueError) as error:
        words = str(error)[:60] or "it ends too early"
        raise refusal([Fault(place, "damaged", f"{where}: cannot be read ({words})")]) from error


def _check_bytes(sources: Sequence[Source], heads: Sequence[_Head]) -> None:
    size = sum(head.frames * head.channels * np.dtype(_DTYPES[head.width]).itemsize for head in heads)
    most = sources[0].limits.inflated(sum(source.packed_bytes for source in sources))
    if size > most:
        raise oversized(f"{len(heads):,} sounds are {size:,} bytes of samples, more than {most:,}")


def _column(members: list[Member], heads: list[_Head], spool: Spool) -> Finished:
    first, lengths = heads[0], np.array([head.frames for head in heads])
    alike = lengths.min() == lengths.max()
    step = () if first.channels == 1 and not alike else (first.channels,)
    arrays = Arrays(spool, (first.frames, *step) if alike else step, native=True)
    column = None if alike else Sequences(spool, arrays)
    for some in _blocks(heads):
        pieces = [_samples(members[at], heads[at], at) for at in range(some.start, some.stop)]
        if column is None:
            arrays.add(np.stack(pieces))
        else:
            column.add(np.concatenate(pieces).reshape(-1, *step), lengths[some])
    found = arrays.finish("sound") if column is None else column.finish("sound")
    described = found.description.model_copy(update={"samples_per_s": first.rate})
    return replace(found, description=described)


def _blocks(heads: list[_Head]) -> Iterator[slice]:
    """Sounds of about a block's bytes at a time."""
    start = held = 0
    for at, head in enumerate(heads):
        size = 4 * head.frames * head.channels
        if held and held + size > BLOCK_BYTES:
            yield slice(start, at)
            start, held = at, 0
        held += size
    yield slice(start, len(heads))


def _samples(member: Member, head: _Head, at: int) -> Array:
    """(frames, channels) of one sound, in the least type that holds them."""
    archive, info = member
    with archive.open(info) as file, _opened(file, info, at) as sound:
        data = sound.readframes(head.frames)
        if len(data) != math.prod((head.frames, head.channels, head.width)):
            raise wave.Error("it ends too early")
    return _numbers(data, head.width).reshape(head.frames, head.channels)


def _numbers(data: bytes, width: int) -> Array:
    if width == 1:
        return np.frombuffer(data, np.uint8).astype(np.int16) - _SILENCE
    if width != _WIDE:
        return np.frombuffer(data, f"<i{width}").astype(_DTYPES[width])
    wide = np.zeros((len(data) // _WIDE, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, _WIDE)
    return wide.reshape(-1).view("<i4") >> 8
