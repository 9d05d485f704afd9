"""n-gram language models: trained from text, equal to KenLM's, served from a memory map."""

from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.generate import Finished, Generated, Options, Sampling
from service.ngram.model import Model, Suggestion
from service.ngram.plan import Plan, plan
from service.ngram.score import Score
from service.ngram.spec import NgramSpec
from service.ngram.training import train

__all__ = [
    "Event",
    "Finished",
    "Generated",
    "Model",
    "NgramSpec",
    "Options",
    "Plan",
    "Progressed",
    "Sampling",
    "Score",
    "Suggestion",
    "Trained",
    "Warned",
    "plan",
    "train",
]
