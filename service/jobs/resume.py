"""Where an attempt goes on: the newest published state whose file is what its name says."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from service import tensors
from service.errors import DataUnusable, InvalidData
from service.jobs.verdict import Work
from service.specs import TrainSpec
from service.tensors import Array

LOG = logging.getLogger(__name__)
State = tuple[Mapping[str, Array], Mapping[str, Any]]


def state(work: Work, spec: TrainSpec) -> State | None:
    """(arrays, meta) to go on from: the run's own newest, else that of the run it was forked from, else None."""
    return newest(work) or forked(work, spec)


def forked(work: Work, spec: TrainSpec) -> State | None:
    """The other run's state, as if it had not been told to stop there, unless the very same is to come out.

    Raises DataUnusable when it is gone.
    """
    point = spec.go_on_from
    if point is None or point.blob is None:
        return None
    if not work.store.blobs.verify(point.blob):
        raise DataUnusable(f"the checkpoint of {point.run} to go on from is gone", hint="Has its job been deleted?")
    found = tensors.read(work.store.blobs.path(point.blob))
    work.reporter.tell(events=[("forked", {"run": point.run, "step": point.step})], step=point.step)
    meta = json.loads(found.metadata["state"])
    return found.arrays, meta if spec.verify == point.run else meta | {"stopped_by": None}


def newest(work: Work) -> State | None:
    """(arrays, meta) of the state to go on from, None to begin.

    A torn or flipped file is told of and removed, and the one before it taken.
    """
    if work.reporter.attempt.token == 1:  # its first life
        return None
    blobs = work.store.blobs
    for checkpoint in work.store.runs.checkpoints(work.run.id, "state"):
        if blobs.verify(checkpoint.blob):
            try:
                state = tensors.read(blobs.path(checkpoint.blob))
            except InvalidData as error:
                LOG.warning("checkpoint at step %d: %s", checkpoint.step, error)
            else:
                work.reporter.tell(events=[("resumed", {"step": checkpoint.step})], step=checkpoint.step)
                return state.arrays, json.loads(state.metadata["state"])
        data = {"step": checkpoint.step, "blob": checkpoint.blob, "reason": "its content is not what its name says"}
        work.reporter.tell(events=[("checkpoint_refused", data)])
        blobs.discard(checkpoint.blob)
    return None
