"""Trained models that answer: loaded once, shared by all requests, let go by memory."""

from service.serving.adapt import Sources, adapted, settled, static
from service.serving.arrays import NPY_TYPE, from_file, from_npy, from_raw, to_npy, to_raw
from service.serving.attribute import Attributions, attributed, heat_map
from service.serving.batch import together
from service.serving.bulk import BulkFormat, written
from service.serving.complete import Choice, complete, score, stream
from service.serving.detail import PLAIN, Detail, answered, check, detailed
from service.serving.evaluate import Evaluation, evaluate, evaluate_text, evaluation
from service.serving.findings import WORST, findings
from service.serving.guard import Comparison, IfBetter, compared
from service.serving.predict import SMALL, answers, predict
from service.serving.registry import Registry, RowModel, Served, TextModel, load

__all__ = [
    "NPY_TYPE",
    "PLAIN",
    "SMALL",
    "WORST",
    "Attributions",
    "BulkFormat",
    "Choice",
    "Comparison",
    "Detail",
    "Evaluation",
    "IfBetter",
    "Registry",
    "RowModel",
    "Served",
    "Sources",
    "TextModel",
    "adapted",
    "answered",
    "answers",
    "attributed",
    "check",
    "compared",
    "complete",
    "detailed",
    "evaluate",
    "evaluate_text",
    "evaluation",
    "findings",
    "from_file",
    "from_npy",
    "from_raw",
    "heat_map",
    "load",
    "predict",
    "score",
    "settled",
    "static",
    "stream",
    "to_npy",
    "to_raw",
    "together",
    "written",
]  # fmt: skip
