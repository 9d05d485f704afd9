"""Columns being built piece by piece: numbers, words (category or text), arrays and sequences."""

from __future__ import annotations

from service.data.columns.arrays import Arrays
from service.data.columns.finished import MISSING, Finished, is_number, number_text, zeros_ahead
from service.data.columns.numbers import Numbers
from service.data.columns.sequences import Sequences
from service.data.columns.text import text_description
from service.data.columns.words import Words

__all__ = [
    "MISSING", "Arrays", "Finished", "Numbers", "Sequences", "Words", "is_number", "number_text", "text_description",
    "zeros_ahead",
]  # fmt: skip
