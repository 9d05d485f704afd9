"""From what a spec says of its data to a data set: looked up, or parsed on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from service.data import SAMPLES, Dataset, DatasetSpec, Description, Parsed, rows_sha256, rows_to_dataset, sample
from service.errors import Fault, InvalidSpec, NotFound, did_you_mean
from service.storage import DatasetRow, Store


@dataclass(frozen=True)
class Source:
    """A data set that may not be stored yet: `keep` does, and returns its row."""

    description: Description
    bytes: int
    path: Path
    keep: Callable[[], DatasetRow]

    def open(self) -> Dataset:
        """Its rows, by memory map."""
        return Dataset.open(self.path)


def materialize(reference: DatasetSpec, store: Store, pointer: str = "/spec/dataset") -> DatasetRow:
    """The row of {"id"}; {"sample"} and {"rows"} are parsed once and kept like an upload.

    Raises InvalidSpec when there is none such, InvalidData when the rows cannot be read.
    """
    with source(reference, store, pointer) as found:
        return found.keep()


@contextmanager
def source(reference: DatasetSpec, store: Store, pointer: str = "/spec/dataset") -> Iterator[Source]:
    """The same with nothing stored before `keep` is called."""
    known = _known(reference, store, pointer)
    if known is not None:
        path = store.blobs.path(known.blob)
        yield Source(Description.model_validate(known.description), known.bytes, path, lambda: known)
        return
    with store.blobs.scratch() as path:
        if reference.sample is not None:
            parsed = sample(reference.sample, path)
            keep = partial(_keep, store, reference.sample, parsed.sha256, parsed, path)
        else:
            rows = reference.rows or []
            parsed = rows_to_dataset(rows, path)
            keep = partial(_keep, store, "inline rows", rows_sha256(rows), parsed, path)
        yield Source(parsed.description, parsed.bytes, path, keep)


def _known(reference: DatasetSpec, store: Store, pointer: str) -> DatasetRow | None:
    """The row of a data set that is stored already; None for one that is to be."""
    if reference.rows is not None:
        return store.datasets.find(rows_sha256(reference.rows))
    if reference.sample is not None:
        if reference.sample not in SAMPLES:
            raise _absent(f"{pointer}/sample", f"no sample {reference.sample!r}", reference.sample)
        return store.datasets.find(_sample_sha256(reference.sample))
    try:
        return store.datasets.get(reference.id or "")
    except NotFound as error:
        raise _absent(f"{pointer}/id", error.message) from error


def _absent(pointer: str, message: str, name: str | None = None) -> InvalidSpec:
    hint = "GET /v1/datasets lists what there is." if name is None else did_you_mean(name, SAMPLES)
    allowed = () if name is None else tuple(SAMPLES)
    return InvalidSpec(message, hint=hint, faults=[Fault(pointer, "not_found", message, hint, allowed)])


@cache
def _sample_sha256(name: str) -> str:
    """Of its parsed file, which is the same whenever it is made."""
    with TemporaryDirectory(prefix="netwright-") as folder:
        return sample(name, Path(folder) / name).sha256


def _keep(store: Store, name: str, sha256: str, parsed: Parsed, path: Path) -> DatasetRow:
    described = parsed.description
    return store.datasets.add(
        name=name, kind=described.kind, rows=described.rows, sha256=sha256, blob=store.blobs.adopt(path).sha256,
        bytes=parsed.bytes, description=described.model_dump(),
    )  # fmt: skip
