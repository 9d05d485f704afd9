"""A search's answer: each score's mean and spread over the folds, and which candidate is best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from fastapi import APIRouter
from starlette.responses import Response

from service import storage
from service.api.context import Context, Here, in_thread
from service.api.replies import refuses, reply
from service.api.views.search import CandidateView, SpreadView, TrialsView, TrialView
from service.errors import NotFound
from service.specs import standing
from service.storage import Job, Run

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_SCORES = ("train_", "val_", "test_")


@router.get("/{job_id}/trials", response_model=TrialsView, responses=refuses(NotFound))
async def trials(here: Here, job_id: str) -> Response:
    """Of a search: mean and standard deviation of every score over the folds, candidate by candidate."""
    return reply(await in_thread(_trials, here, here.store.jobs.get(job_id)))


def _trials(here: Context, job: Job) -> TrialsView:
    if job.type != "search":
        raise NotFound(f"{job.id} is no search", hint="A job of another type has one run: see its run_id.")
    runs = [here.store.runs.get(run_id) for run_id in job.run_ids]
    folds = job.spec["folds"] or 1
    fields = (job.spec["candidates"] or {}).get("fields", ())
    candidates = [_candidate(here, fields, runs[at : at + folds]) for at in range(0, len(runs), folds)]
    monitor = job.spec["monitor"]
    return TrialsView(
        job_id=job.id, status=job.status, monitor=monitor, direction=storage.direction(monitor),
        best=_best(candidates, monitor), candidates=candidates,
    )  # fmt: skip


def _candidate(here: Context, fields: Sequence[str], runs: Sequence[Run]) -> CandidateView:
    trials = [
        TrialView(run_id=run.id, status=run.status, fold=_fold(run), stopped_by=run.report.get("stopped_by"),
                  scores=_scores(here, run)) for run in runs
    ]  # fmt: skip
    done = [trial.scores for trial in trials if trial.status == "succeeded"]
    names = dict.fromkeys(name for scores in done for name in scores)
    values = {field: standing(runs[0].spec, field) for field in fields}
    return CandidateView(values=values, metrics={name: _spread(name, done) for name in names}, trials=trials)


def _fold(run: Run) -> int | None:
    split = run.spec["dataset"]["split"] or {}
    return split.get("fold")


def _scores(here: Context, run: Run) -> dict[str, float | None]:
    """At the step whose weights were kept; the last ones while that is not known."""
    names = [name for name in run.summary if name.startswith(_SCORES)]
    step = run.report.get("best_step")
    kept = here.store.metrics.series(run.id, names, from_step=step, to_step=step) if step and names else {}
    found = dict[str, float | None]()
    for name in names:
        values: Sequence[float] = kept[name].values if name in kept else []
        value = float(values[-1]) if len(values) else run.summary[name]["last"]["value"]
        found[name] = value if value is not None and math.isfinite(value) else None
    return found


def _spread(name: str, done: Sequence[Mapping[str, float | None]]) -> SpreadView:
    values = [value for scores in done if (value := scores.get(name)) is not None]
    if not values:
        return SpreadView(n=0, mean=None, std=None, min=None, max=None)
    std = statistics.stdev(values) if len(values) > 1 else None
    return SpreadView(n=len(values), mean=statistics.fmean(values), std=std, min=min(values), max=max(values))


def _best(candidates: Sequence[CandidateView], monitor: str) -> int | None:
    sign = -1.0 if storage.direction(monitor) == "max" else 1.0
    found: list[tuple[float, int]] = [
        (sign * spread.mean, place)
        for place, each in enumerate(candidates)
        if (spread := each.metrics.get(monitor)) and spread.mean is not None and spread.n == len(each.trials)
    ]
    return min(found)[1] if found else None
