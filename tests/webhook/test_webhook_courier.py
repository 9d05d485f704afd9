"""From the end of a job to the ear of the receiver: once, signed, again after failures, and after a killed server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from webhook_receiver import Receiver, receiving

from service import storage
from service.storage import Job, Store, Webhook
from service.webhook import Courier, courier

SECRET = "a secret of the test"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{tmp_path / 'store.db'}", tmp_path)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "POLL_S", 0.01)


@contextmanager
def carrying(store: Store, *, allow_private: bool = True, timeout_s: float = 5) -> Iterator[Courier]:
    carrier = Courier(store, allow_private=allow_private, retries_s=(0.05, 0.05), timeout_s=timeout_s)
    carrier.start()
    try:
        yield carrier
    finally:
        carrier.close()


def submit(store: Store, url: str, secret: str | None = SECRET) -> Job:
    return store.jobs.submit(type="train", spec={}, webhook={"url": url, "secret": secret})


def until(store: Store, job: Job, met: Callable[[Webhook], bool]) -> Webhook:
    for _ in range(1000):
        if met(found := store.webhooks.get(job.id)):
            return found
        time.sleep(0.005)
    raise AssertionError(found)


def verified(receiver: Receiver) -> tuple[str, dict[str, Any]]:
    """The next call's id and body, its signature checked as the specification tells receivers to."""
    heard = receiver.heard.get(timeout=20)
    number, at = heard.headers["webhook-id"], heard.headers["webhook-timestamp"]
    signed = number.encode() + b"." + at.encode() + b"." + heard.body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert heard.headers["webhook-signature"].split(" ") == [f"v1,{expected}"]
    assert abs(time.time() - int(at)) < 60
    return number, json.loads(heard.body)


def test_the_end_of_a_job_is_told_once(store: Store) -> None:
    with receiving() as receiver, carrying(store):
        job, other = submit(store, receiver.url), store.jobs.submit(type="train", spec={})
        assert store.webhooks.get(job.id).status == "waiting"
        time.sleep(0.05)
        assert receiver.heard.empty()
        store.jobs.request_stop(other.id, "cancel")
        store.jobs.request_stop(job.id, "cancel")
        number, body = verified(receiver)
        assert body["type"] == "job.cancelled"
        assert body["data"]["id"] == job.id
        assert body["data"]["run_ids"] == list(job.run_ids)
        assert body["timestamp"] == body["data"]["ended_at"]
        found = until(store, job, lambda each: each.status == "delivered")
        assert (found.id, found.attempts, found.answer, found.error) == (number, 1, 204, None)
        assert receiver.heard.empty()


def test_a_receiver_that_fails_is_called_again_with_the_same_id_until_it_hears(store: Store) -> None:
    with receiving(500, 302) as receiver, carrying(store):
        job = submit(store, receiver.url)
        store.jobs.request_stop(job.id, "cancel")
        calls = [verified(receiver) for _ in range(3)]
        assert calls == [calls[0]] * 3
        assert until(store, job, lambda each: each.status == "delivered").attempts == 3


def test_who_never_hears_is_given_up_after_the_last_attempt(store: Store) -> None:
    with receiving(*[503] * 9) as receiver, carrying(store):
        job = submit(store, receiver.url)
        store.jobs.request_stop(job.id, "cancel")
        found = until(store, job, lambda each: each.status == "failed")
        assert (found.attempts, found.answer, found.error) == (3, 503, "the answer was 503")
        assert receiver.heard.qsize() == 3


@pytest.mark.parametrize("answer", [410, None])
def test_who_wants_no_more_or_lives_inside_is_not_called_again(store: Store, answer: int | None) -> None:
    with receiving(*[answer or 204]) as receiver, carrying(store, allow_private=answer is not None):
        job = submit(store, receiver.url)
        store.jobs.request_stop(job.id, "cancel")
        found = until(store, job, lambda each: each.status == "failed")
        assert (found.attempts, found.answer) == (1, answer)
        assert receiver.heard.qsize() == (1 if answer else 0)


def test_one_that_hangs_holds_up_nobody_else_and_leaving_waits_for_nobody(store: Store) -> None:
    hang = threading.Event()

    def wait(_: object) -> None:
        hang.wait(20)

    with receiving(wait) as slow, receiving() as quick:
        with carrying(store, timeout_s=30):
            stuck = submit(store, slow.url)
            store.jobs.request_stop(stuck.id, "cancel")
            first = verified(slow)
            job = submit(store, quick.url)
            store.jobs.request_stop(job.id, "cancel")
            assert verified(quick)[1]["data"]["id"] == job.id
            until(store, job, lambda each: each.status == "delivered")
            began = time.monotonic()
        assert time.monotonic() - began < 10
        assert (store.webhooks.get(stuck.id).status, store.webhooks.get(stuck.id).attempts) == ("due", 0)
        with carrying(store):  # the next server
            assert verified(slow) == first
            until(store, stuck, lambda each: each.status == "delivered")
        hang.set()


def test_a_job_that_is_deleted_takes_its_webhook_along(store: Store) -> None:
    job = submit(store, "http://127.0.0.1:9/")
    store.jobs.request_stop(job.id, "cancel")
    store.jobs.delete(job.id)
    assert store.webhooks.due() == ()


def test_only_what_is_due_is_due(store: Store) -> None:
    jobs = [submit(store, "http://127.0.0.1:9/") for _ in range(3)]
    assert store.webhooks.next_due_s() is None
    for job in jobs[:2]:
        store.jobs.request_stop(job.id, "cancel")
    first, second = store.webhooks.due()
    assert [first.job_id, second.job_id] == [job.id for job in jobs[:2]]
    store.webhooks.failed(first.id, 500, "no", 3600)
    store.webhooks.delivered(second.id, 200)
    assert store.webhooks.due() == ()
    assert 3500 < (store.webhooks.next_due_s() or 0) - time.time() <= 3600
