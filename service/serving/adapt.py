"""A text model that adapts to the text so far, and where in its training text an n-gram stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.data import Dataset, DatasetSpec, Reference, text_parts
from service.errors import Fault, InvalidSpec, NotFound
from service.ngram import Cache, Cached, LanguageModel, NgramSpec, Source, Static, find_sources
from service.specs import NgramJobSpec, ngram_spec
from service.storage import Store


def adapted(model: LanguageModel[Any], cache: Cache | None) -> LanguageModel[Any]:
    """The model with a cache beside it, see `settled`. Raises InvalidSpec for a network."""
    if cache is None:
        return model
    return Cached(static(model, "cache"), settled(model, cache))


def settled(model: LanguageModel[Any], cache: Cache) -> Cache:
    """The cache; what the request leaves open is as it was tuned for the model, if it was."""
    tuned = static(model, "cache").facts.get("cache", {})
    return Cache.model_validate(tuned | cache.model_dump(exclude_unset=True))


def static(model: LanguageModel[Any], option: str) -> Static[Any]:
    """The model, if it is one of n-grams. Raises InvalidSpec at the request's option."""
    if isinstance(model, Static):
        return model
    message = f"{option} is for n-gram models, this one is a network"
    raise InvalidSpec(message, faults=[Fault(f"/{option}", "not_an_ngram_model", message)])


class Sources:
    """The text that a run counted, searched for n-grams; the same one is searched for once."""

    def __init__(self, store: Store, run_id: str, limit: int) -> None:
        self._limit = limit
        self._found: dict[tuple[str, ...], list[Source]] = {}
        self._text: tuple[NgramSpec, memoryview] | None = _training_text(store, run_id) if limit else None

    def find(self, ngram: Sequence[str]) -> list[Source]:
        """The first places; none when the text is not at hand."""
        key = tuple(ngram)
        if self._text is None or not key:
            return []
        if key not in self._found:
            self._found[key] = list(find_sources(*self._text, key, self._limit))
        return self._found[key]


def _training_text(store: Store, run_id: str) -> tuple[NgramSpec, memoryview] | None:
    """What a run read and how; None when it did not count a text, or that has been deleted."""
    run = store.runs.get(run_id)
    if run.type != "ngram" or run.dataset_id is None:
        return None
    spec = NgramJobSpec.model_validate_json(json.dumps(run.spec))
    try:
        dataset = Dataset.open(store.blobs.path(store.datasets.get(run.dataset_id or "").blob))
    except (NotFound, FileNotFoundError):
        return None
    return ngram_spec(spec), text_parts(dataset, _own(spec.dataset)).train


def _own(spec: DatasetSpec) -> DatasetSpec:
    """Without parts that are data sets of their own: they take nothing from this one."""
    taken = {name: 0.0 for name in ("validation", "test") if isinstance(getattr(spec, name), Reference)}
    return spec.model_copy(update=taken)
