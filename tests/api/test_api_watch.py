"""Watching: the store is asked once for all, nothing is lost to who is slow or comes back, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_server import pointers, problem, serving, sse

from service import clock, storage
from service.api import ring, watch, watcher
from service.api.frames import News
from service.api.ring import Ring
from service.api.stream import begun
from service.api.topics import Topics
from service.api.watch import Watch
from service.api.watcher import Watcher
from service.errors import StorageBusy
from service.storage import Attempt, Owner, Report, Store

pytestmark = pytest.mark.anyio
SPEC = {"seed": 1}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{tmp_path / 'store.db'}", tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def run(store: Store) -> Callable[[], tuple[str, Attempt]]:
    """Submits a job and claims it."""

    def begin() -> tuple[str, Attempt]:
        job = store.jobs.submit(type="train", spec=SPEC)
        attempt = store.runs.claim(Owner(1, "1", clock.boot_id()), 60)
        assert attempt is not None
        return job.id, attempt

    return begin


def happen(store: Store, attempt: Attempt, times: int = 1, size: int = 1) -> None:
    store.runs.report(attempt, Report(events=tuple(("epoch", {"text": "x" * size}) for _ in range(times))))


def ids(frames: bytes) -> list[int]:
    return [int(line[4:]) for line in frames.splitlines() if line.startswith(b"id: ")]


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not found():
            await asyncio.sleep(watch.POLL_S)


async def listen(watching: Watch, topics: Topics, cursor: int, into: list[bytes]) -> None:
    with watching.watching(topics, cursor) as reader:
        while not reader.over:
            into += [await reader.next()]


async def test_fifty_watchers_ask_the_store_as_often_as_one_and_nobody_asks_afterwards(
    store: Store, run: Callable[[], tuple[str, Attempt]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, attempt = run()
    happen(store, attempt, 10)
    asked = itertools.count()
    after = store.events.after
    monkeypatch.setattr(store.events, "after", lambda *given, **named: (next(asked), after(*given, **named))[1])
    watching, heard = Watch(store), [list[bytes]() for _ in range(50)]
    listening = [asyncio.create_task(listen(watching, Topics((job_id,)), 0, each)) for each in heard]
    await until(lambda: all(len(ids(b"".join(each))) == 12 for each in heard))
    before = next(asked)
    for _ in range(5):
        happen(store, attempt)
        await asyncio.sleep(2 * watch.POLL_S)
    await until(lambda: all(len(ids(b"".join(each))) == 17 for each in heard))
    assert next(asked) - before <= 2 * 5 + 1  # a question for each commit seen, whoever watches
    store.runs.finish(attempt, "succeeded")
    await asyncio.wait_for(asyncio.gather(*listening), 20)
    assert {b"".join(each) for each in heard} == {b"".join(heard[0])} or len(
        {tuple(ids(b"".join(e))) for e in heard}
    ) == 1
    assert len(watching) == 0
    await asyncio.sleep(2 * watch.POLL_S)
    calls = next(asked)
    happen(store, run()[1])
    await asyncio.sleep(4 * watch.POLL_S)
    assert next(asked) == calls + 1


async def test_who_watches_several_hears_of_each_once_and_of_no_other(
    store: Store, run: Callable[[], tuple[str, Attempt]]
) -> None:
    (first, one), (second, two), (other, three) = run(), run(), run()
    external = store.runs.create_external()
    # a run and its job are named both: its events come once all the same
    topics = Topics((first, second), (one.run_id, external.id))
    heard: list[bytes] = []
    listening = asyncio.create_task(listen(watching := Watch(store), topics, 0, heard))
    await until(lambda: len(watching) == 1)
    for attempt in (one, two, three):
        happen(store, attempt, 2)
    for attempt in (one, two):
        store.runs.finish(attempt, "succeeded")
    await asyncio.sleep(4 * watch.POLL_S)
    assert not listening.done()
    store.runs.end_external(external.id, "failed")
    await asyncio.wait_for(listening, 20)
    stored = store.events.after(0, job_ids=[first, second], run_ids=[external.id])
    assert ids(b"".join(heard)) == [event.id for event in stored]
    assert other.encode() not in b"".join(heard)
    ends = {first: "succeeded", second: "succeeded", one.run_id: "succeeded", external.id: "failed"}
    assert all(f'"{name}":"{status}"'.encode() in heard[-1].split(b"event: end")[1] for name, status in ends.items())


async def test_who_watches_everything_hears_of_what_does_not_exist_yet(
    store: Store, run: Callable[[], tuple[str, Attempt]]
) -> None:
    heard: list[bytes] = []
    listening = asyncio.create_task(listen(watching := Watch(store), Topics(), 0, heard))
    await until(lambda: len(watching) == 1)
    happen(store, run()[1], 3)
    await until(lambda: len(ids(b"".join(heard))) == 5)
    watching.close()
    await asyncio.wait_for(listening, 20)


@pytest.mark.parametrize(("times", "size"), [(watcher.MOST_EVENTS + 10, 1), (40, watcher.MOST_BYTES // 20)])
async def test_a_slow_reader_keeps_little_and_loses_nothing(
    times: int, size: int, store: Store, run: Callable[[], tuple[str, Attempt]]
) -> None:
    job_id, attempt = run()
    watching = Watch(store)
    with watching.watching(Topics((job_id,)), 0) as slow:
        seen = ids(await slow.next())
        await slow.next()  # how it stands
        for _ in range(4):  # it reads nothing while all this happens
            happen(store, attempt, times // 4, size)
            watching.after(0, Topics((job_id,)), 1)
            assert sum(map(len, slow._frames)) <= watcher.MOST_BYTES + size + 300
            assert len(slow._frames) <= watcher.MOST_EVENTS
        stored = [event.id for event in store.events.after(0, limit=10_000)]
        while len(seen) < len(stored):
            seen += ids(await asyncio.wait_for(slow.next(), 20))
        assert seen == stored


async def test_progress_that_nobody_read_is_replaced_by_newer_progress(store: Store) -> None:
    with Watch(store).watching(Topics(), 0) as slow:
        for place in range(1000):
            slow.progress("job_x", b"%d" % place)
        assert (await slow.next()) == b"999"


async def test_work_begun_by_hand_is_gone_on_with_where_it_waits() -> None:
    gate, steps = asyncio.Event(), []

    async def work(*, waits: bool) -> None:
        steps.append("begun")
        if waits:
            await gate.wait()
            await asyncio.sleep(0)
            steps.append("done")

    assert begun(work(waits=False)) is None
    rest = begun(work(waits=True))
    assert steps == ["begun", "begun"]
    assert rest is not None
    going_on = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(going_on, 20)
    assert steps[-1] == "done"


async def test_work_begun_by_hand_can_be_cancelled_and_tells_its_faults() -> None:
    left = []

    async def work(*, fails: bool) -> None:
        if fails:
            raise OSError("no")
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    failed = begun(work(fails=True))
    assert failed is not None
    with pytest.raises(OSError, match="no"):
        await failed
    rest = begun(work(fails=False))
    assert rest is not None
    going_on = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    going_on.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going_on
    assert left == [True]


async def test_who_comes_back_goes_on_from_the_ring_or_from_the_store(
    store: Store, run: Callable[[], tuple[str, Attempt]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "MOST_EVENTS", 20)
    job_id, attempt = run()
    watching, topics = Watch(store), Topics((job_id,))
    with watching.watching(Topics(), 0):
        for _ in range(30):
            happen(store, attempt, 3)
            await asyncio.sleep(0)
            watching.after(0, topics, 1)
        stored = [event.id for event in store.events.after(0)]
        assert watching._ring.after > stored[40]
        for cursor in (0, *stored[::7], stored[-1], stored[-1] + 5):
            found = [news.id for news in watching.after(cursor, topics, 15)]
            assert found == [number for number in stored if number > cursor][:15]


@pytest.mark.parametrize("sizes", [[1] * 10_000, [ring.MOST_BYTES] * 3, [10_000] * 2000])
def test_the_ring_is_bounded_and_holds_all_that_it_says(sizes: list[int]) -> None:
    kept, at = Ring(5), clock.now()
    for number, size in enumerate(sizes, 6):
        event = storage.Event(number, "run_a" if number % 2 else "run_b", None, "epoch", {"x": "x" * size}, at)
        kept.add([News(event)])
        assert kept.upto == number
    found = kept.since(kept.after, Topics(), 1 << 30)
    assert [news.id for news in found] == list(range(kept.after + 1, kept.upto + 1))
    assert len(found) <= ring.MOST_EVENTS
    assert sum(len(news.json) for news in found) <= ring.MOST_BYTES
    assert all(news.id % 2 for news in kept.since(kept.after, Topics(runs=("run_a",)), 7))


async def test_silence_is_broken_and_news_put_it_off(store: Store) -> None:
    quiet = Watcher(Watch(store), Topics(), 0)
    quiet.progress("job_x", b"news")
    assert await quiet.next() == b"news"
    quiet.keep_alive()
    assert quiet._alive is False
    quiet.keep_alive()
    assert await quiet.next() == b": still here\n\n"


async def test_leaving_ends_every_stream_and_every_wait_from_any_thread(
    store: Store, run: Callable[[], tuple[str, Attempt]]
) -> None:
    job_id, _ = run()
    watching, heard = Watch(store), list[bytes]()
    streams = [asyncio.create_task(listen(watching, Topics((job_id,)), 0, heard)) for _ in range(10)]
    await until(lambda: len(watching) == 10)
    await asyncio.to_thread(watching.close)
    await asyncio.wait_for(asyncio.gather(*streams), 20)
    assert b"event: end" not in b"".join(heard)  # they come back
    late: list[bytes] = []
    await asyncio.wait_for(listen(watching, Topics((job_id,)), 0, late), 20)
    assert ids(b"".join(late)) == []


async def test_a_job_deleted_while_it_was_watched_ends_the_stream(
    store: Store, run: Callable[[], tuple[str, Attempt]]
) -> None:
    job_id, attempt = run()
    watching = Watch(store)
    with watching.watching(Topics((job_id,)), 0) as slow:
        store.runs.finish(attempt, "succeeded")
        store.jobs.delete(job_id)
        heard = b""
        while not slow.over:
            heard += await asyncio.wait_for(slow.next(), 20)
        assert b'"status":"deleted"' in heard


async def test_a_store_that_refuses_for_a_while_loses_nobody(
    store: Store, run: Callable[[], tuple[str, Attempt]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_REST_S", 0.01)
    job_id, attempt = run()
    heard: list[bytes] = []
    listening = asyncio.create_task(listen(watching := Watch(store), Topics((job_id,)), 0, heard))
    await until(lambda: len(ids(b"".join(heard))) == 2)

    def refuse() -> int:
        raise StorageBusy("the store is busy")

    with monkeypatch.context() as broken:
        broken.setattr(store.events, "version", refuse)
        happen(store, attempt)
        await asyncio.sleep(0.05)
    store.runs.finish(attempt, "succeeded")
    await asyncio.wait_for(listening, 20)
    assert ids(b"".join(heard)) == [event.id for event in store.events.after(0)]
    assert len(watching) == 0


async def test_several_jobs_and_runs_are_one_page_or_one_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        first, second, third = [(await api.submit()).json() for _ in range(3)]
        named = f"/v1/events?job={first['id']}&run={second['run_id']}"
        page = (await api.http.get(named)).json()
        assert [each["job_id"] for each in page["data"]] == [first["id"], second["id"]]
        assert len((await api.http.get("/v1/events?limit=3")).json()["data"]) == 3
        waiting = asyncio.create_task(api.http.get(f"{named}&after={page['next']}&wait=30"))
        watching = asyncio.create_task(api.http.get(named, headers={"Accept": "text/event-stream"}))
        await asyncio.sleep(0.05)
        for job in (third, first):
            await api.http.post(f"/v1/jobs/{job['id']}/cancel")
        (waited,) = (await asyncio.wait_for(waiting, 20)).json()["data"]
        assert (waited["job_id"], waited["kind"]) == (first["id"], "finished")
        await api.http.post(f"/v1/jobs/{second['id']}/cancel")
        frames = sse(await asyncio.wait_for(watching, 20))
        assert [frame[2]["job_id"] for frame in frames if frame[0]] == [first["id"], second["id"]] * 2
        ends = {first["id"]: "cancelled", second["run_id"]: "cancelled"}
        assert frames[-1] == (None, "end", {"kind": "end", "data": {"statuses": ends}})
        missing = problem(await api.http.get(f"{named}&run=run_x"), 404)
        assert (missing["detail"], missing["hint"]) == ("no run run_x", "GET /v1/runs lists what there is.")
        assert pointers(await api.http.get("/v1/events?" + "&".join(["job=a"] * 201))) == ["/query/job"]
