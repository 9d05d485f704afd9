"""What each number of a target is called."""

from __future__ import annotations

import math

from service.data.choice import Columns


def target_names(targets: Columns) -> tuple[str, ...]:
    """A name for each number of the target: the column's, or the column's and a place."""
    return tuple(
        column.name if not column.shape else f"{column.name}[{at}]"
        for column in targets
        for at in range(math.prod(column.shape))
    )
