"""Models that travel: the formats of other programs, written and read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import MissingExtra
from service.exchange.bundle import Bundle, bundled, opened
from service.exchange.event_file import event_file
from service.exchange.keras_import import Translated, from_keras
from service.exchange.python_export import to_python
from service.specs.artifact import NetworkModel

__all__ = [
    "Bundle", "Translated", "bundled", "event_file", "from_keras", "from_onnx", "is_onnx", "opened", "to_onnx",
    "to_python",
]  # fmt: skip


def to_onnx(model: NetworkModel) -> bytes:
    """The network as an ONNX file. Raises MissingExtra without the package that writes it."""
    with _extra("write"):
        from service.exchange import onnx_export  # noqa: PLC0415  an extra, at its one door
    return onnx_export.to_onnx(model)


def is_onnx(path: Path) -> bool:
    """Whether a file begins as ONNX does, with its version, and not with the header of a bundle."""
    with open(path, "rb") as file:
        begin = file.read(9)
    return begin[:1] == b"\x08" and begin[8:] != b"{"


def from_onnx(path: Path) -> NetworkModel:
    """The network of an ONNX file. Raises InvalidData, TooLarge, MissingExtra without the package that reads it."""
    with _extra("read"):
        from service.exchange import onnx_import  # noqa: PLC0415  an extra, at its one door
    return onnx_import.from_onnx(path)


@contextmanager
def _extra(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        hint = 'install the extra: pip install "netwright[onnx]"'
        raise MissingExtra(f"this server cannot {what} ONNX", hint=hint) from error
