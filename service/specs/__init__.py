"""What a job may be, whether it can be done, and what a trained model's file says."""

from __future__ import annotations

from service.specs import artifact
from service.specs.admission import admit, ngram_spec, parse, recipe_of
from service.specs.admitted import Admitted, JobPlan
from service.specs.candidates import standing
from service.specs.dataset import materialize
from service.specs.examples import examples_of, signature_of
from service.specs.fault import code_of, faults, said
from service.specs.fork import fork, merged, verify
from service.specs.initial import BLOB
from service.specs.job import (
    JOB,
    ArpaJob,
    ArpaSpec,
    EvaluateJob,
    EvaluateSpec,
    Halving,
    Job,
    JobRequest,
    Label,
    MixtureJob,
    MixtureSpec,
    NgramJob,
    NgramJobSpec,
    Priority,
    SearchJob,
    SearchSpec,
    TrainJob,
    TrainSpec,
)

__all__ = [
    "BLOB",
    "JOB",
    "Admitted",
    "ArpaJob",
    "ArpaSpec",
    "EvaluateJob",
    "EvaluateSpec",
    "Halving",
    "Job",
    "JobPlan",
    "JobRequest",
    "Label",
    "MixtureJob",
    "MixtureSpec",
    "NgramJob",
    "NgramJobSpec",
    "Priority",
    "SearchJob",
    "SearchSpec",
    "TrainJob",
    "TrainSpec",
    "admit",
    "artifact",
    "code_of",
    "examples_of",
    "faults",
    "fork",
    "materialize",
    "merged",
    "ngram_spec",
    "parse",
    "recipe_of",
    "said",
    "signature_of",
    "standing",
    "verify",
]
