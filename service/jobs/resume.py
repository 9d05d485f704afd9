"""Where an attempt goes on: the newest published state whose file is what its name says."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from service import tensors
from service.errors import InvalidData
from service.jobs.verdict import Work
from service.tensors import Array

LOG = logging.getLogger(__name__)


def newest(work: Work) -> tuple[Mapping[str, Array], Mapping[str, Any]] | None:
    """(arrays, meta) of the state to go on from, None to begin.

    A torn or flipped file is told of and removed, and the one before it taken.
    """
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
        blobs.delete([checkpoint.blob], grace_s=0)  # else the same state, saved anew, would be taken for this file
    return None
