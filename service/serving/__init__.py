"""Trained models that answer: loaded once, shared by all requests, let go by memory."""

from service.serving.complete import Choice, complete, score, stream
from service.serving.predict import SMALL, predict
from service.serving.registry import Registry, RowModel, Served

__all__ = ["SMALL", "Choice", "Registry", "RowModel", "Served", "complete", "predict", "score", "stream"]
