"""Reads a zip of WAV sounds, in folders called by their classes: their samples, from -1 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from zipfile import ZipInfo

import numpy as np

from service.data.columns import Arrays, Finished, Sequences
from service.data.place import MOST_FAULTS, pointer, refusal, shown
from service.data.readers import Read
from service.data.readers.folders import Kind, Member, labelled, labels_of, members_of
from service.data.sound import Head, head_of, opened, samples_of
from service.data.source import BLOCK_BYTES, Source, oversized
from service.data.spool import Spool
from service.errors import Fault, InvalidData
from service.tensors import Array

_BYTES = 4  # of a sample
SOUNDS = Kind("sound", "sounds", "WAV", (".wav",))


def read_sounds(sources: Sequence[Source], spool: Spool) -> Read:
    """Columns `sound`, (samples, channels) or a sequence of any length, and `label`. Raises InvalidData, TooLarge."""
    with members_of(sources, spool, SOUNDS) as members:
        labels_of(members)  # before any is opened
        heads = _heads(members)
        _check_bytes(sources, heads)
        column = _column(members, heads, spool)
    return len(members), *labelled(members, column, spool, SOUNDS)


def _heads(members: list[Member]) -> list[Head]:
    heads, faults = list[Head](), list[Fault]()
    for at, (archive, info) in enumerate(members):
        with archive.open(info) as file, _placed(info, at), opened(file) as sound:
            head = head_of(sound)
        heads.append(head)
        if (words := _misfit(head, heads[0], info)) is not None:
            message = f"sound {at + 1}, {shown(info.filename, 80)}: {words}"
            faults.append(Fault(pointer("rows", at), "other_sound", message, "make all of one kind, as with ffmpeg"))
        if len(faults) == MOST_FAULTS:
            break
    if faults:
        raise refusal(faults)
    return heads


def _misfit(head: Head, first: Head, info: ZipInfo) -> str | None:
    if not head.frames:
        return "it has no samples"
    if head.frames * head.channels * head.width > info.file_size:
        return f"its head tells of {head.frames:,} samples, which do not follow"
    if (head.channels, head.rate) != (first.channels, first.rate):
        found, expected = (f"{each.rate:,} samples a second and {each.channels} channels" for each in (head, first))
        return f"{found}, the first one has {expected}"
    return None


@contextmanager
def _placed(info: ZipInfo, at: int) -> Iterator[None]:
    """Names the sound that something is wrong with."""
    try:
        yield
    except InvalidData as error:
        words = f"sound {at + 1}, {shown(info.filename, 80)}: {error.message}"
        raise refusal([Fault(pointer("rows", at), "damaged", words, error.hint)]) from error


def _check_bytes(sources: Sequence[Source], heads: Sequence[Head]) -> None:
    size = sum(_BYTES * head.frames * head.channels for head in heads)
    most = sources[0].limits.inflated(sum(source.packed_bytes for source in sources))
    if size > most:
        raise oversized(f"{len(heads):,} sounds are {size:,} bytes of samples, more than {most:,}")


def _column(members: list[Member], heads: list[Head], spool: Spool) -> Finished:
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


def _blocks(heads: list[Head]) -> Iterator[slice]:
    """Sounds of about a block's bytes at a time."""
    start = held = 0
    for at, head in enumerate(heads):
        size = _BYTES * head.frames * head.channels
        if held and held + size > BLOCK_BYTES:
            yield slice(start, at)
            start, held = at, 0
        held += size
    yield slice(start, len(heads))


def _samples(member: Member, head: Head, at: int) -> Array:
    archive, info = member
    with archive.open(info) as file, _placed(info, at), opened(file) as sound:
        return samples_of(sound, head)
