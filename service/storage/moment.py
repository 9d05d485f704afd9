"""Moments as the tables hold them: microseconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from service import clock

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> int:
    """The clock's time."""
    return pack(clock.now())


def pack(moment: datetime) -> int:
    return (moment - _START) // _MICROSECOND


@overload
def unpack(microseconds: int) -> datetime: ...
@overload
def unpack(microseconds: None) -> None: ...
def unpack(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _START + timedelta(microseconds=microseconds)
