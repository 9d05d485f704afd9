"""What the demo tells, from the first upload to the last address."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from httpx import HTTPError
from rich.console import Console
from rich.markup import escape

from service.client import FINAL, ApiError, Client
from service.demo import material, screen
from service.demo.server import Server, running
from service.errors import ServiceError

DATA_DIR = Path("netwright-data") / "demo"
PROMPTS = ("The following", "An instance of a class", "The value of")
_POLL_S = 0.1
_SHOWN = 8
_MISTAKES_SHOWN = 2

Document = dict[str, Any]


def main(arguments: argparse.Namespace) -> int:
    """Tells everything; in a terminal the server then stays until it is interrupted."""
    stays = sys.stdout.isatty() and sys.stdin.isatty() and not arguments.once
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    out = screen.console()
    try:
        with _folder(stays) as folder, running(folder) as server, Client(server.url) as client:
            with spoken(server):
                tell(out, client, server)
            if stays:
                out.print("\nThe server stays until you press Ctrl-C.")
                server.process.wait()
            else:
                out.print("\nThis server ends here; one that stays is `netwright demo` in a terminal.")
    except KeyboardInterrupt:
        out.print("\nStopped.")
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _folder(stays: bool) -> Iterator[Path]:
    """A folder that can be looked into later, when the server stays; else one that goes with it."""
    if stays:
        yield DATA_DIR
        return
    with TemporaryDirectory(prefix="netwright-demo-") as folder:
        yield Path(folder)


@contextmanager
def spoken(server: Server) -> Iterator[None]:
    """Turns what the server refused, or its silence, into one sentence and the end of its log."""
    try:
        yield
    except (ApiError, HTTPError) as error:
        raise ServiceError(f"the server did not do as asked: {error}", hint=server.last_words()) from error


def tell(out: Console, client: Client, server: Server) -> None:
    """The story: upload, train, predict, complete, go on."""
    out.print(f"[bold]netwright[/] on {server.url}, up after {server.started_s:.1f} s\n")
    learned, kept = material.digits()
    images = client.upload(material.write_digits(learned, server.data_dir / "digits.npz"))
    text = client.upload(material.write_reference(server.data_dir / "python.txt"))
    out.print(f"uploaded  {len(learned):,} handwritten digits, 8 x 8; {len(kept)} more are kept back")
    out.print(f"uploaded  the reference of Python's language, {text['bytes']:,} bytes\n")
    jobs = {"network": client.submit(network_job(images["id"])), "text": client.submit(text_job(text["id"]))}
    runs = watch(out, client, {name: job["id"] for name, job in jobs.items()})
    ask_digits(out, client, runs["network"], kept)
    ask_text(out, client, runs["text"])
    go_on(out, client, runs)


def network_job(dataset_id: str) -> Document:
    """A network that sees 8 x 8 pixels and names a digit."""
    layers = [
        {"kind": "flatten"},
        {"kind": "dense", "units": 256, "activation": "relu"},
        {"kind": "dropout", "rate": 0.3},
        {"kind": "dense", "units": 128, "activation": "relu"},
        {"kind": "dense", "units": 10, "activation": "softmax"},
    ]
    spec = {
        "dataset": {"id": dataset_id, "target": "label", "validation": 0.1, "split_seed": 7},
        "network": {"layers": layers},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": 0.001},
        "training": {"epochs": 100, "batch_size": 32, "seed": 1},
        "metrics": ["accuracy"],
    }
    return {"type": "train", "name": "digits", "tags": ["demo"], "spec": spec}


def text_job(dataset_id: str) -> Document:
    """A model of five words at a time."""
    spec = {
        "dataset": {"id": dataset_id, "validation": 0.05},
        "order": 5,
        "tokenizer": {"kind": "word"},
        "sentences": "paragraph",
    }
    return {"type": "ngram", "name": "python", "tags": ["demo"], "spec": spec}


def watch(out: Console, client: Client, jobs: Mapping[str, str]) -> dict[str, str]:
    """Shows the jobs until all have ended; returns their runs. Raises ServiceError when one failed."""
    begin = time.monotonic()
    with screen.Bars(out) as bars:
        waiting = dict(jobs)
        while waiting:
            for name, job_id in list(waiting.items()):
                job = client.job(job_id)
                bars.show(name, job["progress"], said(job, client.metrics(job["run_id"])))
                if job["status"] in FINAL:
                    del waiting[name]
            time.sleep(_POLL_S if waiting else 0)
    ended = {name: client.job(job_id) for name, job_id in jobs.items()}
    for name, job in ended.items():
        if job["status"] != "succeeded":
            error = job["error"] or {}
            raise ServiceError(f"the {name} job {job['status']}: {error.get('message')}", hint=error.get("hint"))
    out.print(f"\ntrained   both in {time.monotonic() - begin:.1f} s\n")
    return {name: job["run_id"] for name, job in ended.items()}


def said(job: Document, metrics: Document) -> str:
    """A job in few words: its scores when it has any, else its phase."""
    words = {"train_loss": "loss {:.4f}", "val_accuracy": "accuracy {:.1%}", "val_perplexity": "perplexity {:.1f}"}
    scores = [form.format(metrics[name]["last"]) for name, form in words.items() if name in metrics]
    return "  ".join(scores) or str(job["phase"])


def ask_digits(out: Console, client: Client, run: str, kept: material.Digits) -> None:
    """Lets the model name the digits that were kept back, and counts."""
    answers = client.predict(run, [{"image": image.tolist()} for image in kept.image])
    truths = [str(label) for label in kept.label]
    labels = [answer["label"] for answer in answers]
    wrong = [i for i, truth in enumerate(truths) if labels[i] != truth]
    right = len(truths) - len(wrong)
    accuracy = f"{100 * right / len(truths):.1f} %"
    out.print(f"[bold]{accuracy}[/] of {len(truths)} digits it never saw are named right\n")
    mistakes = wrong[:_MISTAKES_SHOWN]
    shown = [i for i in range(len(truths)) if i not in wrong][: _SHOWN - len(mistakes)] + mistakes
    screen.gallery(out, [kept.image[i] for i in shown], [truths[i] for i in shown], [answers[i] for i in shown])
    out.print()
    screen.confusion(out, truths, labels)


def ask_text(out: Console, client: Client, run: str) -> None:
    """Lets the model go on with a few words."""
    out.print("\nPython's reference, as the model would go on with it:\n")
    for seed, prompt in enumerate(PROMPTS):
        (text,) = client.complete(run, prompt, max_tokens=24, temperature=0.7, seed=seed)
        space = " " if text[:1].isspace() else ""
        screen.indented(out, f"[bold]{prompt}[/]{space}{escape(' '.join(text.split()))}")


def go_on(out: Console, client: Client, runs: Mapping[str, str]) -> None:
    """Gives both models a name, and addresses for the next steps."""
    for name, run in runs.items():
        client.publish(name, run)
    out.print("\nBoth models have a name now. Go on, in a browser and in another terminal:\n")
    asked = json.dumps({"model": "text", "prompt": "A function", "max_tokens": 20})
    lines = (
        f"{client.url}/      curves, and a digit to draw",
        f"{client.url}/docs  the API",
        f"curl {client.url}/v1/models/network",
        f"curl {client.url}/v1/runs/{runs['network']}/metrics",
        f"curl {client.url}/v1/completions \\",
        "  -H 'content-type: application/json' \\",
        f"  -d '{asked}'",
    )
    for line in lines:
        out.print(f"  {line}", soft_wrap=True, markup=False)
