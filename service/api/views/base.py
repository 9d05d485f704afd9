"""What all answers have in common. No field of an answer has a default, so that the schema tells the truth."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class View(BaseModel):
    """Base of all answers; reads the store's rows by the names of their fields."""

    model_config = ConfigDict(frozen=True, from_attributes=True, ser_json_inf_nan="null")


class ListView(View, Generic[T]):
    """A piece of a list; `next` is what to give as `after` for the following one."""

    data: list[T]
    has_more: bool
    next: str | None
