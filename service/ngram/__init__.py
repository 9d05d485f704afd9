"""n-gram language models: trained from text, equal to KenLM's, served from a memory map."""

from service.ngram.dense import Dense
from service.ngram.distribution import Sampling
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.explanation import Backoff, Explanation
from service.ngram.generate import Finished, Generated, Options
from service.ngram.language import LanguageModel, Suggestion
from service.ngram.model import Model
from service.ngram.plan import Plan, plan
from service.ngram.score import Score
from service.ngram.spec import NgramSpec
from service.ngram.training import train
from service.ngram.vocabulary import Vocabulary

__all__ = [
    "Backoff",
    "Dense",
    "Event",
    "Explanation",
    "Finished",
    "Generated",
    "LanguageModel",
    "Model",
    "NgramSpec",
    "Options",
    "Plan",
    "Progressed",
    "Sampling",
    "Score",
    "Suggestion",
    "Trained",
    "Vocabulary",
    "Warned",
    "plan",
    "train",
]
