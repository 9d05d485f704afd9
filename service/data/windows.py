"""A text prepared for a network that foretells each character from those before it."""

from __future__ import annotations

import numpy as np

from service.data.dataset import Dataset
from service.data.description import Description
from service.data.faults import SpecFaults
from service.data.layout import Layout
from service.data.letters import BLOCK, Letters, blocks
from service.data.outline import Outline
from service.data.prepare import Part, Prepared
from service.data.spec import DatasetSpec
from service.data.text_parts import TextParts, text_parts

WINDOW = 50  # characters a row when nothing is said


def holds_text(description: Description, spec: DatasetSpec) -> bool:
    """Whether a network is to learn letters from this data set: a text, or a table whose `column` is named."""
    return description.kind == "text" or spec.column is not None


def outline_letters(
    dataset: Dataset, spec: DatasetSpec, *, validation: Dataset | None = None, test: Dataset | None = None
) -> Outline:
    """What a network will see of a text: rows of `window` characters, and the characters of the training part.

    Raises InvalidSpec with all faults, their pointers from /dataset on.
    """
    return _read(dataset, spec, validation, test)[0]


def prepare_letters(
    dataset: Dataset, spec: DatasetSpec, *, validation: Dataset | None = None, test: Dataset | None = None
) -> Prepared:
    """The parts of a text, in order. x: (rows, window) int32 ids, y the same one character on.

    Row r + 1 goes on where row r ends; what does not fill a last row is left out. Raises InvalidSpec.
    """
    found, letters, parts = _read(dataset, spec, validation, test)
    train, held, last = (_part(letters, text) for text in (parts.train, parts.validation, parts.test))
    assert train is not None
    return Prepared(found, letters, train, held, last, found.warnings)


def _read(
    dataset: Dataset, spec: DatasetSpec, validation: Dataset | None, test: Dataset | None
) -> tuple[Outline, Letters, TextParts]:
    faults = SpecFaults()
    for name in ("target", "features"):
        if getattr(spec, name) is not None:
            message = f"a text has no {name}: a network learns each character from those before it"
            faults.add(f"/dataset/{name}", "not_a_table", message, "leave it out")
    faults.raise_any()
    parts = text_parts(dataset, spec, validation=validation, test=test)
    window = spec.window or WINDOW
    lengths = [0 if text is None else _length(text) for text in (parts.train, parts.validation, parts.test)]
    rows = [max(0, length - 1) // window for length in lengths]
    if not rows[0]:
        message = f"the training part has {lengths[0]:,} characters, too few for a row of {window} and the one after"
        faults.add("/dataset/window", "too_short", message, "take a smaller window")
    faults.raise_any()
    letters = Letters.of(parts.train, window)
    warnings = [*parts.warnings]
    warnings += [
        f"the {name} part is shorter than one row of {window} characters and is left out"
        for name, length, count in zip(("validation", "test"), lengths[1:], rows[1:], strict=True)
        if length and not count
    ]
    size, shape = letters.vocabulary, (window,)
    found = Outline(
        spec.model_copy(update={"window": window}), shape, "int32", size, size, None, rows[0], rows[1], rows[2],
        bytes=4 * sum(lengths), warnings=tuple(warnings), layout=Layout(shape, "int32", size, True, ()), target="class",
    )  # fmt: skip
    return found, letters, parts


def _part(letters: Letters, text: memoryview | None) -> Part | None:
    """x and y are views of the same ids; None for a text without a row."""
    if text is None or not (rows := max(0, _length(text) - 1) // letters.window):
        return None
    ids = np.concatenate([letters.encode(block) for block in blocks(text)])
    shape, used = (rows, letters.window), rows * letters.window
    return Part(ids[:used].reshape(shape), ids[1 : used + 1].reshape(shape), np.arange(rows))


def _length(text: memoryview) -> int:
    """How many characters: bytes that go on with one are not counted."""
    data = np.frombuffer(text, np.uint8)
    return sum(int(np.count_nonzero((data[at : at + BLOCK] & 0xC0) != 0x80)) for at in range(0, len(data), BLOCK))
