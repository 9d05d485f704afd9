"""The language in which runs are searched for, which is MLflow's: comparisons with `and` between them.

    metrics.val_accuracy > 0.9 and params.optimizer = 'adam' and tags.team in ('a', 'b') and status = 'FINISHED'

On the left an entity, a dot and a key; a key of other signs than letters, digits and `_-./:@` stands in backticks or
double quotes, and an attribute may go without its entity. On the right a number, or text in quotes. Beyond MLflow's:
`best.`, `min.`, `max.`, `first.` and `last.` of a metric (`metrics.` is the last), numbers and lists for parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from service.errors import Fault, InvalidSpec, did_you_mean
from service.storage.clause import (
    ABSENT,
    ATTRIBUTES,
    DATASET_KEYS,
    ENTITIES,
    EQUAL,
    NUMERIC,
    ORDERED,
    SAME,
    STATUS_WORDS,
    TEXT,
    Clause,
    Identifier,
    Value,
    Which,
    meant,
)

MAX_LENGTH, MAX_CLAUSES = 4_000, 50
_SPACE = re.compile(r"\s*")
_QUOTED = r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\""
_NAME = re.compile(rf"{_QUOTED}|[A-Za-z_]\w*")
_KEY = re.compile(rf"{_QUOTED}|[\w\-./:@]+")
_OPERATOR = re.compile(r"<=|>=|!=|<>|==|=|<|>|(?:not\s+in|in|like|ilike|is\s+not\s+null|is\s+null)\b", re.I)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w.])", re.I)
_STRING = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_LIST = re.compile(rf"\(\s*(?:{_STRING.pattern})(?:\s*,\s*(?:{_STRING.pattern}))*\s*,?\s*\)")
_AND = re.compile(r"and\b", re.I)
_NEXT = re.compile(rf"(?:{_STRING.pattern}|`[^`]*`|(?!\band\b).)*?(?=\band\b|$)", re.I | re.S)
_WORD = re.compile(r"\w+|\S|$")


class _Wrong(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, at: int, code: str, words: str, hint: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.fault = Fault("/filter", code, f"at character {at + 1}: {words}", hint, allowed)


def parse(text: str | None) -> tuple[Clause, ...]:
    """Raises InvalidSpec with every fault and its place."""
    if text is None or not text.strip():
        return ()
    if len(text) > MAX_LENGTH:
        words = f"the filter is longer than {MAX_LENGTH:,} characters"
        raise InvalidSpec(words, faults=[Fault("/filter", "too_long", words)])
    found: list[Clause] = []
    faults: list[Fault] = []
    for each in _Reader(text).clauses():
        if isinstance(each, Clause):
            found.append(each)
        else:
            faults.append(each)
    if len(found) > MAX_CLAUSES:
        faults.append(Fault("/filter", "too_many", f"{len(found)} comparisons; at most {MAX_CLAUSES} are taken"))
    if faults:
        words = faults[0].message if len(faults) == 1 else f"{len(faults)} things do not fit"
        raise InvalidSpec(words, faults=faults)
    return tuple(found)


def identifier(text: str) -> Identifier:
    """A left side alone, as orders have it. Raises InvalidSpec."""
    reader = _Reader(text)
    try:
        reader.skip()
        entity, which, key = reader.identifier()
        reader.skip()
        if reader.at < len(text):
            raise _Wrong(reader.at, "expected_end", f"expected the end, found {reader.here()}")
    except _Wrong as wrong:
        raise InvalidSpec(wrong.fault.message, faults=[replace(wrong.fault, pointer="/order_by")]) from None
    return Identifier(entity, which, key)


class _Reader:
    """Walks through the text once; after a fault it goes on behind the next `and`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def clauses(self) -> Iterator[Clause | Fault]:
        while True:
            try:
                yield self.clause()
                self.end()
            except _Wrong as wrong:
                yield wrong.fault
                self.take(_NEXT)
            if self.take(_AND) is None:
                return

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """What stands here, if it is of the pattern, and steps over it."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def here(self) -> str:
        """The next word, for people."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        return repr(found.group()) if found and found.group() else "the end"

    def end(self) -> None:
        """A comparison is followed by `and` or by nothing."""
        self.skip()
        if self.at < len(self.text) and _AND.match(self.text, self.at) is None:
            hint = "There is no `or`: use in ('a', 'b'), or ask twice." if self.here().lower() == "'or'" else None
            raise _Wrong(self.at, "expected_and", f"expected `and` or the end, found {self.here()}", hint)

    def clause(self) -> Clause:
        self.skip()
        start = self.at
        entity, which, key = self.identifier()
        self.skip()
        place, operator = self.at, self.operator()
        if operator in ABSENT:
            clause = Clause(entity, key, operator, None, which)
        else:
            clause = Clause(entity, key, operator, self.value(operator), which)
        _check(clause, start, place)
        return clause

    def identifier(self) -> Identifier:
        start, name = self.at, self.take(_NAME)
        hint: str | None
        if name is None:
            hint = "For instance metrics.val_loss < 0.1 or status = 'FINISHED'."
            raise _Wrong(start, "expected_name", f"expected a name, found {self.here()}", hint)
        if self.text[self.at : self.at + 1] != ".":
            return Identifier("attribute", "last", _attribute(_bare(name), start))
        self.at += 1
        key = None if self.text[self.at : self.at + 1].isspace() else self.take(_KEY)
        entity = ENTITIES.get(_bare(name))
        if entity is None:
            hint = did_you_mean(name, tuple(ENTITIES))
            raise _Wrong(start, "unknown_entity", f"there are no {name[:50]}", hint, tuple(sorted(ENTITIES)))
        if key is None or not _bare(key):
            raise _Wrong(self.at, "expected_key", f"expected a key after {name}., found {self.here()}")
        if entity == "metric":
            return Identifier(entity, _which(name, _bare(key), start), _bare(key))
        return Identifier(entity, "last", _attribute(_bare(key), start) if entity == "attribute" else _bare(key))

    def operator(self) -> str:
        start, found = self.at, self.take(_OPERATOR)
        if found in ("==", "<>") or found is None:
            instead = {"==": "Use = to compare.", "<>": "Use != to compare."}
            words = f"expected a comparison, found {self.here() if found is None else repr(found)}"
            allowed = (*EQUAL, *ORDERED, "LIKE", "ILIKE", "IN", "NOT IN", *ABSENT)
            raise _Wrong(start, "expected_operator", words, instead.get(found or ""), allowed)
        return " ".join(found.upper().split())

    def value(self, operator: str) -> Value:
        if operator in ("IN", "NOT IN"):
            listed = self.take(_LIST)
            if listed is None:
                raise _Wrong(self.at, "expected_list", f"expected a list, found {self.here()}", "As in ('a', 'b').")
            return tuple(_bare(each) for each in _STRING.findall(listed))
        number = self.take(_NUMBER)
        if number is not None:
            return float(number)
        text = self.take(_STRING)
        if text is None:
            if self.text[self.at : self.at + 1] in ("'", '"'):
                raise _Wrong(self.at, "expected_value", "this quote is not closed", "A quote within it stands twice.")
            hint = f"Put text in quotes: '{self.here()[1:-1]}'." if self.here()[1:2].isalpha() else None
            raise _Wrong(self.at, "expected_value", f"expected a number or text, found {self.here()}", hint)
        return _bare(text)


def _bare(text: str) -> str:
    """Without its quotes; a quote that stands twice inside them is one."""
    mark = text[0]
    return text[1:-1].replace(mark * 2, mark) if mark in "`'\"" else text


def _which(word: str, metric: str, at: int) -> Which:
    which = meant(word, metric)
    if which is None:
        words = f"which end of {metric[:50]!r} is best, its name does not tell"
        raise _Wrong(at, "no_direction", words, f"Say min.{metric[:30]} or max.{metric[:30]}.")
    return which


def _attribute(key: str, at: int) -> str:
    key = SAME.get(key, key)
    if key not in ATTRIBUTES:
        hint = did_you_mean(key, ATTRIBUTES) or "Metrics, parameters and tags have a dot: metrics.loss, tags.team."
        raise _Wrong(at, "unknown_attribute", f"there is no attribute {key[:50]!r}", hint, ATTRIBUTES)
    return key


def _check(clause: Clause, start: int, place: int) -> None:
    """Whether such a thing can be compared so. Raises _Wrong."""
    allowed, wanted = _allowed(clause)
    if clause.entity == "dataset" and clause.key not in DATASET_KEYS:
        raise _Wrong(start, "unknown_key", f"data sets have no {clause.key[:50]!r}", None, DATASET_KEYS)
    if clause.operator not in allowed:
        number = isinstance(clause.value, float)
        hint = "Text is compared by =, !=, LIKE, ILIKE and IN." if not number and clause.operator in ORDERED else None
        words = f"{clause.entity} {clause.key[:50]!r} is not compared by {clause.operator}"
        raise _Wrong(place, "wrong_operator", words, hint, allowed)
    given = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    unknown = [each for each in given if each not in STATUS_WORDS]
    if clause.key == "status" and clause.entity == "attribute" and "LIKE" not in clause.operator and unknown:
        hint = did_you_mean(str(unknown[0]), STATUS_WORDS)
        raise _Wrong(place, "unknown_status", f"there is no status {str(unknown[0])[:50]!r}", hint, STATUS_WORDS)
    if clause.operator not in ABSENT and wanted is not None and isinstance(clause.value, float) != (wanted is float):
        what, hint = ("a number", None) if wanted is float else ("text", "Put it in quotes.")
        raise _Wrong(place, "wrong_type", f"{clause.entity} {clause.key[:50]!r} is compared with {what}", hint)


def _allowed(clause: Clause) -> tuple[tuple[str, ...], type | None]:
    """The operators, and what stands on the right."""
    if clause.entity == "metric" or (clause.key in NUMERIC and clause.entity == "attribute"):
        return (*EQUAL, *ORDERED), float
    if clause.entity == "param":
        number = isinstance(clause.value, float)
        return (*EQUAL, *ORDERED) if number else (*TEXT, *ABSENT), None
    return (*TEXT, *ABSENT) if clause.entity == "tag" else TEXT, str
