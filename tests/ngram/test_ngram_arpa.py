"""ARPA files out and in: what KenLM wrote is read, what we write KenLM reads, and faults are named by line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from ngram_models import GOLDEN, golden_arpa, golden_text, model_of

from service.errors import Conflict, InvalidData
from service.ngram import Model, NgramSpec, Reading, Trained, Warned, export_arpa, import_arpa
from service.ngram.tokenizers import Character
from service.tensors import Tensors


def read(lines: list[bytes], **options: Any) -> tuple[Model, list[str]]:
    *events, last = import_arpa(lines, Reading(**options))
    assert isinstance(last, Trained)
    return Model(Tensors(dict(last.arrays), dict(last.metadata))), [e.message for e in events if isinstance(e, Warned)]


def entries(data: bytes) -> dict[tuple[str, ...], tuple[float, float]]:
    fields = [line.split("\t") for line in data.decode().split("\n") if "\t" in line]
    return {tuple(each[1].split(" ")): (float(each[0]), float(each[2]) if each[2:] else 0.0) for each in fields}


@pytest.mark.parametrize("name", ["ts_o3_prune", "names_o4"])
def test_what_kenlm_wrote_is_read_and_written_again(name: str) -> None:
    golden = golden_arpa(name)
    model, warnings = read((gzip.decompress((GOLDEN / f"ngram_{name}.arpa.gz").read_bytes())).splitlines())
    again = entries(b"".join(export_arpa(model)))
    assert again.keys() == golden.keys()
    assert all(again[ngram] == pytest.approx(golden[ngram], abs=1e-6) for ngram in golden)
    assert warnings == []


def test_an_imported_model_scores_as_kenlm() -> None:
    model, _ = read(gzip.decompress((GOLDEN / "ngram_ts_o3.arpa.gz").read_bytes()).splitlines())
    assert model.score(golden_text("ts_test")).perplexity == pytest.approx(170.88211753202066, rel=1e-6)


def test_counts_of_an_imported_model_are_not_known() -> None:
    model, _ = read(gzip.decompress((GOLDEN / "ngram_ts_o3_prune.arpa.gz").read_bytes()).splitlines())
    assert model.explain(model.start(), [1], model.vocabulary.id(b"the")).count is None


def test_texts_are_read_for_an_imported_model_as_for_the_one_it_was() -> None:
    how: dict[str, Any] = {"lowercase": True, "normalize": "nfkc", "sentences": "paragraph"}
    model = model_of(NgramSpec(order=2, **how), "Die Stra\u00dfe\nF\u00fchrt\n\nnach Hause\n" * 3)
    again, _ = read(b"".join(export_arpa(model)).splitlines(), **how)
    text = "DIE STRA\u00dfE\nFU\u0308HRT\n\nnach"
    assert (score := again.score(text)).oov == 0
    assert score.log10_prob == pytest.approx(model.score(text).log10_prob, rel=1e-5)
    assert score.sentences == 2


@pytest.mark.oracle
def test_kenlm_reads_what_we_write(tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm", reason="needs the kenlm package")
    model = model_of(NgramSpec(order=4), golden_text("ts_train"))
    path = tmp_path / "ours.arpa"
    with open(path, "wb") as file:
        file.writelines(export_arpa(model))
    theirs = kenlm.Model(str(path))
    for line in golden_text("ts_test").decode().splitlines()[:200]:
        assert theirs.score(line) == pytest.approx(model.score(line + "\n").log10_prob, abs=1e-3)


def test_blanks_and_line_feeds_of_letters_survive() -> None:
    spec = NgramSpec.model_validate({"order": 3, "tokenizer": {"kind": "character"}, "sentences": "document"})
    model = model_of(spec, "a b\n\u3000雄 a\nb b\n")
    data = b"".join(export_arpa(model))
    assert b"a <0x20> b" in data
    assert b"<0x0A>" in data
    again, _ = read(data.splitlines(), tokenizer=Character())
    assert [again.vocabulary.token(n) for n in range(len(again.vocabulary))] == [
        model.vocabulary.token(n) for n in range(len(model.vocabulary))
    ]
    assert again.log10(again.state_after("a"), again.vocabulary.id(b" ")) == pytest.approx(
        model.log10(model.state_after("a"), model.vocabulary.id(b" ")), abs=1e-6
    )


def test_an_unpruned_export_round_trips_bytes() -> None:
    spec = NgramSpec.model_validate({"order": 3, "tokenizer": {"kind": "byte"}})
    model = model_of(spec, "é <s> x\n")
    data = b"".join(export_arpa(model))
    assert "<0xC3> <0xA9>" in data.decode("utf-8")  # a file that an upload of text takes in again
    again, _ = read(data.splitlines(), tokenizer=spec.tokenizer)
    assert again.sizes() == model.sizes()
    assert again.vocabulary.id(b"\xc3") == model.vocabulary.id(b"\xc3") > 0


ENTROPY_PRUNED = rb"""
\data\
ngram 1=5
ngram 2=2
ngram 3=1

\1-grams:
-1 </s>
-99 <s> -0.3
-0.7 a -0.2
-0.8 b -0.1
-2 <unk>

\2-grams:
-0.3 <s> a -0.05
-0.9 b </s>

\3-grams:
-0.1 <s> a b

\end\
""".strip().splitlines()


def test_suffixes_that_srilm_left_out_are_filled_in() -> None:
    model, warnings = read(ENTROPY_PRUNED)
    assert model.sizes() == (5, 3, 1)  # a b was not in the file
    b = model.vocabulary.id(b"b")
    # log10 p(b | a) = backoff(a) + log10 p(b) = -0.2 - 0.8; after <s> a the trigram says -0.1
    assert model.log10(model.state_after("b a"), b) == pytest.approx(-1.0)
    assert model.log10(model.state_after("a"), b) == pytest.approx(-0.1)
    # after a b nothing is stored: its backoff is 0, then b </s>
    assert model.log10(model.state_after("a b"), 2) == pytest.approx(-0.9)
    assert warnings == []


def test_reserved_words_a_file_lacks_are_added() -> None:
    _, warnings = read(rb"\data\|ngram 1=1||\1-grams:|-0.5 a||\end\|".split(b"|"))
    assert len(warnings) == 1
    assert "<unk>, <s>, </s>" in warnings[0]


@pytest.mark.parametrize(
    ("line", "becomes", "message"),
    [
        (b"ngram 1=5", b"ngram 1=x", "line 2 .*ngram 1"),
        (b"-0.7 a -0.2", b"x a -0.2", "line 9 .*not a number"),
        (b"-0.7 a -0.2", b"-0.7 b -0.2", "line 10 .*before"),
        (b"-0.7 a -0.2", b"nan a -0.2", "not finite"),
        (b"-0.3 <s> a -0.05", b"-0.3 <s> c -0.05", "line 14 .*1-grams"),
        (b"-0.3 <s> a -0.05", b"-0.3 <s> a b -0.05", "line 14 .*2 words"),
        (b"-0.3 <s> a -0.05", b"-0.3 <s> b -0.05", "3-gram whose context"),
        (b"-0.3 <s> a -0.05", b"-0.9 b </s>", "two 2-grams"),
        (rb"\3-grams:", rb"\4-grams:", "line 17 .*3-grams"),
        (b"-0.1 <s> a b", b"", "line 18 "),
        (rb"\data\ ".strip(), b"", "too early: .data. is missing"),
        (b"-0.7 a -0.2", b"0.1 a -0.2", "among the 1-grams above is more than 0"),
        (rb"\end\ ".strip(), b"-0.1 a a b", "expected .*end"),
    ],
)
def test_a_faulty_file_is_refused_naming_the_line(line: bytes, becomes: bytes, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        list(import_arpa([becomes if each == line else each for each in ENTROPY_PRUNED]))


def test_a_file_that_ends_early_is_refused() -> None:
    with pytest.raises(InvalidData, match="too early"):
        list(import_arpa(ENTROPY_PRUNED[:12]))


def test_add_k_has_no_arpa_form() -> None:
    model = model_of(NgramSpec.model_validate({"order": 2, "smoothing": {"kind": "add_k"}}), "a b\n")
    with pytest.raises(Conflict, match="no ARPA form"):
        export_arpa(model)
