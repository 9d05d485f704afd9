"""Where an n-gram stands in the training text."""

from __future__ import annotations

from typing import Any

import pytest
from ngram_models import golden_text

from service.ngram import NgramSpec, Source, find_sources

TEXT = 'to be or not to be\nTo  be\tor\n\nsaid Tom, "to be, or not"\n'


@pytest.mark.parametrize(
    ("spec", "ngram", "expected"),
    [
        ({}, ("to", "be"), [Source(1, "", "to be", " or not to be"), Source(1, "to be or not ", "to be", "")]),
        ({}, ("be", "or"), [Source(1, "to ", "be or", " not to be"), Source(2, "To  ", "be\tor", "")]),
        ({}, ("o", "be"), []),
        ({}, ("<s>", "said"), [Source(4, "", "said", ' Tom, "to be, or not"')]),
        ({}, ("to", "be", "</s>"), [Source(1, "to be or not ", "to be", "")]),
        (
            {"lowercase": True},
            ("<s>", "to", "be"),
            [Source(1, "", "to be", " or not to be"), Source(2, "", "To  be", "\tor")],
        ),
        ({"tokenizer": {"kind": "regex"}}, ("be", ","), [Source(4, 'said Tom, "to ', "be,", ' or not"')]),
        ({"tokenizer": {"kind": "regex"}}, ("To",), [Source(2, "", "To", "  be\tor")]),
        ({"tokenizer": {"kind": "character"}}, ("T", "o", "m"), [Source(4, "said ", "Tom", ', "to be, or not"')]),
        ({"sentences": "paragraph"}, ("or", "</s>"), [Source(2, "To  be\t", "or", "")]),
        ({"sentences": "document"}, ("be", "To"), [Source(1, "to be or not to ", "be\nTo", "  be\tor")]),
        ({}, ("absent",), []),
    ],
)
def test_places_are_found_as_the_model_read_them(
    spec: dict[str, Any], ngram: tuple[str, ...], expected: list[Source]
) -> None:
    assert list(find_sources(NgramSpec.model_validate(spec), TEXT.encode(), ngram)) == expected


def test_lines_are_counted_through_the_whole_text() -> None:
    text = golden_text("ts_train")
    lines = text.decode().split("\n")
    found = list(find_sources(NgramSpec(), text, ("my", "lord"), limit=1000))
    assert len(found) == sum((" " + line + " ").count(" my lord ") for line in lines) > 10
    assert all("my lord" in lines[each.line - 1] for each in found)


def test_no_more_places_than_asked_for() -> None:
    assert len(list(find_sources(NgramSpec(), golden_text("ts_train"), ("the",), limit=2))) == 2
