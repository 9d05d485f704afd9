"""Prometheus' text form of metrics, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from service.storage import BOUNDS_S, Timing

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def family(
    name: str, kind: Literal["gauge", "counter"], words: str, samples: Sequence[tuple[Labels, float]]
) -> Iterator[str]:
    """The lines of one metric."""
    yield from _head(name, kind, words)
    for labels, value in samples:
        yield _line(name, labels, value)


def histogram(name: str, words: str, timings: Sequence[tuple[Labels, Timing]]) -> Iterator[str]:
    """The lines of durations: how many took at most so long, for each bound."""
    yield from _head(name, "histogram", words)
    for labels, timing in timings:
        *upto, count = accumulate(timing.counts)
        for bound, n in zip(BOUNDS_S, upto, strict=True):
            yield _line(f"{name}_bucket", {**labels, "le": repr(bound)}, n)
        yield _line(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
        yield _line(f"{name}_sum", labels, timing.sum_s)
        yield _line(f"{name}_count", labels, count)


def _head(name: str, kind: str, words: str) -> tuple[str, str]:
    return f"# HELP {name} {words}\n", f"# TYPE {name} {kind}\n"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{said.translate(_ESCAPES)}"' for label, said in labels.items())
    return f"{name}{{{inside}}} {value!r}\n" if inside else f"{name} {value!r}\n"
