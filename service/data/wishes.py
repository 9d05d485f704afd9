"""What a caller says of an upload beside its bytes: columns' types, the size of pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from service.errors import Fault, InvalidData, did_you_mean

WishedType = Literal["number", "category", "text", "date", "sequence"]
WISHED_TYPES: tuple[WishedType, ...] = get_args(WishedType)
_MOST_PIXELS = 4_096


@dataclass(frozen=True, slots=True)
class Wishes:
    """Types by column name, instead of what the values look like; (width, height) that pictures are scaled to."""

    types: Mapping[str, WishedType] = field(default_factory=dict)
    resize: tuple[int, int] | None = None

    @property
    def words(self) -> str:
        """The same wishes are the same words; none are none."""
        parts = [f"{name!r}: {wish}" for name, wish in sorted(self.types.items())]
        return "; ".join(parts + ([f"resize {self.resize[0]}x{self.resize[1]}"] if self.resize else []))


def parse_wishes(types: str | None, resize: str | None) -> Wishes:
    """From words: `types` "age:number,zip:category", `resize` "28x28". Raises InvalidData with every fault."""
    found: dict[str, WishedType] = {}
    faults = list[Fault]()
    for name, word in _pairs(types):
        known = next((each for each in WISHED_TYPES if each == word), None)
        if known is None or not name:
            message = f"expected `column:type`, got {f'{name}:{word}'[:80]!r}"
            hint = did_you_mean(word, WISHED_TYPES) or "types=age:number,zip:category,when:date,note:text"
            faults.append(Fault("/types", "bad_type", message, hint, WISHED_TYPES))
        else:
            found[name] = known
    size = re.fullmatch(r"(\d{1,4})x(\d{1,4})", resize or "")
    sides = (int(size[1]), int(size[2])) if size else None
    if resize is not None and (sides is None or not all(1 <= side <= _MOST_PIXELS for side in sides)):
        message = f"expected width x height, got {resize[:40]!r}"
        faults.append(Fault("/resize", "bad_size", message, "resize=28x28"))
    if faults:
        raise InvalidData(faults[0].message, hint=faults[0].hint, faults=faults[:20])
    return Wishes(found, sides)


def _pairs(types: str | None) -> list[tuple[str, str]]:
    """(column, type), from `a:number,b:text`, or from a JSON object for names that hold commas."""
    if types is None:
        return []
    if not types.lstrip().startswith("{"):
        parts = [part.rpartition(":") for part in types.split(",")]
        return [(name.strip(), word.strip()) for name, _, word in parts]
    try:
        return [(str(name), str(word)) for name, word in json.loads(types).items()]
    except (ValueError, RecursionError):
        return [("", types)]


def seconds(word: str) -> float:
    """An ISO 8601 date, time or month as seconds since 1970, UTC where it has no zone. Raises ValueError for others."""
    if re.fullmatch(r"\d{4}-\d\d", word):
        word += "-01"
    if not re.match(r"\d{4}-\d\d-\d\d", word):
        raise ValueError(word)  # the standard library takes shorter ones too: a zip code is no date
    when = datetime.fromisoformat(word)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def date_hint(value: object, column: str) -> str | None:
    """What may be meant by a date where a number is expected; None when it is no date."""
    try:
        meant = seconds(str(value).strip())
    except ValueError:
        return None
    return f'send {meant:.0f}, the seconds since 1970; or train with "dates": {{"{column}": {{"parts": ["time"]}}}}'
