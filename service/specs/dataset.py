"""From what a spec says of its data to the data set's row: looked up, or parsed on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from service.data import SAMPLES, DatasetSpec, Parsed, rows_sha256, rows_to_dataset, sample
from service.errors import Fault, InvalidSpec, NotFound, did_you_mean
from service.storage import DatasetRow, Store


def materialize(reference: DatasetSpec, store: Store, pointer: str = "/spec/dataset") -> DatasetRow:
    """The row of {"id"}; {"sample"} and {"rows"} are parsed once and kept like an upload.

    Raises InvalidSpec when there is none such, InvalidData when the rows cannot be read.
    """
    if reference.id is not None:
        return _known(reference.id, store, pointer)
    if reference.sample is not None:
        return _sampled(reference.sample, store, pointer)
    assert reference.rows is not None
    sha256 = rows_sha256(reference.rows)
    found = store.datasets.find(sha256)
    if found is not None:
        return found
    with store.blobs.scratch() as path:
        parsed = rows_to_dataset(reference.rows, path)
        return _kept(store, "inline rows", sha256, parsed, store.blobs.adopt(path).sha256)


def _known(dataset_id: str, store: Store, pointer: str) -> DatasetRow:
    try:
        return store.datasets.get(dataset_id)
    except NotFound as error:
        fault = Fault(f"{pointer}/id", "not_found", error.message, "GET /v1/datasets lists what there is")
        raise InvalidSpec(error.message, faults=[fault]) from error


def _sampled(name: str, store: Store, pointer: str) -> DatasetRow:
    if name not in SAMPLES:
        hint = did_you_mean(name, SAMPLES)
        fault = Fault(f"{pointer}/sample", "not_found", f"no sample {name!r}", hint, tuple(SAMPLES))
        raise InvalidSpec(fault.message, hint=hint, faults=[fault])
    found = store.datasets.find(_sample_sha256(name))
    if found is not None:
        return found
    with store.blobs.scratch() as path:
        parsed = sample(name, path)
        return _kept(store, name, parsed.sha256, parsed, store.blobs.adopt(path).sha256)


@cache
def _sample_sha256(name: str) -> str:
    """Of its parsed file, which is the same whenever it is made."""
    with TemporaryDirectory(prefix="netwright-") as folder:
        return sample(name, Path(folder) / name).sha256


def _kept(store: Store, name: str, sha256: str, parsed: Parsed, blob: str) -> DatasetRow:
    described = parsed.description
    return store.datasets.add(
        name=name, kind=described.kind, rows=described.rows, sha256=sha256, blob=blob, bytes=parsed.bytes,
        description=described.model_dump(),
    )  # fmt: skip
