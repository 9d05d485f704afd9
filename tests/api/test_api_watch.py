"""Waiting for news: woken by a commit, by leaving, or by time; nobody is asked when nobody waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.api.watch import POLL_S, Watch

pytestmark = pytest.mark.anyio


class Store:
    """A version that the test moves, and how often it was asked for."""

    def __init__(self) -> None:
        self.now = 1
        self.asked = 0

    def version(self) -> int:
        self.asked += 1
        return self.now


async def test_a_change_wakes_all_who_wait() -> None:
    store = Store()
    watch = Watch(store.version)
    waiting = [asyncio.create_task(watch.changed(1, 10)) for _ in range(50)]
    await asyncio.sleep(2 * POLL_S)
    assert not any(each.done() for each in waiting)
    store.now = 2
    assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [2] * 50


async def test_a_change_that_came_before_the_wait_is_told_at_once() -> None:
    store = Store()
    store.now = 5
    assert await asyncio.wait_for(Watch(store.version).changed(4, 10), POLL_S) == 5


async def test_time_ends_a_wait() -> None:
    begin = time.monotonic()
    assert await Watch(Store().version).changed(1, 0.05) == 1
    assert time.monotonic() - begin < 1


async def test_leaving_ends_every_wait_from_any_thread_and_lets_none_begin() -> None:
    watch = Watch(Store().version)
    waiting = asyncio.create_task(watch.changed(1, 10))
    await asyncio.sleep(POLL_S)
    await asyncio.to_thread(watch.close)
    assert await asyncio.wait_for(waiting, 1) == 1
    assert await asyncio.wait_for(watch.changed(1, 10), POLL_S) == 1


async def test_fifty_waiters_ask_the_store_as_often_as_one_and_nobody_asks_afterwards() -> None:
    store = Store()
    watch = Watch(store.version)
    await asyncio.gather(*(watch.changed(1, 5 * POLL_S) for _ in range(50)))
    assert store.asked < 2 * 50 + 10  # once when a wait begins, once when it ends, and the poller's few
    await asyncio.sleep(2 * POLL_S)
    asked = store.asked
    await asyncio.sleep(5 * POLL_S)
    assert store.asked == asked
