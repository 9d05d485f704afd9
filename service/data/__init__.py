"""Data sets: reads uploads of every format into columns, and prepares columns for a network."""

from __future__ import annotations

from service.data.apply import Applied, PartName, apply
from service.data.apply_whole import piece_rows
from service.data.columns import MISSING
from service.data.dataset import Column, Dataset
from service.data.dates import DATE_PERIODS, DateFeature
from service.data.description import ColumnDescription, Description, Limits, Parsed, Upload
from service.data.encoders import ArrayFeature, CategoryFeature, Flat, NumberFeature, Whole
from service.data.goal import TargetKind
from service.data.histogram import Histogram, histograms
from service.data.letters import Letters, stored_preprocessor
from service.data.outline import Outline, outline
from service.data.prepare import Part, Prepared, prepare
from service.data.preprocessor import Preprocessor
from service.data.read import Format, read, rows_sha256, rows_to_dataset
from service.data.samples import SAMPLES, sample
from service.data.sequences import Sequences, padded
from service.data.spec import DatasetSpec, Reference
from service.data.targets import BinaryTarget, ClassTarget, DistributionTarget, LabelsTarget, NumberTarget, Target
from service.data.text_parts import TextParts, text_parts
from service.data.windows import holds_text, outline_letters, prepare_letters
from service.data.wishes import Wishes, parse_wishes

__all__ = [
    "DATE_PERIODS",
    "MISSING",
    "SAMPLES",
    "Applied",
    "ArrayFeature",
    "BinaryTarget",
    "CategoryFeature",
    "ClassTarget",
    "Column",
    "ColumnDescription",
    "Dataset",
    "DatasetSpec",
    "DateFeature",
    "Description",
    "DistributionTarget",
    "Flat",
    "Format",
    "Histogram",
    "LabelsTarget",
    "Letters",
    "Limits",
    "NumberFeature",
    "NumberTarget",
    "Outline",
    "Parsed",
    "Part",
    "PartName",
    "Prepared",
    "Preprocessor",
    "Reference",
    "Sequences",
    "Target",
    "TargetKind",
    "TextParts",
    "Upload",
    "Whole",
    "Wishes",
    "apply",
    "histograms",
    "holds_text",
    "outline",
    "outline_letters",
    "padded",
    "parse_wishes",
    "piece_rows",
    "prepare",
    "prepare_letters",
    "read",
    "rows_sha256",
    "rows_to_dataset",
    "sample",
    "stored_preprocessor",
    "text_parts",
]
