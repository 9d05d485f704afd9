"""Which steps of shorter rows count."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step


def valid_steps(site: Site) -> tuple[list[Step], Array | None]:
    """(steps that look at the lengths, ones where a row still lasts, (time, 1..., rows, 1)); None when all are full."""
    if site.lengths is None:
        return [], None
    time, *space = site.shape.dims[:-1]
    inside = site.loose("inside", (time, site.rows), np.bool_)
    valid = site.loose("valid", (time, *(1 for _ in space), site.rows, 1))
    look = partial(np.less, np.arange(time)[:, None], site.lengths, inside)
    return [look, partial(np.copyto, valid.reshape(inside.shape), inside)], valid
