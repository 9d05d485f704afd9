"""One attempt, from claim to verdict."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from service import log
from service.config import Settings
from service.errors import CapacityError, DataUnusable, InvalidData, RunError, ServiceError, WorkerLost
from service.jobs import arpa, compare, count, evaluate, limits, mix, train
from service.jobs.reporter import Reporter
from service.jobs.verdict import GivenBack, Verdict, Work
from service.storage import Attempt, Fenced, Store

LOG = logging.getLogger(__name__)
_KINDS: Mapping[str, Callable[[Work], Verdict]] = {
    "train": train.train,
    "ngram": count.count,
    "arpa": arpa.arpa,
    "mixture": mix.mix,
    "evaluate": evaluate.evaluate,
}
_LAST_WORDS = 2_000


def execute(store: Store, attempt: Attempt, settings: Settings, leaving: Callable[[], bool]) -> None:
    """Whatever happens, the store has the last word on it.

    Raises what nobody foresaw, after the run was given back to be tried by another process: a fault of ours comes
    again and ends it at the third time, one of the machine may not.
    """
    keep = settings.keep_checkpoints
    with log.about(run_id=attempt.run_id), Reporter(store, attempt, leaving, keep=keep) as reporter:
        try:
            _settle(store, attempt, reporter, _judge(store, attempt, settings, reporter))
        except Fenced:
            LOG.info("attempt %d is over: another has taken it, or it was stopped", attempt.token)
        except (GivenBack, CapacityError) as reason:
            LOG.info("attempt %d gives its run back: %s", attempt.token, reason)
            _release(store, attempt, reporter)
        except WorkerLost as error:
            LOG.warning("attempt %d: %s", attempt.token, error.message)
            with suppress(Fenced):
                store.runs.lose(attempt, error.message)
        except Exception as error:
            LOG.exception("attempt %d failed unexpectedly", attempt.token)
            words = f"{traceback.format_exc()[-_LAST_WORDS:]}\nunexpected {type(error).__name__}; the log has the trace"
            with suppress(Fenced):
                store.runs.lose(attempt, words, code="internal")
            raise


def _judge(store: Store, attempt: Attempt, settings: Settings, reporter: Reporter) -> Verdict:
    try:
        with limits.memory(attempt.memory_bytes):
            run = store.runs.get(attempt.run_id)
            verdict = _KINDS[run.type](Work(store, settings, run, reporter))
            return compare.with_repeated(store, run, verdict)
    except (CapacityError, WorkerLost):
        raise
    except ServiceError as error:
        return Verdict("failed", error=_told(error))


def _told(error: ServiceError) -> dict[str, Any]:
    if isinstance(error, InvalidData):
        error = DataUnusable(error.message, hint=error.hint)
    step, layer = (error.step, error.layer) if isinstance(error, RunError) else (None, None)
    return {"code": error.code, "message": error.message, "hint": error.hint, "step": step, "layer": layer}


def _settle(store: Store, attempt: Attempt, reporter: Reporter, verdict: Verdict) -> None:
    final = reporter.rest(models=verdict.model is None)

    def finish() -> None:
        model = store.blobs.put(*verdict.model).sha256 if verdict.model else None
        store.runs.finish(
            attempt, verdict.status, stopped_by=verdict.stopped_by, error=verdict.error, model_blob=model,
            weights_sha256=verdict.weights_sha256, receipt=verdict.receipt, report=verdict.report, final=final,
        )  # fmt: skip

    reporter.patiently(finish)


def _release(store: Store, attempt: Attempt, reporter: Reporter) -> None:
    try:
        final = reporter.rest()
        store.runs.report(attempt, final)
        store.runs.release(attempt)
    except (Fenced, CapacityError) as reason:
        LOG.warning("attempt %d could not give its run back: %s", attempt.token, reason)
