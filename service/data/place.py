"""Names a place in uploaded or sent rows, for people and as a JSON pointer (RFC 6901)."""

from __future__ import annotations

from service.errors import Fault, InvalidData

MOST_FAULTS = 20
_LONG_BITS = 1100


def pointer(*parts: str | int) -> str:
    """`("rows", 3, "a/b")` -> `/rows/3/a~1b`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def row_words(row: int, line: int | None = None) -> str:
    """Names a row (counted from 0 here, from 1 for people), with its line of the file if known."""
    return f"row {row + 1}" if line is None else f"row {row + 1} (line {line})"


def sent_row(row: int) -> str:
    """Names a row of a request, as `row_words` does, and as programs count: `row 4 (index 3)`."""
    return f"row {row + 1} (index {row})"


def place_words(at: tuple[int, ...]) -> str:
    """Names a step and a number of it for people, who count from 1."""
    return "".join(f", {word} {place + 1}" for word, place in zip(("step", "number"), at, strict=False))


def shown(value: object, most: int = 40) -> str:
    """A value as a message may quote it: short, on one line."""
    if isinstance(value, int) and value.bit_length() > _LONG_BITS:
        return "a number of very many digits"  # Python refuses to spell the longest ones
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def refusal(faults: list[Fault]) -> InvalidData:
    """The error that carries all `faults`; its sentence is the first one's."""
    first, count = faults[0], len(faults)
    words = first.message if count == 1 else f"{first.message} (and {count - 1} more)"
    return InvalidData(words, hint=first.hint, faults=faults[:MOST_FAULTS])
