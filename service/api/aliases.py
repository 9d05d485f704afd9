"""Aliases of models: moved atomically, on a condition, with a history that can be gone back."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header
from pydantic import Field
from starlette.responses import Response

from service import storage
from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.model import AliasMoveView, ComparisonView, MovedView
from service.errors import Conflict, Fault, InvalidData, InvalidSpec, NotFound, PreconditionFailed, TooLarge
from service.serving import Comparison, IfBetter, compared

router = APIRouter(prefix="/v1/models/{name}/aliases/{alias}", tags=["models"])


class AliasTarget(Body):
    """Where the alias points from now on, null takes it away; and what must be so for it."""

    version: Annotated[int, Field(ge=1, lt=1 << 31)] | None
    if_better: Annotated[
        IfBetter | None,
        Field(description="Only when the version is better than the one it points at, on these rows by this metric."),
    ] = None


@dataclass(frozen=True, slots=True)
class Condition:
    """The revisions that an alias may be at, 0 for nowhere; `anywhere`: at any version."""

    revisions: frozenset[int] = frozenset()
    anywhere: bool = False

    def revision(self, here: Context, name: str, alias: str) -> int:
        """The one it is at. Raises PreconditionFailed when that is none of them."""
        moves = here.store.models.alias_history(name, alias)
        now = moves[-1].revision if moves else 0
        nowhere = not moves or moves[-1].version is None
        if now in self.revisions or (nowhere and 0 in self.revisions) or (self.anywhere and not nowhere):
            return 0 if nowhere and now not in self.revisions else now
        where = "nowhere" if nowhere else f"at {name}:{moves[-1].version}"
        hint = "Look again, and send the ETag of what you saw in If-Match."
        raise PreconditionFailed(f"{name}@{alias} points {where}", hint=hint)


def _expected(
    if_match: Annotated[
        str | None, Header(max_length=100, description="The ETag of the move it must be at; * for any.")
    ] = None,
    if_none_match: Annotated[Literal["*"] | None, Header(description="Only when the alias points nowhere yet.")] = None,
) -> Condition | None:
    """None when the caller does not care."""
    if if_none_match is not None:
        return Condition(frozenset({0}))
    if if_match is None:
        return None
    tags = [each.strip() for each in if_match.split(",")]
    found = [re.fullmatch(r'"(\d{1,18})"', each) for each in tags]
    if tags != ["*"] and not any(found):
        raise PreconditionFailed("If-Match is none of our ETags", hint="Send the ETag of the alias as it came.")
    return Condition(frozenset(int(each.group(1)) for each in found if each), tags == ["*"])


Expected = Annotated[Condition | None, Depends(_expected)]
Moving = Callable[[int | None], storage.AliasMove]


def _kept(here: Context, name: str, alias: str, condition: Condition | None, move: Moving) -> storage.AliasMove:
    """A move from where the condition holds; looked at again when somebody else came in between."""
    while condition is not None:
        revision = condition.revision(here, name, alias)
        with suppress(PreconditionFailed):
            return move(revision)
    return move(None)


@router.put(
    "", response_model=MovedView,
    responses=refuses(InvalidJson, InvalidData, NotFound, Conflict, PreconditionFailed, TooLarge, UnsupportedMedia),
)  # fmt: skip
async def move_alias(
    here: Here, name: str, alias: str, asked: Annotated[AliasTarget, Depends(JsonBody(AliasTarget))], expected: Expected
) -> Response:
    """Points an alias at a version, at once for every request that begins after the answer."""
    return await in_thread(_move, here, name, alias, asked, expected)


def _move(here: Context, name: str, alias: str, asked: AliasTarget, expected: Condition | None) -> Response:
    found: Comparison | None = None
    if asked.if_better is not None:
        found, seen = _guarded(here, name, alias, asked.version, asked.if_better)
        expected = Condition(frozenset({seen})) if expected is None else expected
    set_alias = here.store.models.set_alias
    return _moved(
        _kept(here, name, alias, expected, lambda at: set_alias(name, alias, asked.version, expected=at)), found
    )


def _guarded(
    here: Context, name: str, alias: str, version: int | None, rule: IfBetter
) -> tuple[Comparison | None, int]:
    """(figures, the revision they are of). Raises Conflict when the version is not better."""
    if version is None:
        message = "nothing is not better than a version"
        raise InvalidSpec(message, faults=[Fault("/if_better", "no_version", message)])
    moves = here.store.models.alias_history(name, alias)
    if not moves or moves[-1].version is None:
        return None, 0
    new, old = f"{name}:{version}", f"{name}:{moves[-1].version}"
    if new == old:
        return None, moves[-1].revision
    here.store.models.resolve(new)
    found = compared(here.store, new, old, rule, here.settings.max_model_bytes)
    if not found.better:
        words = f"{found.metric} {_figure(found.new)} against {_figure(found.old)}"
        raise Conflict(f"{new} is not better than {old} on {found.dataset_id}: {words}")
    return found, moves[-1].revision


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


@router.post("/rollback", response_model=MovedView, responses=refuses(NotFound, Conflict, PreconditionFailed))
async def roll_back(here: Here, name: str, alias: str, expected: Expected) -> Response:
    """Points an alias where it pointed before its last move; twice is back again."""
    roll_back = here.store.models.roll_back
    return _moved(await in_thread(_kept, here, name, alias, expected, lambda at: roll_back(name, alias, expected=at)))


@router.get("", response_model=list[AliasMoveView], responses=refuses(NotFound))
async def alias_history(here: Here, name: str, alias: str) -> Response:
    """Every move of the alias, oldest first; the ETag is that of the last one."""
    moves = here.store.models.alias_history(name, alias)
    if not moves:
        raise NotFound(f"no alias {alias} of {name}")
    return reply([AliasMoveView.model_validate(move) for move in moves], headers=_etag(moves[-1]))


def _moved(move: storage.AliasMove, found: Comparison | None = None) -> Response:
    figures = None if found is None else ComparisonView.model_validate(asdict(found))
    return reply(MovedView(alias=move.alias, version=move.version, at=move.at, compared=figures), headers=_etag(move))


def _etag(move: storage.AliasMove) -> dict[str, str]:
    return {"ETag": f'"{move.revision}"'}
