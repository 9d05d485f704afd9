"""n-gram models of 17 M tokens against NLTK and the kenlm module, and what a request costs; `make bench-text`.

The text is made: the words of tinyshakespeare and of Plato's Republic over and over, each time with one in seven
exchanged, half of those for words of the same texts, half for made-up ones (Zipf, 1/rank). At 17 M tokens that gives a
vocabulary of some 270,000 words and as many different n-grams as a natural text of the size has.

TEXT_TOKENS (17,000,000) says how many. TEXT_FOLDER: where the text and its model are kept for the next call, so that
single figures can be taken without making them again.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import tensors
from service.client import Client
from service.ngram import Model, NgramSpec, Sampling, Trained, export_arpa, plan, train

pytestmark = pytest.mark.benchmark

DATA = Path(__file__).parents[3] / "shared" / "data"
TOKENS = int(os.environ.get("TEXT_TOKENS", "17000000"))
HELD_TOKENS = 1_000_000
MADE_UP, LINE, ORDER = 600_000, 20, 5
NLTK_TOKENS = 100_000


def make(tokens: int, seed: int) -> bytes:
    """A text of so many tokens, 20 a line."""
    real = b" ".join((DATA / f"{name}.txt").read_bytes() for name in ("tinyshakespeare", "plato_republic")).split()
    dice = np.random.default_rng(seed)
    words = np.array([*real, *(b"w%x" % number for number in range(MADE_UP))], object)
    ids = np.resize(np.arange(len(real)), tokens)
    drawn = dice.random(tokens)
    same, new = drawn < 1 / 14, (drawn >= 1 / 14) & (drawn < 1 / 7)
    ids[same] = dice.integers(0, len(real), int(same.sum()))
    zipf = np.cumsum(1 / np.arange(1, MADE_UP + 1))
    ids[new] = len(real) + zipf.searchsorted(dice.random(int(new.sum())) * zipf[-1])
    lines = words[ids[: tokens // LINE * LINE]].reshape(-1, LINE).tolist()
    return b"\n".join(map(b" ".join, lines)) + b"\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DATA.exists():
        pytest.skip("needs the texts of ../shared/data")
    kept = os.environ.get("TEXT_FOLDER")
    found = Path(kept) if kept else tmp_path_factory.mktemp("text")
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="module")
def text(folder: Path) -> Path:
    return kept(folder / f"train-{TOKENS}.txt", lambda path: path.write_bytes(make(TOKENS, 1)))


@pytest.fixture(scope="module")
def held(folder: Path) -> bytes:
    return kept(folder / "held.txt", lambda path: path.write_bytes(make(HELD_TOKENS, 2))).read_bytes()


@pytest.fixture(scope="module")
def model(folder: Path, text: Path) -> Model:
    path = kept(folder / f"model-{TOKENS}", lambda path: alone("training", text, path))
    return Model(tensors.read(path))


def kept(path: Path, make_it: Callable[[Path], object]) -> Path:
    """A file, made if it is not there yet."""
    if not path.exists():
        half = path.with_suffix(".half")
        make_it(half)
        half.rename(path)
    return path


def alone(what: str, *paths: Path) -> dict[str, float]:
    """What a function of this file returns, called in a process of its own, with one thread."""
    code = (
        f"import json, pathlib, bench_text as b; print(json.dumps(b.{what}(*map(pathlib.Path, {[*map(str, paths)]}))))"
    )
    here = Path(__file__).parent
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": f"{here.parents[1]}:{here}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak_bytes() -> int:
    """Of this program alone: ru_maxrss would know of the one that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10  # type: ignore[index]


def training(text: Path, into: Path) -> dict[str, float]:
    before, data = peak_bytes(), text.read_bytes()
    spec = NgramSpec(order=ORDER)
    said = plan(spec, len(data), data[: 1 << 20])
    begun, cpu = time.perf_counter(), time.process_time()
    *_, last = train(spec, data)
    assert isinstance(last, Trained)
    spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
    peak = peak_bytes() - before
    tensors.write(into, last.arrays, last.metadata)
    return {
        "tokens": last.tokens, "vocabulary": last.vocabulary, "ngrams": sum(last.ngrams), "file": into.stat().st_size,
        "wall": spent, "cpu": cpu, "peak": peak, "planned": said.bytes, "planned_tokens": said.tokens,
    }  # fmt: skip


def nltk_training(text: Path) -> dict[str, float]:
    from nltk.lm import KneserNeyInterpolated
    from nltk.lm.preprocessing import padded_everygram_pipeline

    lines = [line.split() for line in text.read_text("utf-8").split("\n")[: NLTK_TOKENS // LINE]]
    begun = time.process_time()
    grams, words = padded_everygram_pipeline(ORDER, lines)
    KneserNeyInterpolated(ORDER).fit(grams, words)
    return {"cpu": time.process_time() - begun, "tokens": sum(map(len, lines))}


def test_training(text: Path, folder: Path) -> None:
    ours, theirs = alone("training", text, folder / "again"), alone("nltk_training", text)
    (folder / "again").unlink()
    tokens = ours["tokens"]
    rate, other = tokens / ours["cpu"], theirs["tokens"] / theirs["cpu"]
    print(f"\ntraining, order {ORDER}, {tokens:,} tokens, {ours['vocabulary']:,} words, {ours['ngrams']:,} n-grams")
    print(f"  {ours['cpu']:.1f} CPU s, {ours['wall']:.1f} s: {rate:,.0f} tokens/s; NLTK {other:,.0f} tokens/s")
    print(f"  {rate / other:.0f} x NLTK (asked 50)")
    print(f"  peak {ours['peak'] / tokens:.0f} bytes a token (asked 110), planned {ours['planned'] / tokens:.0f}")
    assert ours["peak"] < ours["planned"]
    print(f"  file {ours['file'] / ours['ngrams']:.1f} bytes an n-gram (asked 17)")


def test_scoring(folder: Path, model: Model, held: bytes) -> None:
    kenlm = pytest.importorskip("kenlm")
    arpa = kept(folder / f"model-{TOKENS}.arpa", lambda path: written(path, export_arpa(model)))
    theirs = kenlm.Model(str(arpa))
    lines = held.decode().split("\n")[:-1]
    tokens = HELD_TOKENS // LINE * (LINE + 1)
    rates: dict[str, list[float]] = {"ours": [], "kenlm": []}
    for _ in range(3):
        ours, spent = timed(lambda: model.score(held).log10_prob)
        rates["ours"].append(tokens / spent)
        other, spent = timed(lambda: math.fsum(map(theirs.score, lines)))
        rates["kenlm"].append(tokens / spent)
        assert ours == pytest.approx(other, rel=1e-6)
    mine, its = (statistics.median(rates[name]) for name in ("ours", "kenlm"))
    print(f"\nscoring {tokens:,} tokens: {mine:,.0f} tokens/s, kenlm {its:,.0f}: {mine / its:.2f} x (asked 1.0)")


def written(path: Path, pieces: Iterator[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(pieces)


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """What it returns, and its CPU seconds."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def told(name: str, work: Callable[[Any], object], items: Iterable[Any], asked: tuple[float, float]) -> None:
    """Prints how long the work takes, item by item."""
    p50, p99 = np.percentile([clocked(work, each)[1] for each in items], [50, 99]) * 1e3
    print(f"  {name}: p50 {p50:.3f} ms, p99 {p99:.3f} ms (asked {asked[0]:g} / {asked[1]:g})")


def clocked(work: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    begun = time.perf_counter()
    return work(*given), time.perf_counter() - begun


def test_latency(model: Model, held: bytes) -> None:
    """Contexts are lines of the held text cut anywhere, so that many end in words or pairs that are frequent."""
    dice = random.Random(5)
    lines = [line.split() for line in dice.sample(held.decode().split("\n"), 3000) if line]
    contexts = [" ".join(line[: dice.randint(1, LINE)]) for line in lines]
    print(f"\nlatency, {len(model.vocabulary):,} words, {len(contexts)} contexts")
    for each in contexts[:200]:
        model.suggest(each)
    told("suggestions, top 10", model.suggest, contexts, (0.2, 1))
    states = [model.state_after(each) for each in contexts]
    for name, sampling, asked in (
        ("a sampled token", Sampling(), (0.05, 0.5)),
        ("with temperature and top_p", Sampling(0.8, 0.9), (1, 1)),
        ("with temperature", Sampling(0.8), (1, 1)),
        ("with top_k", Sampling(0.8, 1, 50), (1, 1)),
    ):
        told(name, partial(step, model, sampling, dice), states, asked)


def step(model: Model, sampling: Sampling, dice: random.Random, state: Any) -> None:
    model.advance(state, model.distribution(state).sample(sampling, dice))


def test_over_http(serve: Callable[..., Any], text: Path, held: bytes) -> None:
    """The whole way, as a user goes it: upload, plan, job, answers."""
    prompts = [" ".join(line.split()[:8]) for line in held.decode().split("\n")[:500]]
    with Client(serve(None, "--workers", "1").url) as client:
        dataset, uploading = clocked(client.upload, text)
        job = {"type": "ngram", "spec": {"dataset": {"id": dataset["id"]}, "order": ORDER}}
        planned = client.plan(job)
        done, training = clocked(lambda: client.wait(client.submit(job)["id"], timeout_s=300))
        assert done["status"] == "succeeded", done["error"]
        client.publish("text", done["run_id"])
        print(f"\nover HTTP: upload {uploading:.1f} s, job {training:.1f} s, planned {planned['estimated_seconds']} s")
        asked = {"max_tokens": 20, "ignore_end": True}
        _, first = clocked(lambda: client.complete("text", "the", **asked))
        print(f"  first answer after {first * 1e3:.1f} ms")
        told("20 tokens", lambda each: client.complete("text", each, **asked), prompts, (3, 10))
        hot = asked | {"temperature": 0.8, "top_p": 0.9}
        told("with temperature and top_p", lambda each: client.complete("text", each, **hot), prompts[:100], (22, 30))
        told("suggestions", lambda each: client.suggest("text", each), prompts, (2, 5))
