"""Comparisons as query parameters have them: `best.val_accuracy>0.9`, `optimizer.kind=adam`."""

from __future__ import annotations

import re
from typing import Literal

from service.errors import Fault, InvalidSpec
from service.storage.clause import EQUAL, ORDERED, WHICH, Clause, meant

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BOUND = re.compile(r"(?s)(.+?)(<=|>=|!=|=|<|>)(.*)")


def bound(text: str, entity: Literal["metric", "param"], pointer: str) -> Clause:
    """`best.val_accuracy>0.9` or `optimizer.kind=adam`. Raises InvalidSpec."""
    found = _BOUND.fullmatch(text.strip())
    value = None if found is None else _plain(found.group(3).strip())
    twice = isinstance(value, str) and value[:1] in ("=", "<", ">")  # kind==adam
    if found is None or value == "" or twice or (entity == "metric" and not isinstance(value, float)):
        example = "best.val_accuracy>0.9" if entity == "metric" else "optimizer.kind=adam"
        words = f"expected a name, a comparison and a value, found {text[:80]!r}"
        fault = Fault(pointer, "expected_bound", words, f"As in {example}.", (*EQUAL, *ORDERED))
        raise InvalidSpec(words, faults=[fault])
    if not isinstance(value, float) and found.group(2) in ORDERED:
        words = f"{found.group(1)[:50]!r} is compared with text by = and != only"
        raise InvalidSpec(words, faults=[Fault(pointer, "wrong_operator", words, None, EQUAL)])
    key = found.group(1).strip()
    word, _, name = key.partition(".")
    if entity == "param" or word not in WHICH or not name:
        return Clause(entity, key, found.group(2), value)
    which = meant(word, name)
    if which is None:
        words = f"which end of {name[:50]!r} is best, its name does not tell"
        raise InvalidSpec(
            words, faults=[Fault(pointer, "no_direction", words, f"Say min.{name[:30]} or max. instead.")]
        )
    return Clause(entity, name, found.group(2), value, which)


def _plain(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text
