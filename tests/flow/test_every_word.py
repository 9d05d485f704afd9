"""Every word of the engine is taken as JSON by a running server, trained by its worker, and explained in OpenAPI."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import Client

Json = dict[str, Any]
SHAPED = ("layers", "loss", "augmentation")
SOURCE = re.compile(r"[A-Z]\w+ (et al\. )?(1[7-9]|20)\d\d\b|(PyTorch|NumPy)'s \w+")
SOFTMAX = {"kind": "dense", "units": 3, "activation": "softmax"}


def word(kind: str, **given: Any) -> Json:
    return {"kind": kind, **given}


def tables() -> dict[str, Json]:
    """Rows of four numbers, and of what they are to give: a number, a yes or no, three probabilities."""
    dice = random.Random(1)
    found: dict[str, list[Json]] = {"number": [], "binary": [], "distribution": []}
    for _ in range(60):
        x = {f"x{i}": dice.gauss(0, 1) for i in range(4)}
        found["number"].append(x | {"y": x["x0"] - x["x1"]})
        found["binary"].append(x | {"y": int(x["x0"] > 0)})
        share = 1 / (1 + math.exp(-x["x0"]))
        found["distribution"].append(x | {"p": share / 2, "q": 0.5, "r": (1 - share) / 2})
    targets: Json = {"number": "y", "binary": "y", "distribution": ["p", "q", "r"]}
    features = [f"x{i}" for i in range(4)]
    return {
        kind: {"rows": rows, "features": features, "target": targets[kind], "validation": 0.3}
        for kind, rows in found.items()
    }


def pictures() -> Iterator[Json]:
    block = [word("conv2d", filters=4, kernel_size=3, padding="same"), word("batch_norm"), word("leaky_relu")]
    flat = [
        word("conv2d", filters=4, kernel_size=3, strides=2, groups=2),
        word("max_pool2d", pool_size=2, strides=1), word("average_pool2d", pool_size=2), word("dropout", rate=0.2),
    ]  # fmt: skip
    first = word("conv2d", filters=4, kernel_size=3, dilation=2, padding="same", activation="relu")
    deep = [
        word("reshape", shape=[4, 4, 2, 2]), word("conv3d", filters=2, kernel_size=2),
        word("max_pool3d", pool_size=[2, 1, 1]), word("average_pool3d", pool_size=[1, 2, 1]), word("global_max_pool"),
    ]  # fmt: skip
    many = [
        word("flip"), word("shift", pixels=1), word("rotate", degrees=10.0), word("zoom", amount=0.1), word("noise"),
        word("cutout", pixels=2), word("mixup"),
    ]  # fmt: skip
    scores = ["accuracy", "top_3_accuracy", "top_5_accuracy", "precision", "recall", "f1", "auc"]
    dataset, end = {"sample": "digits", "validation": 0.2}, {"kind": "dense", "units": 10}
    yield {
        "dataset": dataset,
        "network": {"layers": [first, word("residual", layers=block), *flat, word("flatten"), end]},
        "loss": word("cross_entropy", label_smoothing=0.1, class_weights=[1.0] * 9 + [2.0]),
        "optimizer": word("sgd", momentum=0.9, nesterov=True, schedule=word("step"), clip_norm=1.0),
        "training": {"augmentation": many},
        "metrics": scores,
    }
    yield {
        "dataset": dataset,
        "network": {"layers": [*deep, end]},
        "loss": word("cross_entropy"),
        "optimizer": word("adamw", schedule=word("cosine", warmup_steps=2)),
        "metrics": ["perplexity", "bits_per_character"],
    }


def columns() -> Iterator[Json]:
    """Four numbers a row, through every activation; all losses but that of the classes."""
    table = tables()
    starts = ("glorot", "he", "orthogonal", "zeros")
    lines: list[Json] = [word("dense", units=8, initial=start) for start in starts]
    plain = ("sigmoid", "tanh", "relu", "elu", "silu", "softplus", "softmax", "log_softmax", "layer_norm")
    lines += [word(kind) for kind in plain]
    lines += [word("gelu"), word("gelu", approximate="tanh"), word("swiglu"), word("leaky_relu", slope=0.2)]
    one = [*lines, word("dense", units=1)]
    for loss, optimizer in (
        ("squared_error", word("gradient_descent", schedule=word("exponential"), l1=0.01)),
        ("absolute_error", word("adagrad", schedule=word("reduce_on_plateau"), clip_value=1.0)),
        ("huber", word("rmsprop", schedule=word("constant", warmup_steps=3), weight_decay=0.01)),
    ):
        yield {
            "dataset": table["number"], "network": {"layers": one}, "loss": word(loss), "optimizer": optimizer,
            "metrics": ["mae", "rmse", "r2"],
        }  # fmt: skip
    for loss in ("binary_cross_entropy", "hinge"):
        yield {"dataset": table["binary"], "network": {"layers": one}, "loss": word(loss), "optimizer": word("adam")}
    yield {"dataset": table["distribution"], "network": {"layers": [*lines, SOFTMAX]}, "loss": word("kl_divergence"),
           "optimizer": word("adam"), "dtype": "float64", "training": {"shuffle": False}}  # fmt: skip


def series(client: Client, folder: Path) -> Iterator[Json]:
    dice = np.random.default_rng(2)
    x = dice.standard_normal((60, 8, 2)).astype(np.float32)
    np.savez(folder / "series.npz", x=x, y=(x.sum(axis=(1, 2)) > 0).astype(np.int64))
    layers = [
        word("conv1d", filters=4, kernel_size=3, padding="same"), word("max_pool1d", pool_size=2, strides=1),
        word("average_pool1d", pool_size=2, strides=1),
        word("bidirectional", layer=word("lstm", units=3)), word("simple_rnn", units=4),
        word("lstm", units=4, recurrent_dropout=0.2), word("gru", units=4), word("global_average_pool"),
        word("dense", units=2, activation="softmax"),
    ]  # fmt: skip
    yield {
        "dataset": {"id": client.upload(folder / "series.npz")["id"], "target": "y"},
        "network": {"layers": layers},
        "loss": word("cross_entropy"),
        "optimizer": word("adam"),
        "training": {"augmentation": [word("jitter"), word("scaling"), word("time_mask", steps=3)]},
    }
    letters = [word("embedding", units=4), word("gru", units=4), word("dense", units=6)]
    text = client.upload_text("abc cab bca\n" * 40, "letters.txt")["id"]
    yield {"dataset": {"id": text, "window": 10}, "network": {"layers": letters}, "optimizer": word("adam")}


def kinds(value: Any) -> set[str]:
    """Every word said anywhere in a spec, as an object or as the name of an activation."""
    if isinstance(value, dict):
        own = {value["kind"]} if "kind" in value else set()
        named = value.get("activation")
        return own.union({named} if isinstance(named, str) else (), *(kinds(each) for each in value.values()))
    return set().union(*(kinds(each) for each in value)) if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(None, "--workers", "1")


@pytest.fixture(scope="module")
def schemas(server: Any) -> dict[str, Json]:
    found: dict[str, Json] = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    return found


def words(schemas: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """The schema of every word by the field where it may stand."""
    places = {
        "layers": schemas["NetworkSpec"]["properties"]["layers"]["items"],
        "loss": schemas["TrainSpec"]["properties"]["loss"],
        "optimizer": schemas["TrainSpec"]["properties"]["optimizer"],
        "schedule": schemas["Adam"]["properties"]["schedule"],
        "augmentation": schemas["TrainingSpec"]["properties"]["augmentation"]["items"],
    }
    found = {}
    for place, schema in places.items():
        union = next((each for each in schema.get("anyOf", []) if "discriminator" in each), schema)
        mapping = union["discriminator"]["mapping"]
        found[place] = {kind: schemas[reference.rsplit("/", 1)[1]] for kind, reference in mapping.items()}
    return found


def test_every_word_that_the_server_knows_is_trained(server: Any, schemas: dict[str, Json], tmp_path: Path) -> None:
    with Client(server.url) as client:
        specs = [*pictures(), *columns(), *series(client, tmp_path)]
        known = {kind for place in words(schemas).values() for kind in place}
        assert known - set().union(*(kinds(spec) for spec in specs)) == set()
        for spec in specs:
            spec["training"] = {"epochs": 2, "batch_size": 32, "max_steps": 2} | spec.get("training", {})
        jobs = [client.submit({"type": "train", "spec": spec})["id"] for spec in specs]
        for spec, job in zip(specs, jobs, strict=True):
            done = client.wait(job, timeout_s=60)
            assert done["status"] == "succeeded", (done["error"], spec["network"])
            told = client.metrics(done["run_id"])
            assert {f"val_{name}" for name in spec.get("metrics", ())} <= set(told)
            assert told["train_loss"]["nonfinite"] == 0


def test_every_word_tells_its_formula_its_shapes_and_its_source(schemas: dict[str, Json]) -> None:
    for place, found in words(schemas).items():
        for kind, schema in found.items():
            told = schema["description"]
            assert re.search(r"=|\bmean of\b", told), f"{kind}: no formula"
            assert SOURCE.search(told), f"{kind}: no source"
            if place in SHAPED:
                assert re.search(r"\((batch|time|height), ", told), f"{kind}: no shapes"
