"""Which steps of shorter rows count."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step


def valid_steps(site: Site) -> tuple[list[Step], Array | None]:
    """(steps that look at the lengths, (time, rows, 1) ones where a row still lasts); None when all rows are full."""
    if site.lengths is None:
        return [], None
    time = np.arange(site.shape.dims[0])[:, None]
    inside = site.loose("inside", (len(time), site.rows), np.bool_)
    valid = site.loose("valid", (*inside.shape, 1))
    return [partial(np.less, time, site.lengths, inside), partial(np.copyto, valid[..., 0], inside)], valid
