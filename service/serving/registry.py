"""Loads a model once by memory map, whoever asks, and lets go of the least used when there are too many bytes."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any

from service import ngram, tensors
from service.data import Letters, Preprocessor
from service.engine import Network
from service.errors import InvalidSpec, NotFound
from service.ngram import LanguageModel
from service.serving.letters import LetterModel
from service.serving.sequences import SequenceNetwork
from service.specs import artifact
from service.storage import Resolved, Store

_MOST_REFERENCES = 10_000  # remembered at once; each is a few hundred bytes


@dataclass(frozen=True, slots=True)
class RowModel:
    """A network that takes rows, with what turns raw rows into its input and its output into answers."""

    network: Network | SequenceNetwork
    preprocessor: Preprocessor


TextModel = LanguageModel[Any]
Loaded = RowModel | TextModel


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is ready to answer. `id` says exactly which: name:version, or the run."""

    id: str
    ref: str
    run_id: str
    bytes: int
    model: Loaded

    def rows(self) -> RowModel:
        """The model, if it takes rows. Raises InvalidSpec."""
        if isinstance(self.model, RowModel):
            return self.model
        raise InvalidSpec(
            f"{self.ref} is a text model", hint="Ask it at /v1/completions, /v1/suggestions or /v1/scores."
        )

    def text(self) -> TextModel:
        """The model, if it takes text. Raises InvalidSpec."""
        if not isinstance(self.model, RowModel):
            return self.model
        raise InvalidSpec(f"{self.ref} takes rows, not text", hint=f"Ask it at /v1/models/{self.ref}/predict.")


class Registry:
    """Models by reference; safe to use from any thread.

    What a reference means is asked of the store again only after something was committed to it, so an alias that has
    moved is followed by the next request. A model that was let go lives on as long as somebody uses it.
    """

    def __init__(self, store: Store, cache_bytes: int) -> None:
        self._store = store
        self._cache_bytes = cache_bytes
        self._lock = Lock()
        self._references: dict[str, Resolved] = {}
        self._ready: dict[str, tuple[str, Served]] = {}  # of these references, those whose models are loaded
        self._version = -1
        self._models: OrderedDict[str, Future[tuple[Loaded, int]]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Of the models that are loaded: their weights, and the memory they work in."""
        with self._lock:
            return sum(map(_held_bytes, self._models.values()))

    def __len__(self) -> int:
        return len(self._models)

    def get(self, ref: str) -> Served:
        """The model of a reference. Raises NotFound, Conflict when it has no weights yet."""
        resolved = self._resolve(ref)
        return _served(ref, resolved, *self._load(resolved))

    def ready(self, ref: str) -> Served | None:
        """The same when it is loaded already and so costs microseconds, else None."""
        version = self._store.events.version()
        with self._lock:
            found = self._ready.get(ref) if version == self._version else None
            if found is not None:
                key, served = found
                self._models.move_to_end(key)
                return served
        resolved = self._resolve(ref)
        with self._lock:
            future = self._models.get(resolved.key)
            if future is None or not future.done():
                return None
            self._models.move_to_end(resolved.key)
            served = _served(ref, resolved, *future.result())
            if self._references.get(ref) is resolved:
                self._ready[ref] = resolved.key, served
        return served

    def _resolve(self, ref: str) -> Resolved:
        version = (
            self._store.events.version()
        )  # before the answer is asked for: what is kept is never newer than it says
        with self._lock:
            if version != self._version or len(self._references) > _MOST_REFERENCES:
                self._references.clear()
                self._ready.clear()
                self._version = version
            found = self._references.get(ref)
        if found is None:
            found = self._store.models.resolve(ref)
            with self._lock:
                if self._version == version:
                    self._references[ref] = found
        return found

    def _load(self, resolved: Resolved) -> tuple[Loaded, int]:
        key = resolved.key
        with self._lock:
            future = self._models.get(key)
            if future is not None:
                self._models.move_to_end(key)
            else:
                mine = self._models[key] = Future()
        if future is not None:
            return future.result()
        try:
            loaded = self._read(resolved)
        except BaseException as error:
            with self._lock:
                del self._models[key]
            mine.set_exception(error)
            raise
        mine.set_result(loaded)
        self._make_room()
        return loaded

    def _read(self, resolved: Resolved) -> tuple[Loaded, int]:
        try:
            file = tensors.read(self._store.blobs.path(resolved.blob))
            if resolved.state is not None:
                file = artifact.with_state(file, tensors.read(self._store.blobs.path(resolved.state)))
        except FileNotFoundError as error:
            raise NotFound("the model's file is gone") from error
        return load(file), sum(array.nbytes for array in file.arrays.values())

    def _make_room(self) -> None:
        """Lets go of the least used; the newest stays even when it is larger than all there may be."""
        with self._lock:
            held = {key: _held_bytes(future) for key, future in self._models.items()}
            total = sum(held.values())
            for key in list(held)[:-1]:
                if total <= self._cache_bytes:
                    return
                if self._models[key].done():
                    del self._models[key]
                    self._ready.clear()
                    total -= held[key]


def _held_bytes(future: Future[tuple[Loaded, int]]) -> int:
    """What a model takes; nothing while it is still being loaded, or could not be."""
    if not future.done() or future.exception() is not None:
        return 0
    model, size = future.result()
    return size + (model.network.working_bytes if isinstance(model, RowModel) else 0)


def _served(ref: str, resolved: Resolved, model: Loaded, size: int) -> Served:
    name = resolved.run_id if resolved.name is None else f"{resolved.name}:{resolved.version}"
    return Served(name, ref, resolved.run_id, size, model)


def load(file: tensors.Tensors) -> Loaded:
    """The model of a file, ready to answer. Raises InvalidData."""
    if artifact.kind_of(file) == "ngram":
        return ngram.load(file)
    found = artifact.unpack(file)
    if isinstance(found.preprocessor, Letters):
        return LetterModel(found.bind().stream(), found.preprocessor)
    if found.preprocessor.steps is not None:
        return RowModel(SequenceNetwork(found), found.preprocessor)
    return RowModel(found.bind(), found.preprocessor)
