"""Every word a spec may say: its kind is its class name, and it is strict, frozen and explained."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

import service

# Class name, kind, and why they differ.
DIFFERENT = {"StepDecay": "step"}  # in the engine a Step is one piece of a program


def _modules() -> list[str]:
    return [each.name for each in pkgutil.walk_packages(service.__path__, "service.") if "__main__" not in each.name]


def _below(model: type[BaseModel]) -> set[type[BaseModel]]:
    return {model}.union(*(_below(each) for each in model.__subclasses__()))


def _specs() -> list[type[BaseModel]]:
    """The classes with a `kind` of one literal, of all rooms."""
    for name in _modules():
        try:
            import_module(name)
        except ModuleNotFoundError as missing:  # an extra that is not installed; a module of ours must be there
            if (missing.name or "").startswith("service"):
                raise
    ours = [model for model in _below(BaseModel) if model.__module__.startswith("service.")]
    return sorted((model for model in ours if _kind(model) is not None), key=lambda model: model.__qualname__)


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    words = get_args(field.annotation)
    return words[0] if len(words) == 1 else None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


SPECS = _specs()


@pytest.mark.parametrize("model", SPECS, ids=lambda model: model.__name__)
def test_a_kind_is_its_class_name_in_snake_case(model: type[BaseModel]) -> None:
    assert _kind(model) == DIFFERENT.get(model.__name__, _snake(model.__name__))


@pytest.mark.parametrize("model", SPECS, ids=lambda model: model.__name__)
def test_a_spec_is_frozen_strict_and_explained(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen")
    assert model.model_config.get("extra") == "forbid"
    assert (model.__doc__ or "").strip(), "its docstring is what users read in OpenAPI"


def test_the_vocabulary_is_found() -> None:
    assert {"dense", "adam", "cross_entropy", "modified_kneser_ney"} <= {_kind(model) for model in SPECS}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Dense", "dense"), ("MaxPool2d", "max_pool2d"), ("SGD", "sgd"), ("ModifiedKneserNey", "modified_kneser_ney")],
)
def test_snake_case_by_hand(name: str, kind: str) -> None:
    assert _snake(name) == kind
