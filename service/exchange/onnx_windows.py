"""ONNX's windows as layers of ours: convolutions and pools, and what may stand around their input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from service.errors import TooLarge
from service.exchange.onnx_flow import LEAST, NOTHING, NUMBERS, ZERO, Call, Row, refused
from service.tensors import Array


def order(rank: int) -> tuple[int, ...]:
    """Channels from second to last."""
    return (0, *range(2, rank), 1)


def second(ids: Array) -> Array:
    """Channels from last to second."""
    return ids.transpose(0, ids.ndim - 1, *range(1, ids.ndim - 1))


def _window(row: Row, call: Call, kernel: tuple[int, ...], around: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """(strides, padding and so on; the space behind it), the input turned; what Pad put around it is `around`."""
    rank, about = len(kernel), call.about
    ids, ahead, behind = unpadded(call, around)
    if ids.ndim != rank + 2 or rank > 3 or not row.turned(ids, order(ids.ndim)):
        raise call.no("its input is not (batch, channels, space) as convolutions have it")
    strides = tuple(about.get("strides", (1,) * rank))
    dilation = tuple(about.get("dilations", (1,) * rank))
    size, reach = row.dims[:-1], [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    before, after = _pads(call, size, reach, strides, ahead, behind)
    each = list(zip(size, before, after, reach, strides, strict=True))
    out = tuple((n + b + a - r) // s + 1 for n, b, a, r, s in each)
    if about.get("ceil_mode"):  # the last window may hang over, but not begin behind the input
        out = tuple(
            o + int((n + b + a - r) % s > 0 and o * s < n + b) for o, (n, b, a, r, s) in zip(out, each, strict=True)
        )
    if min(out) < 1:
        raise call.no("its window is larger than its input")
    return {"strides": strides, "padding": _padding(call, out, each), "dilation": dilation}, out


def padded(node: Any, ids: Array, constants: Mapping[str, Array]) -> Array:
    """Zeros, or what no maximum takes, around what flows; a window that reads it takes them as its own."""
    pads, value, axes = (constants.get(name) for name in (*node.input[1:], *[""] * 3)[:3])
    kind, rank = helper.get_node_attr_value(node, "mode") if node.attribute else b"constant", ids.ndim
    number = 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
    if pads is None or kind != b"constant" or number not in (0.0, -math.inf) or pads.min(initial=0) < 0:
        raise refused(node, "only zeros, or minus infinity for a maximum, may be put around")
    places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes.tolist()]
    widths = [(0, 0)] * rank
    for at, axis in enumerate(places):
        widths[axis] = (int(pads[at]), int(pads[len(places) + at]))
    numbers = math.prod(n + before + after for n, (before, after) in zip(ids.shape, widths, strict=True))
    if numbers > NUMBERS:
        raise TooLarge(f"node {(node.name or node.output[0])[:100]!r} (Pad) makes {numbers:,} numbers")
    return np.pad(ids, widths, constant_values=LEAST if number else ZERO)


def unpadded(call: Call, around: int) -> tuple[Array, list[int], list[int]]:
    """The ids without what a Pad put around them, and how much that was before and behind each axis of space."""
    ids = call.flow.ids
    if (ids >= 0).all() or ids.ndim < 3:
        return ids, [0] * (ids.ndim - 2), [0] * (ids.ndim - 2)
    inside, cut, ahead, behind = ids >= 0, [slice(None)] * ids.ndim, list[int](), list[int]()
    for axis in range(2, ids.ndim):
        places = np.flatnonzero(inside.any(tuple(other for other in range(ids.ndim) if other != axis)))
        cut[axis] = slice(places[0], places[-1] + 1)
        ahead.append(int(places[0]))
        behind.append(ids.shape[axis] - 1 - int(places[-1]))
    kept = ids[tuple(cut)]
    if (kept < 0).any() or not np.isin(ids, [around, *kept.reshape(-1)]).all():
        raise call.no("what was put around its input is not what padding is to it")
    return kept, ahead, behind


def _pads(call: Call, size: Any, reach: Any, strides: Any, ahead: list[int], behind: list[int]) -> tuple[Any, Any]:
    """Zeros before and behind each axis of space: the operator's own and those that a Pad put there."""
    auto, rank = call.about.get("auto_pad", b"NOTSET").decode(), len(size)
    own = list(call.about.get("pads") or [0] * 2 * rank) if auto == "NOTSET" else [0] * 2 * rank
    if auto.startswith("SAME"):
        whole = [n + b + a for n, b, a in zip(size, ahead, behind, strict=True)]
        lacks = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(whole, strides, reach, strict=True)]
        less, more = [lack // 2 for lack in lacks], [lack - lack // 2 for lack in lacks]
        own = [*less, *more] if auto == "SAME_UPPER" else [*more, *less]
    if min(own) < 0:
        raise call.no(f"its padding {own} cuts its input")
    return [a + b for a, b in zip(ahead, own[:rank], strict=True)], [
        a + b for a, b in zip(behind, own[rank:], strict=True)
    ]


def _padding(call: Call, out: tuple[int, ...], each: Sequence[tuple[int, ...]]) -> Any:
    """Our word for it, or zeros a side: the zeros behind matter only by how many positions there are."""
    before = [b for _, b, _, _, _ in each]

    def gives(zeros: list[int], positions: list[int]) -> bool:
        return before == zeros and list(out) == positions

    ceiling = [-(-n // s) for n, _, _, _, s in each]
    lacks = [max((o - 1) * s + r - n, 0) for o, (n, _, _, r, s) in zip(ceiling, each, strict=True)]
    if gives([0] * len(each), [(n - r) // s + 1 for n, _, _, r, s in each]):
        return "valid"
    if gives([lack // 2 for lack in lacks], ceiling):
        return "same"
    if gives(before, [(n + 2 * b - r) // s + 1 for n, b, _, r, s in each]) and all(b < r for _, b, _, r, _ in each):
        return before
    around = [(b, a) for _, b, a, _, _ in each]
    raise call.no(f"its padding {around} is neither valid, same, nor as much behind as before")


def conv(row: Row, call: Call) -> Array:
    weight = call.needed(1)
    if weight.ndim < 3:
        raise call.no("its weight is not (filters, channels, space)")
    about, out = _window(row, call, weight.shape[2:], ZERO)
    bias = call.constant(2)
    layer = {"kind": f"conv{weight.ndim - 2}d", "filters": len(weight), "kernel_size": list(weight.shape[2:]),
             "groups": call.about.get("group", 1), "bias": bias is not None, **about}  # fmt: skip
    row.add(layer, (*out, len(weight)), weight=weight, **({} if bias is None else {"bias": bias}))
    return second(row.fresh())


def pool(kind: str) -> Callable[[Row, Call], Array]:
    def read(row: Row, call: Call) -> Array:
        kernel = tuple(call.about["kernel_shape"])
        about, out = _window(row, call, kernel, LEAST if kind == "max" else NOTHING)
        if max(about.pop("dilation")) > 1 or call.about.get("storage_order"):
            raise call.no("dilated windows are no pool of ours")
        if kind == "average" and about["padding"] != "valid" and call.about.get("count_include_pad"):
            raise call.no("its padding counts (count_include_pad)")
        row.add({"kind": f"{kind}_pool{len(kernel)}d", "pool_size": list(kernel), **about}, (*out, row.dims[-1]))
        return second(row.fresh())

    return read


def global_pool(kind: str) -> Callable[[Row, Call], Array]:
    def read(row: Row, call: Call) -> Array:
        ids, keep = call.flow.ids, True
        axes = tuple(range(2, ids.ndim))
        if call.node.op_type.startswith("Reduce"):
            given, keep = call.constant(1), bool(call.about.get("keepdims", 1))
            told = call.about.get("axes", ()) if given is None else given.reshape(-1).tolist()
            axes = tuple(sorted(int(axis) % ids.ndim for axis in told))
        rest = [axis for axis in range(ids.ndim) if axis not in axes]
        if not axes or len(rest) != 2 or rest[0] != 0 or not row.turned(ids, (0, *axes, rest[1])):
            raise call.no("only all places of a channel together are a layer")
        row.add({"kind": f"global_{kind}_pool"}, (row.dims[-1],))
        return np.expand_dims(row.fresh(), axes) if keep else row.fresh()

    return read
