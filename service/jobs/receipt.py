"""What a run was made of, so that anyone can make it again and compare."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

import service


def of(spec: Mapping[str, Any], dataset_sha256: str, shards: int = 1, cut: str = "rows") -> dict[str, Any]:
    """The receipt: the same one promises the same bits on the same kind of processor."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        "spec_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "dataset_sha256": dataset_sha256,
        "engine": service.__version__,
        "numpy": np.__version__,
        "blas": _blas(),
        "blas_threads": int(os.environ.get("OPENBLAS_NUM_THREADS", "0")) or os.cpu_count(),
        "shards": shards,
        "cut": cut,
    }


@cache
def _blas() -> str:
    """Name, version and, where it tells, the build of the linear algebra library under NumPy."""
    build: Any = np.show_config(mode="dicts")
    blas = build["Build Dependencies"]["blas"]
    told = (blas.get("name"), blas.get("version"), blas.get("openblas configuration"))
    return " ".join(str(each) for each in told if each and each != "unknown")
