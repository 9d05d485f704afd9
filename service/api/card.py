"""Model cards: generated from the record whenever they are asked for, as JSON or as Markdown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service import engine, storage, tensors
from service.api.card_text import markdown
from service.api.context import Context, Here, in_thread
from service.api.record import dataset_of, lineage
from service.api.replies import refuses, reply
from service.api.views.card import (
    CardDataView,
    CardEvaluationView,
    CardPartView,
    CardTrainingView,
    CardView,
    FeatureView,
)
from service.api.views.job import LayerView
from service.api.views.model import scores_of
from service.api.views.run import ConfusionView
from service.data import Dataset, Preprocessor
from service.engine import Recipe
from service.errors import Conflict, NotFound, ServiceError
from service.specs import artifact
from service.specs.artifact import NetworkModel
from service.storage import Resolved

router = APIRouter(prefix="/v1/models", tags=["models"])
MARKDOWN = "text/markdown"
_SETTINGS = ("loss", "optimizer", "training", "metrics", "dtype", "order", "tokenizer", "smoothing", "prune")
_PREDICTS = {"class": "one of {n} classes", "binary": "yes or no", "labels": "yes or no for each of {n} labels",
             "number": "{n} numbers", "distribution": "a probability for each of {n}"}  # fmt: skip


@router.get(
    "/{ref}/card", response_model=CardView,
    responses=refuses(NotFound, Conflict, also={200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}}),
)  # fmt: skip
async def model_card(here: Here, ref: str, request: Request) -> Response:
    """What someone should know who did not train it; Markdown with `Accept: text/markdown`, or of a browser."""
    card = await in_thread(_card, here, here.store.models.resolve(ref), str(request.base_url).rstrip("/"))
    accept = request.headers.get("accept", "")
    if MARKDOWN in accept:
        return Response(markdown(card), media_type=MARKDOWN)
    if "text/html" in accept:
        return Response(markdown(card), media_type="text/plain")
    return reply(card)


def _card(here: Context, found: Resolved, base: str) -> CardView:
    run, path = here.store.runs.get(found.run_id), here.store.blobs.path(found.blob)
    if not path.exists():
        raise NotFound("the model's file is gone")
    file = tensors.read(path)
    model = artifact.unpack(file) if artifact.kind_of(file) == "network" else None
    version = _version(here, found)
    layers = [] if model is None else _layers(model)
    return CardView(
        model=found.run_id if found.name is None else f"{found.name}:{found.version}",
        kind="ngram" if model is None else "network", predicts=_predicts(model),
        note="\n\n".join(filter(None, [version.note if version else "", run.notes])), tags=list(run.tags),
        aliases=_aliases(here, found), created_at=version.created_at if version else run.created_at,
        scores=scores_of(run), held_back=_held_back(run), evaluations=_evaluations(here, found),
        data=_data(here, run, model), layers=layers, parameters=sum(each.parameters for each in layers),
        training=_training(here, run), warnings=list(run.report.get("warnings", [])), lineage=lineage(here, found, run),
        receipt=None if run.receipt is None else dict(run.receipt), weights_sha256=run.weights_sha256,
        file_sha256=found.blob, file_bytes=path.stat().st_size, example=_example(here, found, run, model, base),
    )  # fmt: skip


def _version(here: Context, found: Resolved) -> storage.ModelVersion | None:
    every = here.store.models.versions(found.name) if found.name else ()
    return next((each for each in every if each.version == found.version), None)


def _aliases(here: Context, found: Resolved) -> list[str]:
    pointing = here.store.models.aliases(found.name) if found.name else {}
    return sorted(alias for alias, version in pointing.items() if version == found.version)


def _predicts(model: NetworkModel | None) -> str:
    if model is None:
        return "the next word of a text"
    if not isinstance(model.preprocessor, Preprocessor):
        return "the next character of a text"
    several = model.loss.target == "binary" and model.outputs > 1
    return _PREDICTS["labels" if several else model.loss.target].format(n=model.outputs)


def _layers(model: NetworkModel) -> list[LayerView]:
    recipe = Recipe(network=model.network, loss=model.loss)
    planned = engine.plan(recipe, model.signature, model.outputs, rows=1).layers
    return [LayerView.model_validate(each) for each in planned]


def _held_back(run: storage.Run) -> CardPartView | None:
    found = run.report.get("confusion")
    return (
        None if found is None else CardPartView(part=found["part"], per_class=ConfusionView.of(run.id, found).per_class)
    )


def _evaluations(here: Context, found: Resolved) -> list[CardEvaluationView]:
    return [
        CardEvaluationView(
            run_id=run.id, dataset_id=run.dataset_id, part=run.spec.get("part"), at=run.ended_at,
            scores={name.removeprefix("test_"): value for name, value in scores_of(run).items()},
        )
        for run in here.store.runs.evaluations(found.blob)
    ]  # fmt: skip


def _data(here: Context, run: storage.Run, model: NetworkModel | None) -> CardDataView:
    row, spec = dataset_of(here, run.dataset_id), run.spec.get("dataset") or {}
    preprocessor = None if model is None else model.preprocessor
    table = preprocessor if isinstance(preprocessor, Preprocessor) else None
    target = spec.get("target")
    return CardDataView(
        id=run.dataset_id, name=None if row is None else row.name, kind=None if row is None else row.kind,
        rows=None if row is None else row.rows, sha256=None if row is None else row.sha256,
        features=[FeatureView.model_validate(each) for each in (table.features if table else [])],
        target=target if isinstance(target, list) else [target] if target else [],
        classes=list(table.classes) if table and table.classes else None, validation=spec.get("validation"),
        test=spec.get("test"), split_seed=spec.get("split_seed"),
    )  # fmt: skip


def _training(here: Context, run: storage.Run) -> CardTrainingView:
    stopped_by = here.store.jobs.get(run.job_id).stopped_by if run.job_id else None
    took = (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else None
    settings = {name: run.spec[name] for name in _SETTINGS if run.spec.get(name) is not None}
    best = run.report.get("best_step")
    return CardTrainingView(settings=settings, stopped_by=stopped_by, best_step=best, seconds=took)


def _example(here: Context, found: Resolved, run: storage.Run, model: NetworkModel | None, base: str) -> str:
    """A request to where the card was asked for, with a row of its own data set, if that is still there."""
    name = found.ref
    if model is None or not isinstance(model.preprocessor, Preprocessor):
        return _curl(f"{base}/v1/completions", {"model": name, "prompt": "The"})
    row: Mapping[str, Any] | None = None
    data = dataset_of(here, run.dataset_id)
    if data is not None:
        try:
            row = Dataset.open(here.store.blobs.path(data.blob)).preview(1)[0]
        except (OSError, ServiceError):
            row = None
    names = [str(each["name"]) for each in model.preprocessor.features]
    return _curl(f"{base}/v1/models/{name}/predict", {"rows": [{each: row[each] if row else None for each in names}]})


def _curl(url: str, body: object) -> str:
    return f"curl {shlex.quote(url)} --json {shlex.quote(json.dumps(body))}"
