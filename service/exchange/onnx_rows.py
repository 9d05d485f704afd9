"""Both ends of a model in ONNX: raw rows to what the network sees, and what it gives to named answers."""

from __future__ import annotations

from onnx import TensorProto

from service.data import (
    MISSING,
    ArrayFeature,
    BinaryTarget,
    CategoryFeature,
    DateFeature,
    Flat,
    LabelsTarget,
    NumberFeature,
    NumberTarget,
    Sequences,
    Target,
    Whole,
)
from service.exchange.graph import LEARNED, Graph, Value
from service.exchange.onnx_dates import date

_ELEMENTS = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32,
}  # fmt: skip
ROWS = "rows"  # the name of the batch axis


def whole(graph: Graph, encoder: Whole) -> Value:
    """One input of the rows as uploaded, scaled as in training; ids stay whole numbers."""
    raw = graph.input(encoder.name, _ELEMENTS[encoder.dtype], [ROWS, *encoder.raw])
    rank = 1 + len(encoder.shape)
    if encoder.raw != encoder.shape:
        raw = graph.one("Reshape", raw, graph.constant([0, *encoder.shape], "int64"))
    if encoder.vocabulary is not None:
        return Value(raw, rank, encoder.vocabulary)
    return scaled(graph, Value(raw, rank), encoder.scale, encoder.offset)


def sequences(graph: Graph, encoder: Sequences) -> Value:
    """An input for each column, (rows, steps, ...): rows that have as many steps as each other, any number of them."""
    if encoder.vocabulary is not None:
        return Value(graph.input(encoder.names[0], TensorProto.INT32, [ROWS, "steps"]), 2, encoder.vocabulary)
    parts = []
    for name, step in zip(encoder.names, encoder.steps, strict=True):
        raw = graph.input(name, TensorProto.DOUBLE, [ROWS, "steps", *step])
        parts.append(raw if step else graph.one("Reshape", raw, graph.constant([0, 0, 1], "int64")))
    joined = parts[0] if len(parts) == 1 else graph.one("Concat", *parts, axis=2)
    distance = graph.one("Sub", joined, graph.constant(encoder.mean, "float64"))
    score = graph.one("Div", distance, graph.constant(encoder.deviation, "float64"))
    return Value(graph.one("Cast", score, to=TensorProto.FLOAT), 3)


def scaled(graph: Graph, x: Value, scale: float, offset: float) -> Value:
    """x * scale + offset as float32."""
    name = graph.one("Cast", x.name, to=TensorProto.FLOAT)
    if (scale, offset) != (1.0, 0.0):
        name = graph.one("Mul", name, graph.constant(scale))
        name = graph.one("Add", name, graph.constant(offset))
    return Value(name, x.rank)


def flat(graph: Graph, encoder: Flat) -> Value:
    """One input a column, (rows, 1): numbers as float64 with NaN for missing, words as strings."""
    pieces: dict[int, str] = {}  # by the slot they begin at
    ends = [*(feature.start for feature in encoder.features[1:]), encoder.width]
    for feature, end in zip(encoder.features, ends, strict=True):
        if isinstance(feature, CategoryFeature):
            pieces[feature.start] = _category(graph, feature, end - feature.start)
        elif isinstance(feature, NumberFeature | DateFeature):
            pieces |= _number(graph, feature, end)
        else:
            pieces[feature.start] = _array(graph, feature)
    name = graph.one("Concat", *(pieces[slot] for slot in sorted(pieces)), axis=1)
    return Value(name, 2)


def _number(graph: Graph, feature: NumberFeature | DateFeature, end: int) -> dict[int, str]:
    """By slot; one that the column has and training did not need is zero."""
    raw = graph.input(feature.name, TensorProto.DOUBLE, [ROWS, 1])
    missing = graph.one("IsNaN", raw)
    if isinstance(feature, DateFeature):
        found = {feature.start: date(graph, feature, raw)}
        indicator = feature.start + len(feature.mean)
    else:
        distance = graph.one("Sub", raw, graph.constant(feature.mean, "float64"))
        score = graph.one("Div", distance, graph.constant(feature.deviation, "float64"))
        fill = 0.0 if feature.fill is None else (feature.fill - feature.mean) / feature.deviation
        filled = graph.one("Where", missing, graph.constant(fill, "float64"), score)
        found = {feature.start: graph.one("Cast", filled, to=TensorProto.FLOAT)}
        indicator = feature.start + 1
    if indicator < end:
        told = missing if feature.indicator is not None else graph.one("Xor", missing, missing)
        found[indicator] = graph.one("Cast", told, to=TensorProto.FLOAT)
    return found


def _array(graph: Graph, feature: ArrayFeature) -> str:
    raw = graph.input(feature.name, TensorProto.DOUBLE, [ROWS, *feature.shape])
    distance = graph.one("Sub", graph.one("Flatten", raw, axis=1), graph.constant(feature.mean, "float64"))
    score = graph.one("Div", distance, graph.constant(feature.deviation, "float64"))
    return graph.one("Cast", score, to=TensorProto.FLOAT)


def _category(graph: Graph, feature: CategoryFeature, slots: int) -> str:
    """A word's slot by a table, then 1 there; a number beyond all slots is none."""
    raw = graph.input(feature.name, TensorProto.STRING, [ROWS, 1])
    table = {word: at for at, word in enumerate(feature.words)}
    table |= dict.fromkeys(sorted(MISSING), slots if feature.missing is None else feature.missing - feature.start)
    code = graph.one(
        "LabelEncoder", raw, domain=LEARNED, keys_strings=list(table), values_int64s=list(table.values()),
        default_int64=slots if feature.other is None else feature.other - feature.start,
    )  # fmt: skip
    hot = graph.one("OneHot", code, graph.constant(slots, "int64"), graph.constant([0.0, 1.0]), axis=-1)
    return graph.one("Flatten", hot, axis=1)


def answers(graph: Graph, y: Value, target: Target) -> None:
    """`values` in the target's own units; or `probabilities`, a column for each class, and the likeliest's `label`.

    Of several labels the probabilities alone.
    """
    if isinstance(target, NumberTarget):
        wide = graph.one("Reshape", y.name, graph.constant([0, len(target.names)], "int64"))
        own = graph.one("Mul", graph.one("Cast", wide, to=TensorProto.DOUBLE),
                        graph.constant(list(target.deviation), "float64"))  # fmt: skip
        values = graph.one("Add", own, graph.constant(list(target.mean), "float64"))
        graph.output("values", values, TensorProto.DOUBLE, [ROWS, len(target.names)])
        return
    name = y.name
    if isinstance(target, BinaryTarget):
        first = graph.one("Sub", graph.constant(1.0), name)
        name = graph.one("Concat", first, name, axis=1)
    graph.output("probabilities", name, TensorProto.FLOAT, [ROWS, len(target.classes)])
    if isinstance(target, LabelsTarget):
        return
    last = int(isinstance(target, BinaryTarget))  # exactly one half is the second
    best = graph.one("ArgMax", name, axis=1, keepdims=0, select_last_index=last)
    label = graph.one(
        "LabelEncoder", best, domain=LEARNED, keys_int64s=list(range(len(target.classes))),
        values_strings=list(target.classes), default_string="",
    )  # fmt: skip
    graph.output("label", label, TensorProto.STRING, [ROWS])
