"""A trained network in one file: needs Python and NumPy, nothing else. Written by netwright.

python model.py rows.json        predictions of a JSON list of rows, as `POST /v1/models/{ref}/predict` gives them
from model import predict        predict([{"age": 41, "city": "Rome"}, ...])
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

MODEL = ""  # the model's safetensors file in base 85


@cache
def opened() -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays by PyTorch's names, what the model says of itself)."""
    data = base64.b85decode(MODEL)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    told = json.loads(header.pop("__metadata__")["model"])
    types = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4"}
    arrays = {}
    for name, each in header.items():
        start, end = each["data_offsets"]
        raw = data[8 + size + start : 8 + size + end]
        arrays[name] = np.frombuffer(raw, types[each["dtype"]]).reshape(each["shape"])
    return arrays, told


# --- layers: x is (batch, ...), channels last -----------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def erf(x: Any) -> Any:
    return np.array([math.erf(v) for v in x.ravel().tolist()]).reshape(x.shape).astype(x.dtype)


def gelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def swiglu(x: Any) -> Any:
    gate, value = np.split(x, 2, -1)
    return gate * sigmoid(gate) * value


ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sigmoid": lambda x, _: sigmoid(x),
    "tanh": lambda x, _: np.tanh(x),
    "relu": lambda x, _: np.maximum(x, 0),
    "leaky_relu": lambda x, s: np.where(x > 0, x, s["slope"] * x),
    "elu": lambda x, s: np.where(x > 0, x, s["alpha"] * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x, s: gelu(x, s["approximate"]),
    "silu": lambda x, _: x * sigmoid(x),
    "softplus": lambda x, _: np.logaddexp(x, 0),
    "softmax": lambda x, _: softmax(x),
    "log_softmax": lambda x, _: log_softmax(x),
    "swiglu": lambda x, _: swiglu(x),
}  # fmt: skip


def windows(x: Any, kernel: Any, strides: Any, dilation: Any, padding: Any, fill: float) -> Any:
    """(batch, *positions, channels, *kernel), a view of the padded input."""
    space, pads = x.shape[1:-1], []
    told = [0 if isinstance(padding, str) else padding] * len(space) if not isinstance(padding, list) else padding
    for n, k, s, d, p in zip(space, kernel, strides, dilation, told, strict=True):
        lack = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) if padding == "same" else 2 * p
        pads.append((lack // 2, lack - lack // 2))
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(1, x.ndim - 1)))
    at = (slice(None), *(slice(None, None, s) for s in strides), slice(None), *(slice(None, None, d) for d in dilation))
    return seen[at]


def conv(x: Any, s: Any, w: Any) -> Any:
    kernel, groups = s["kernel_size"], s["groups"]
    seen = windows(x, kernel, s["strides"], s["dilation"], s["padding"], 0.0)
    rank, each = len(kernel), x.shape[-1] // groups
    parts = []
    for g, weight in enumerate(np.split(w["weight"], groups)):
        mine = seen[(slice(None),) * (rank + 1) + (slice(g * each, (g + 1) * each),)]
        parts.append(np.tensordot(mine, weight, (range(rank + 1, 2 * rank + 2), range(1, rank + 2))))
    return np.concatenate(parts, -1) + w.get("bias", 0)


def pool(x: Any, s: Any, fill: float, reduce: Any) -> Any:
    size = s["pool_size"]
    seen = windows(x, size, s["strides"] or size, [1] * len(size), s["padding"], fill)
    return reduce(seen, axis=tuple(range(-len(size), 0)))


def recurrent(x: Any, s: Any, w: Any, back: str = "") -> Any:
    """Every step's state; with `back` the sequence is read from its end."""
    if back:
        x = x[:, ::-1]
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w_i, w_h, b_i, b_h = (w[name + back] for name in names)
    h = c = np.zeros((len(x), s["units"]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        a, u = x[:, t] @ w_i.T + b_i, h @ w_h.T + b_h
        if s["kind"] == "simple_rnn":
            h = np.tanh(a + u)
        elif s["kind"] == "lstm":
            i, f, g, o = np.split(a + u, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (ar, az, an), (ur, uz, un) = np.split(a, 3, -1), np.split(u, 3, -1)
            z = sigmoid(az + uz)
            h = (1 - z) * np.tanh(an + sigmoid(ar + ur) * un) + z * h
        states.append(h)
    if s["output"] == "last":
        return h
    return np.stack(states[::-1] if back else states, 1)


def batch_norm(x: Any, s: Any, w: Any) -> Any:
    return (x - w["running_mean"]) * (w["weight"] / np.sqrt(w["running_var"] + s["epsilon"])) + w["bias"]


def layer_norm(x: Any, s: Any, w: Any) -> Any:
    z = x - x.mean(-1, keepdims=True)
    return z / np.sqrt((z * z).mean(-1, keepdims=True) + s["epsilon"]) * w["weight"] + w["bias"]


def bidirectional(x: Any, s: Any, w: Any) -> Any:
    return np.concatenate([recurrent(x, s["layer"], w), recurrent(x, s["layer"], w, "_reverse")], -1)


def max_pool(x: Any, s: Any, w: Any) -> Any:
    return pool(x, s, -np.inf, np.max)


def average_pool(x: Any, s: Any, w: Any) -> Any:
    return pool(x, s, np.nan, np.nanmean)  # padding does not count


RANKS = ("1d", "2d", "3d")
LAYERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "dense": lambda x, s, w: x @ w["weight"].T + w.get("bias", 0),
    **{f"conv{rank}": conv for rank in RANKS},
    **{f"max_pool{rank}": max_pool for rank in RANKS},
    **{f"average_pool{rank}": average_pool for rank in RANKS},
    "global_max_pool": lambda x, s, w: x.max(tuple(range(1, x.ndim - 1))),
    "global_average_pool": lambda x, s, w: x.mean(tuple(range(1, x.ndim - 1))),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "embedding": lambda x, s, w: w["weight"][x],
    **dict.fromkeys(("simple_rnn", "lstm", "gru"), recurrent),
    "bidirectional": bidirectional,
    "flatten": lambda x, s, w: x.reshape(len(x), -1),
    "reshape": lambda x, s, w: x.reshape(len(x), *s["shape"]),
    "dropout": lambda x, s, w: x,
    "residual": lambda x, s, w: x + network(x, s["layers"], w, None),
}


def apply(x: Any, s: Any, w: Any, vocabulary: int | None) -> Any:
    """One layer, without its activation; ids are read as rows of one 1 where numbers are wanted."""
    if s["kind"] in ACTIVATIONS:
        return ACTIVATIONS[s["kind"]](x, s)
    if vocabulary is not None and s["kind"] in ("simple_rnn", "lstm", "gru", "bidirectional"):
        x = np.eye(vocabulary, dtype=np.float32)[x]
    return LAYERS[s["kind"]](x, s, w)


def network(x: Any, layers: Any, weights: Any, vocabulary: int | None) -> Any:
    """The layers one after the other; a layer's weights begin with its number."""
    for at, layer in enumerate(layers):
        own = {name.partition(".")[2]: w for name, w in weights.items() if name.partition(".")[0] == str(at)}
        x = apply(x, layer, own, vocabulary)
        activation = layer.get("activation")
        x = ACTIVATIONS[activation["kind"]](x, activation) if activation else x
        vocabulary = vocabulary if layer["kind"] in ("reshape", "dropout") else None
    return x


# --- rows in, answers out -------------------------------------------------------------------------------------

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")


def encode(rows: Any, told: Any) -> Any:
    """What the network sees of rows: objects by column, lists in the columns' order, or the arrays themselves.

    Of sequences of any length a list, (1, steps, ...) each.
    """
    how = told["preprocessor"]["encoder"]
    if how["kind"] == "sequences":
        return [encode_sequence(row, how) for row in rows]
    if how["kind"] == "whole":
        rows = [row[how["name"]] if isinstance(row, dict) else row for row in rows]
        x = np.array(rows, how["dtype"]).reshape(len(rows), *how["shape"])
        return x if how["vocabulary"] is not None else x.astype(np.float32) * how["scale"] + how["offset"]
    x, lone = np.zeros((len(rows), how["width"])), [each["type"] for each in how["features"]] == ["array"]
    for i, row in enumerate(rows):
        if lone and isinstance(row, list) and not (len(row) == 1 and isinstance(row[0], list)):
            row = [row]
        for at, feature in enumerate(how["features"]):
            place(x[i], feature, row[feature["name"]] if isinstance(row, dict) else row[at])
    return x.astype(np.float32)


def encode_sequence(row: Any, how: Any) -> Any:
    """(1, steps, ...) of a row of any length: an object by column, a list of the columns', or the only column's."""
    names = how["names"]
    if isinstance(row, dict):
        row = [row[name] for name in names]
    elif len(names) == 1:
        row = [row]
    parts = [np.array(part, float).reshape(len(part), -1) for part in row]
    if how["vocabulary"] is not None:
        return parts[0].astype(int).reshape(1, -1)
    x = (np.concatenate(parts, 1) - np.array(how["mean"])) / np.array(how["deviation"])
    return x.astype(np.float32)[None]


def place(x: Any, feature: Any, value: Any) -> None:
    """Writes one value of a row where it belongs."""
    start = feature["start"]
    if feature["type"] == "category":
        word = as_word(value, feature["words"])
        known = feature["words"].index(word) + start if word in feature["words"] else feature["other"]
        check_fills(feature, word not in MISSING or not feature.get("drops"))
        slot = feature["missing"] if word in MISSING else known
        if slot is not None:
            x[slot] = 1.0
    elif feature["type"] == "array":
        flat = np.array(value, float).ravel()
        x[start : start + flat.size] = (flat - feature["mean"]) / feature["deviation"]
    else:
        place_number(x, feature, value)


def place_number(x: Any, feature: Any, value: Any) -> None:
    """The same of a number or a date, or of what stands for a missing one."""
    if isinstance(value, str):
        value = None if value.strip() in MISSING else seconds(value)
    if value is None or value != value:
        check_fills(feature, feature["fills"])
        if feature["indicator"] is not None:
            x[feature["indicator"]] = 1.0
        value = feature.get("fill")
    if value is not None:
        numbers = dated(value, feature) if feature["type"] == "date" else [value]
        start = feature["start"]
        x[start : start + len(numbers)] = (np.array(numbers) - feature["mean"]) / feature["deviation"]


def check_fills(feature: Any, fills: bool) -> None:
    if not fills:
        raise ValueError(f"{feature['name']} is missing, and the model was not trained on such rows")


def seconds(word: str) -> float:
    """Of an ISO 8601 date, since 1970, UTC where it has no zone."""
    word = word.strip()
    when = datetime.fromisoformat(word + "-01" if len(word) == len("2024-01") else word)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def dated(since: float, feature: Any) -> list[float]:
    """The parts of a date that the model learned from."""
    when = datetime(1970, 1, 1) + timedelta(seconds=math.floor(since))
    parts = {"year": when.year, "month": when.month, "day": when.day, "weekday": when.weekday(), "hour": when.hour,
             "minute": when.minute, "time": since}  # fmt: skip
    turns = {"month": 12, "day": 31, "weekday": 7, "hour": 24, "minute": 60}
    found: list[float] = []
    for part in feature["parts"]:
        if feature["encoding"] == "cyclic" and part in turns:
            turn = (parts[part] - (part in ("month", "day"))) * (2 * math.pi / turns[part])
            found += [math.sin(turn), math.cos(turn)]
        else:
            found.append(parts[part])
    return found


def as_word(value: Any, words: Any) -> str:
    """Numbers, true and false count as the words that a CSV has for them; nothing is the empty word."""
    if isinstance(value, bool):
        return next((word for word in (str(value), str(value).lower()) if word in words), str(value))
    if isinstance(value, float) and value == math.floor(value):
        value = int(value)
    return "" if value is None else str(value).strip()


def outputs(x: Any) -> Any:
    """What the network gives for encoded rows, its last activation applied."""
    if isinstance(x, list):
        return np.concatenate([outputs(row) for row in x])
    weights, told = opened()
    layers, encoder = told["network"]["layers"], told["preprocessor"].get("encoder", {})
    letters = told["preprocessor"].get("characters")
    vocabulary = encoder.get("vocabulary") if letters is None else len(letters) + 1
    y = network(x, layers, weights, vocabulary)
    return ACTIVATIONS[told["finish"]](y, {}) if told["finish"] else y


def labelled(likely: dict[str, float]) -> dict[str, Any]:
    """Of several labels those that are likelier than not."""
    ranked = sorted(likely, key=lambda name: -likely[name])
    return {"labels": [name for name in ranked if likely[name] >= 0.5], "probabilities": {n: likely[n] for n in ranked}}


def predict(rows: Any) -> Any:
    """Named answers, one for each row."""
    told = opened()[1]
    target, y = told["preprocessor"]["target"], outputs(encode(rows, told))
    if target["kind"] == "number":
        values = y.reshape(len(y), -1) * np.array(target["deviation"]) + np.array(target["mean"])
        if len(target["names"]) == 1:
            return [{"value": value} for value in values[:, 0].tolist()]
        return [{"values": dict(zip(target["names"], row, strict=True))} for row in values.tolist()]
    names = target["classes"]
    if target["kind"] == "labels":
        return [labelled(dict(zip(names, row, strict=True))) for row in y.tolist()]
    if target["kind"] == "binary":
        y = np.concatenate([1 - y.reshape(-1, 1), y.reshape(-1, 1)], 1)[:, ::-1]
        names = names[::-1]
    order = np.argsort(-y, axis=1, kind="stable")
    ranked = [{names[at]: float(row[at]) for at in by} for row, by in zip(y, order, strict=True)]
    return [{"label": next(iter(p)), "probability": next(iter(p.values())), "probabilities": p} for p in ranked]


def main() -> None:
    """Reads the rows of a JSON file, or of standard input, and writes the predictions."""
    with open(sys.argv[1], encoding="utf-8") if len(sys.argv) > 1 else sys.stdin as source:
        json.dump({"predictions": predict(json.load(source))}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
