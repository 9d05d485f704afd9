"""A model's card as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from service.api.views.card import CardDataView, CardView

_MOST_EXAMPLE = 800  # characters
_MOST_ROWS = 50  # of a table


def markdown(card: CardView) -> str:
    """One page."""
    parts: list[str] = [f"# {_plain(card.model)}", "\n".join(_head(card))]
    parts += _section("Scores on rows held back", _scores(card))
    if card.evaluations:
        rows = [
            [each.run_id, each.dataset_id, each.part, ", ".join(f"{n} {_number(v)}" for n, v in each.scores.items())]
            for each in card.evaluations
        ]
        parts += _section("Evaluations", [_table(["run", "data set", "part", "scores"], rows)])
    parts += _section("Data", list(_data(card.data)))
    parts += _section("How it was made", list(_training(card)))
    parts += _section("Warnings", ["\n".join(f"- {_plain(each)}" for each in card.warnings)] if card.warnings else [])
    parts += _section("Where it comes from", ["\n".join(_lineage(card))])
    if len(card.example) <= _MOST_EXAMPLE:
        parts += _section("Ask it", [f"```\n{card.example}\n```"])
    return "\n\n".join(parts) + "\n"


def _section(title: str, parts: Sequence[str]) -> list[str]:
    return [f"## {title}", *parts] if parts else []


def _head(card: CardView) -> Iterator[str]:
    kind = "An n-gram model" if card.kind == "ngram" else f"A network of {card.parameters:,} parameters"
    yield f"{kind} that predicts {card.predicts}. Made {card.created_at:%Y-%m-%d %H:%M} UTC."
    if card.aliases:
        yield f"\nAliases: {', '.join(card.aliases)}."
    if card.tags:
        yield f"\nTags: {', '.join(map(_plain, card.tags))}."
    if card.note:
        yield "\n" + _plain(card.note)


def _scores(card: CardView) -> list[str]:
    if not card.scores:
        return ["None: no rows were held back."]
    found = [_table(["score", "value"], [[name, _number(value)] for name, value in card.scores.items()])]
    if card.held_back is not None:
        rows = [
            [each.label, _number(each.precision), _number(each.recall), _number(each.f1), str(each.support)]
            for each in card.held_back.per_class
        ]
        found += [f"Class by class ({card.held_back.part}):"]
        found.append(_table(["class", "precision", "recall", "F1", "rows"], rows))
    return found


def _data(data: CardDataView) -> Iterator[str]:
    if data.id is not None:
        size = "" if data.rows is None else f", {data.rows:,} rows"
        name = _plain(data.name or "A data set that is gone")
        yield f"{name} (`{data.id}`{size}), sha256 `{data.sha256 or 'unknown'}`."
    held = f"validation {json.dumps(data.validation)}, test {json.dumps(data.test)}"
    yield f"Held back: {held}, by seed {data.split_seed}."
    if data.target:
        yield f"Target: {', '.join(map(_plain, data.target))}."
    if data.classes:
        more = ", ..." if len(data.classes) > _MOST_ROWS else ""
        yield f"Classes: {', '.join(map(_plain, data.classes[:_MOST_ROWS]))}{more}."
    if data.features:
        rows_ = [
            [each.name, each.type, " x ".join("any" if n < 0 else str(n) for n in each.shape)] for each in data.features
        ]
        yield _table(["feature", "type", "shape"], rows_)


def _training(card: CardView) -> Iterator[str]:
    if card.layers:
        rows = [
            [str(each.index), each.kind, " x ".join(map(str, each.shape_out)), f"{each.parameters:,}"]
            for each in card.layers
        ]
        yield _table(["layer", "kind", "gives", "parameters"], rows)
    told = card.training
    facts = [f"stopped by {told.stopped_by}" if told.stopped_by else "",
             f"best at step {told.best_step}" if told.best_step is not None else "",
             f"{told.seconds:.1f} s" if told.seconds is not None else ""]  # fmt: skip
    if any(facts):
        yield "Training: " + ", ".join(filter(None, facts)) + "."
    yield f"```json\n{json.dumps(told.settings, indent=1)}\n```"


def _lineage(card: CardView) -> Iterator[str]:
    came = card.lineage
    yield f"- run `{came.run_id}`" + (f" of job `{came.job_id}`" if came.job_id else "")
    if came.go_on_from:
        yield f"- went on from `{came.go_on_from.get('run')}` at step {came.go_on_from.get('step')}"
    if came.initial_weights:
        yield f"- began with the weights `{_plain(came.initial_weights)}`"
    yield f"- weights sha256 `{card.weights_sha256}`, file sha256 `{card.file_sha256}`, {card.file_bytes:,} bytes"
    for name, value in (card.receipt or {}).items():
        yield f"- {name}: {_plain(str(value))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    left = len(rows) - _MOST_ROWS
    lines: Iterable[Sequence[str | None]] = [head, ["---"] * len(head), *rows[:_MOST_ROWS]]
    text = "\n".join("| " + " | ".join(_cell(each) for each in line) + " |" for line in lines)
    return text if left <= 0 else f"{text}\n\n... and {left:,} more."


def _cell(word: str | None) -> str:
    return word if word == "---" else _plain(word or "")


def _plain(word: str) -> str:
    """Words of others as words: nothing in them is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(word.split()))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
