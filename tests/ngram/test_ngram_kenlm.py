"""Our models are KenLM's: every entry of its ARPA files, and the perplexities its `query` tells."""

from __future__ import annotations

import numpy as np
import pytest
from ngram_models import golden_arpa, golden_text, model_of, trained

from service.ngram import NgramSpec, Trained
from service.ngram.vocabulary import Vocabulary

# name, training text, order, prune, and what `query` printed for the test text:
# perplexity with and without OOV, how many OOV, how many tokens (tests/golden/ngram_README.md)
MODELS = [
    ("ts_o3", "ts", 3, [], 170.88211753202066, 114.2704222126377, 345, 5294),
    ("ts_o5", "ts", 5, [], 170.4762529940717, 114.04228359073396, 345, 5294),
    ("ts_o3_prune", "ts", 3, [0, 1, 1], 182.16374074371615, 123.94615116993288, 345, 5294),
    ("names_o4", "names", 4, [], 9.665685479458512, 9.665685479458512, 0, 22708),
]


@pytest.mark.parametrize(("name", "text", "order", "prune"), [row[:4] for row in MODELS])
def test_every_entry_of_a_kenlm_arpa_file_is_in_our_model(name: str, text: str, order: int, prune: list[int]) -> None:
    golden = golden_arpa(name)
    last, _ = trained(NgramSpec(order=order, prune=prune), golden_text(f"{text}_train"))
    ours = _entries(last)
    assert ours.keys() == golden.keys()
    assert max(abs(ours[ngram][0] - p) for ngram, (p, _) in golden.items()) < 1e-5
    assert max(abs(ours[ngram][1] - backoff) for ngram, (_, backoff) in golden.items()) < 1e-5


@pytest.mark.parametrize(("name", "text", "order", "prune", "including", "excluding", "oov", "tokens"), MODELS)
def test_perplexities_are_those_of_kenlm_query(
    name: str, text: str, order: int, prune: list[int], including: float, excluding: float, oov: int, tokens: int
) -> None:
    score = model_of(NgramSpec(order=order, prune=prune), golden_text(f"{text}_train")).score(
        golden_text(f"{text}_test")
    )
    assert (score.oov, score.tokens) == (oov, tokens)
    assert score.perplexity == pytest.approx(including, rel=5e-7)
    assert score.perplexity_excluding_oov == pytest.approx(excluding, rel=5e-7)


def _entries(last: Trained) -> dict[tuple[str, ...], tuple[float, float]]:
    """log10 probability and backoff of every n-gram, read from the arrays as the file's description says."""
    arrays, orders = last.arrays, len(last.ngrams)
    vocabulary = Vocabulary(arrays)
    words = [vocabulary.token(number).decode() for number in range(len(vocabulary))]
    level: list[tuple[str, ...]] = [(word,) for word in words]
    logs: list[float] = arrays["1.log10"].tolist()
    first: list[int] = []
    entries: dict[tuple[str, ...], tuple[float, float]] = {}
    for order in range(1, orders + 1):
        if order > 1:
            grams = arrays[f"{order}.grams"][:-1]
            ends = (grams.astype(np.uint32) & 0xFFFFFF).tolist()
            level = [(*level[at], words[ends[w]]) for at in range(len(level)) for w in range(first[at], first[at + 1])]
            logs = grams.view(np.float32)[1::2].tolist()
        contexts = arrays[f"{order}.contexts"] if order < orders else np.zeros(len(level) + 1, np.uint64)
        first = contexts.astype(np.uint32).tolist()
        backoffs = contexts.view(np.float32)[1:-1:2].tolist()
        entries |= dict(zip(level, zip(logs, backoffs, strict=True), strict=True))
    return entries
