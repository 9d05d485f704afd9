"""How a job comes into the queue, whoever words it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from service import storage
from service.api.context import Context, in_thread
from service.api.replies import encode
from service.api.views.job import JobView
from service.config import Settings
from service.specs import Job, admit
from service.storage import Idempotency
from service.webhook import check

SUBMIT_BYTES = 4_000  # of an answer to a submit; a larger spec is left out, it stands at the job's address


async def submitted(here: Context, key: Idempotency | None, worded: Callable[[], Job]) -> Response:
    """Checks everything, queues it, answers 202 with its address; a key seen before is answered with its job."""
    here.check_open()
    job = await in_thread(_submit, here, key, worded)
    here.wake()
    body = encode(JobView.of(job))
    if len(body) > SUBMIT_BYTES:
        body = encode(JobView.of(job, with_spec=False))
    return Response(body, 202, headers={"Location": f"/v1/jobs/{job.id}"}, media_type="application/json")


def _submit(here: Context, key: Idempotency | None, worded: Callable[[], Job]) -> storage.Job:
    before = here.store.jobs.made(key)  # first: what it was made from may be gone by now
    if before is not None:
        return before
    asked = worded()
    admitted = admit(asked, here.store, here.settings.max_model_bytes)
    return here.store.jobs.submit(
        type=asked.type, spec=admitted.spec, name=asked.name, tags=asked.tags, dataset_id=admitted.dataset_id,
        priority=asked.priority, max_queue=here.settings.max_queue, memory_bytes=admitted.memory_bytes,
        model_blob=admitted.model_blob, webhook=_webhook(here.settings, asked), trials=admitted.trials,
        warnings=admitted.warnings, idempotency_key=key,
    )  # fmt: skip


def _webhook(settings: Settings, asked: Job) -> dict[str, str | None] | None:
    """The job's own, or the server's. Raises InvalidSpec for an address that may not be called."""
    if asked.webhook is not None:
        check(asked.webhook.url, allow_private=settings.webhook_allow_private)
        return {"url": asked.webhook.url, "secret": asked.webhook.secret or settings.webhook_secret or None}
    return {"url": settings.webhook_url, "secret": settings.webhook_secret or None} if settings.webhook_url else None
