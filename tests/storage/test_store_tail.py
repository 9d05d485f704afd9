"""The tail of a series: what comes a few points at a time is sealed early, and comes together in long blocks."""

from __future__ import annotations

import math

from sqlalchemy import select, update

from service.storage import Store
from service.storage.tables import blocks


def in_pieces(store: Store, run_id: str, steps: range, size: int) -> None:
    for start in steps[::size]:
        piece = steps[steps.index(start) : steps.index(start) + size]
        store.metrics.append(run_id, {"loss": (piece, [math.sin(step) for step in piece], piece)})


def sealed(store: Store) -> list[int]:
    """How many points each block has."""
    with store._database.read() as connection:
        return list(connection.execute(select(blocks.c.n).order_by(blocks.c.first_step)).scalars())


def test_points_told_a_few_at_a_time_come_together_in_long_blocks(store: Store) -> None:
    run = store.runs.create_external().id
    in_pieces(store, run, range(2400), 7)
    *long, last = sealed(store)
    assert all(1024 <= n <= 2048 for n in long)
    assert sum(long) + last > 2400 - 128
    found = store.metrics.series(run)["loss"]
    assert found.steps.tolist() == list(range(2400))
    assert found.values.tolist() == [math.sin(step) for step in range(2400)]


def test_points_go_on_behind_a_short_block_that_is_damaged(store: Store) -> None:
    run = store.runs.create_external().id
    in_pieces(store, run, range(130), 5)
    assert sealed(store) == [130]
    with store._database.write() as connection:
        connection.execute(update(blocks).values(data=b"damaged"))
    in_pieces(store, run, range(130, 260), 5)
    assert sealed(store) == [130, 130]
    assert store.metrics.series(run, from_step=130)["loss"].steps.tolist() == list(range(130, 260))
