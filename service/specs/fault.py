"""What pydantic found wrong, said as faults: a pointer into the document as it was sent, a code, a hint."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from service.errors import Fault
from service.specs.advice import as_object, home, meant

Annotation: TypeAlias = Any
_CODES = {
    "extra_forbidden": "unknown_field", "missing": "missing", "union_tag_not_found": "missing",
    "union_tag_invalid": "unknown_kind", "literal_error": "unknown_word", "json_invalid": "invalid_json",
    "finite_number": "not_finite", "value_error": "invalid_value", "assertion_error": "invalid_value",
    "greater_than": "out_of_range", "greater_than_equal": "out_of_range", "less_than": "out_of_range",
    "less_than_equal": "out_of_range", "too_long": "out_of_range", "too_short": "out_of_range",
    "string_too_long": "out_of_range", "string_too_short": "out_of_range", "string_pattern_mismatch": "invalid_value",
}  # fmt: skip
_END = {"too_short": "least", "too_long": "most"}
_OBJECTS = ("model_type", "model_attributes_type", "dict_type")
_NO_ID = "is no id of that kind"
_FORMS: Mapping[str, tuple[str, str | None]] = {
    "^ds_[": (_NO_ID, 'a data set\'s id begins with ds_ (GET /v1/datasets); a sample is {"sample": "iris"}'),
    "^run_": (_NO_ID, "a run's id begins with run_ (GET /v1/runs)"),
    "^[^\\x": ("should hold no control characters", None),
    "^[Hh]": ("should begin with http:// or https://", None),
}  # what is said, and a hint, by the pattern's first five characters
_MOST = 100  # faults in one answer
_SHOWN = 40  # characters of a wrong value that are repeated to its sender


def faults(error: ValidationError, model: type[BaseModel] | TypeAdapter[Any], document: object) -> tuple[Fault, ...]:
    """Every fault once, in the document's order. Tags of unions, which pydantic adds to places, are left out."""
    root = model._type if isinstance(model, TypeAdapter) else model
    found = [_fault(each, root, document) for each in error.errors(include_url=False)[:_MOST]]
    better = [fault.pointer for fault in found if fault.code != "wrong_type"]
    every = [fault.pointer for fault in found]
    kept = [_whole(fault, found) for fault in found if not _echo(fault, better, every)]
    return tuple({(fault.pointer, fault.code): fault for fault in kept}.values())


def _whole(fault: Fault, found: Sequence[Fault]) -> Fault:
    """Of a union of words and something else, which pydantic tells of one by one, both in one sentence."""
    others = [each.message for each in found if (each.pointer, each.code) == (fault.pointer, "wrong_type")]
    if fault.code != "unknown_word" or not others:
        return fault
    other = others[0].partition(", not ")[0]
    return replace(fault, message=f"{other} or {fault.message.removeprefix('should be ')}")


def _echo(fault: Fault, better: Sequence[str], every: Sequence[str]) -> bool:
    """Whether it only says that something inside it is wrong.

    A wrong type is what the other members of a union say when one has more to say; a length out of range is what
    pydantic says of a tuple that it could not fill, whatever its length was.
    """
    others = every if fault.code == "out_of_range" else better
    inside = any(other.startswith(fault.pointer + "/") for other in others)
    return (inside and fault.code in ("wrong_type", "out_of_range")) or (
        fault.code == "wrong_type" and fault.pointer in better
    )


def code_of(kind: str) -> str:
    """The stable code of one of pydantic's kinds of error."""
    return _CODES.get(kind, "wrong_type" if kind.endswith(("_type", "_parsing", "_from_float")) else "invalid_value")


def said(message: str) -> str:
    """Pydantic's sentence as one that goes on behind a name."""
    return re.sub(r"\b(?:Input|String|List|Dictionary) should", "should", message, count=1)


def pointer(place: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _fault(error: ErrorDetails, root: Annotation, whole: object) -> Fault:
    kind = error["type"]
    place, inside, around, value = _locate(error["loc"], root, whole)
    code = code_of(kind)
    if kind.startswith("union_tag") and isinstance(value, Mapping):
        place = [*place, error["ctx"]["discriminator"].strip("'")]
    words = _allowed(kind, inside, around, place)
    hint = _hint(error, code, place, words, inside, value)
    if kind == "extra_forbidden":
        elsewhere = home(str(place[-1]), _models(_fitting(_members(root), whole)), whole, _inner)
        hint = f"{hint} Or {elsewhere}" if hint and elsewhere else elsewhere or hint
    return Fault(pointer(place), code, _message(error, place), hint, tuple(words))


def _hint(
    error: ErrorDetails, code: str, place: list[str | int], words: list[str], inside: list[Annotation], value: object
) -> str | None:
    """What the sender may have meant."""
    kind, sent = error["type"], error["input"]
    if kind == "string_pattern_mismatch":
        return _FORMS.get(error["ctx"]["pattern"][:5], (None, None))[1]
    if kind == "union_tag_not_found" and isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return f'it is called "kind" here: {{"kind": {json.dumps(value["type"][:_SHOWN])}}}'
    if kind in _OBJECTS and isinstance(sent, str):
        models = _models(inside)
        kinds = [word for model in models if "kind" in model.model_fields for word in _tags(model)]
        return as_object(sent, kinds, _fields(models))
    if kind in _OBJECTS and isinstance(sent, list) and "rows" in _fields(inside):
        return 'write {"rows": [...]}'
    wrong = str(place[-1]) if kind == "extra_forbidden" else error.get("ctx", {}).get("tag", sent)
    return meant(wrong, words) if isinstance(wrong, str) and code.startswith("unknown") else None


def _inner(model: type[BaseModel], name: str, value: object) -> list[type[BaseModel]]:
    return _models(_fitting([each for a in _field(model, name) for each in _members(a)], value))


def _locate(
    loc: Sequence[str | int], root: Annotation, document: object
) -> tuple[list[str | int], list[Annotation], list[Annotation], object]:
    """The place in the document, what may stand there, what may stand around it, and what does stand there."""
    place: list[str | int] = []
    inside, around = _fitting(_members(root), document), list[Annotation]()
    for number, part in enumerate(loc):
        last = number + 1 == len(loc)
        if isinstance(document, Mapping) and (part in document or (last and part in _fields(inside))):
            document, next_inside = document.get(part), [each for a in inside for each in _below(a, part)]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document, next_inside = document[part], [a for each in inside for a in get_args(each)]
        else:
            continue  # a union's tag, or what a list lacks
        place.append(part)
        around = inside
        inside = _fitting([a for each in next_inside for a in _members(each)], document)
    return place, inside, around, document


def _below(annotation: Annotation, name: str | int) -> list[Annotation]:
    """What may stand under a name: a model's field, any value of a dictionary."""
    origin: Annotation = get_origin(annotation)
    if origin is dict:
        return [get_args(annotation)[1]]
    return [each for model in _models([annotation]) for each in _field(model, name)]


def _members(annotation: Annotation) -> Iterator[Annotation]:
    """The annotation without wrapping; all members of a union."""
    origin: Annotation = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield annotation


def _fitting(members: Iterable[Annotation], document: object) -> list[Annotation]:
    """Those whose `kind` or `type` is the document's; all of them when none is."""
    everything = list(members)
    if not isinstance(document, Mapping):
        return everything
    tags = {document.get("kind"), document.get("type")} - {None} if _hashable(document) else set()
    return [each for each in _models(everything) if tags & set(_tags(each))] or everything


def _hashable(document: Mapping[Any, Any]) -> bool:
    return all(isinstance(document.get(name), str | None) for name in ("kind", "type"))


def _models(annotations: Iterable[Annotation]) -> list[type[BaseModel]]:
    return [each for each in annotations if isinstance(each, type) and issubclass(each, BaseModel)]


def _fields(annotations: Iterable[Annotation]) -> list[str]:
    return list(dict.fromkeys(name for model in _models(annotations) for name in model.model_fields))


def _field(model: type[BaseModel], name: str | int) -> list[Annotation]:
    field = model.model_fields.get(str(name))
    return [field.annotation] if field else []


def _tags(model: type[BaseModel]) -> list[str]:
    annotations = [a for name in ("kind", "type") for each in _field(model, name) for a in _members(each)]
    return _words(annotations)


def _words(annotations: Iterable[Annotation]) -> list[str]:
    literals = [each for each in annotations if str(get_origin(each)) == str(Literal)]
    return [word for each in literals for word in get_args(each) if isinstance(word, str)]


def _allowed(kind: str, inside: list[Annotation], around: list[Annotation], place: list[str | int]) -> list[str]:
    if kind == "extra_forbidden":
        return _fields(around)
    if kind.startswith("union_tag"):
        return list(dict.fromkeys(word for model in _models(inside) for word in _tags(model)))
    return _words(inside) if kind == "literal_error" else []


def _message(error: ErrorDetails, place: list[str | int]) -> str:
    kind, words = error["type"], error["msg"]
    if kind == "extra_forbidden":
        return f"unknown field {place[-1]!r}"
    if kind == "missing":
        if isinstance(error["loc"][-1], int):
            return f"{place[-1]!r} has {len(error['input'])} item{'s' * (len(error['input']) != 1)}, too few"
        return f"{place[-1]!r} is missing"
    if kind == "union_tag_not_found":
        return f"{place[-1]!r} is missing: it says which kind of thing this is"
    if kind == "union_tag_invalid":
        return f"unknown {place[-1]} {error['ctx']['tag'][:_SHOWN]!r}"
    if kind in ("value_error", "assertion_error"):
        return words.partition(", ")[2]
    if kind in ("too_short", "too_long"):
        bound, given = error["ctx"].get("min_length", error["ctx"].get("max_length")), error["ctx"]["actual_length"]
        given = len(error["input"]) if given is None else given  # pydantic does not tell of objects
        return f"has {given} item{'s' * (given != 1)}; {bound} {'is' if bound == 1 else 'are'} the {_END[kind]}"
    if kind in _OBJECTS:
        words = "should be an object"
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"][:5] in _FORMS:
        words, _ = _FORMS[error["ctx"]["pattern"][:5]]
    return f"{said(words)}{_shown(error['input'], kind)}"


def _shown(value: object, kind: str) -> str:
    if kind == "json_invalid" or isinstance(value, Mapping | list | tuple):
        return ""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f", not {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"
