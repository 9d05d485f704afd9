"""Carries what is due: a thread of the server that asks the store, and a few more that call."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Sequence

from service.clock import monotonic_s, now
from service.errors import NotFound, ServiceError
from service.storage import Delivery, Store
from service.webhook.address import Refused, parse
from service.webhook.call import Call, Unheard
from service.webhook.sign import headers

RETRIES_S = (5, 60, 300, 1800, 7200, 18_000, 36_000, 36_000)  # as the specification proposes: over a day
TIMEOUT_S = 10.0
POLL_S = 0.25
LOOK_S = 60.0  # at least so often, for the clock may be set
CALLS = 4  # at a time
_GONE = 410  # the receiver wants no more of it
_REST_S = 2.0
_LOG = logging.getLogger(__name__)


class Courier:
    """What is due stays due until it is answered: a server that is killed meanwhile calls again, with the same id."""

    def __init__(
        self, store: Store, *, allow_private: bool, retries_s: Sequence[float] = RETRIES_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._store, self._allow_private = store, allow_private
        self._retries_s, self._timeout_s = retries_s, timeout_s
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begins with what was left by an earlier server."""
        self._thread.start()

    def close(self) -> None:
        """At once: who is being called will be called again by the next server."""
        self._closing.set()
        with self._lock:
            for call in self._calls.values():
                call.give_up()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        version, next_s = -1, 0.0
        while not self._closing.wait(POLL_S):
            try:
                now_version = self._store.events.version()
                if now_version != version or monotonic_s() >= next_s:
                    version = now_version
                    next_s = monotonic_s() + self._turn()
            except ServiceError as error:
                _LOG.warning("the store refuses the courier: %s", error)
                self._closing.wait(_REST_S)
            except Exception:
                _LOG.exception("the courier stumbled")
                self._closing.wait(_REST_S)

    def _turn(self) -> float:
        """Begins the calls that are due; returns in how many seconds to look again though nothing happens."""
        with self._lock:
            busy = set(self._calls)
        for delivery in self._store.webhooks.due(limit=CALLS + len(busy)):
            if delivery.id not in busy and len(busy) < CALLS:
                busy.add(delivery.id)
                self._begin(delivery)
        waiting = self._store.webhooks.next_due_s() if len(busy) < CALLS else None
        if waiting is None:
            return 1.0 if busy else LOOK_S
        return min(max(POLL_S, waiting - now().timestamp()), LOOK_S)

    def _begin(self, delivery: Delivery) -> None:
        target = parse(delivery.url)
        call = Call(target, allow_private=self._allow_private, timeout_s=self._timeout_s)
        with self._lock:
            self._calls[delivery.id] = call
        threading.Thread(target=self._carry, args=(delivery, call), name="webhook", daemon=True).start()

    def _carry(self, delivery: Delivery, call: Call) -> None:
        try:
            body = message(self._store, delivery)
            status, words, last = None, None, delivery.attempts >= len(self._retries_s)
            try:
                status = call.post(body, headers(delivery.id, int(now().timestamp()), body, delivery.secret))
            except (Unheard, Refused) as error:
                words, last = str(error), last or isinstance(error, Refused)
            if not self._closing.is_set():
                self._settle(delivery, status, words, last=last or status == _GONE)
        except NotFound:
            pass  # the job was deleted meanwhile, and what was to be told of it with it
        except Exception:
            if not self._closing.is_set():
                _LOG.exception("webhook of %s", delivery.job_id)
        finally:
            with self._lock:
                del self._calls[delivery.id]

    def _settle(self, delivery: Delivery, status: int | None, words: str | None, *, last: bool) -> None:
        if status is not None and 200 <= status < 300:
            self._store.webhooks.delivered(delivery.id, status)
            return
        words = words or f"the answer was {status}"
        retry_s = None if last else self._retries_s[delivery.attempts] * random.uniform(0.9, 1.1)
        self._store.webhooks.failed(delivery.id, status, words, retry_s)
        again = "given up" if retry_s is None else f"again in {retry_s:.0f} s"
        _LOG.warning("webhook of %s was not heard: %s; %s", delivery.job_id, words, again)


def message(store: Store, delivery: Delivery) -> bytes:
    """The same bytes at every attempt: a job that has ended does not change. Raises NotFound."""
    job = store.jobs.get(delivery.job_id)
    same = ("id", "type", "name", "tags", "status", "run_ids", "stopped_by", "error")
    data = {name: getattr(job, name) for name in same}
    times = {name: getattr(job, name) for name in ("created_at", "started_at", "ended_at")}
    data |= {name: at and at.isoformat().replace("+00:00", "Z") for name, at in times.items()}
    told = {"type": f"job.{job.status}", "timestamp": data["ended_at"], "data": data}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
