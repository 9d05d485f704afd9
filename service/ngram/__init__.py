"""n-gram language models: trained from text, equal to KenLM's, served from a memory map."""

from service.ngram.arpa import export_arpa
from service.ngram.arpa_import import import_arpa
from service.ngram.cache import Cache, Cached, tune_cache
from service.ngram.dense import Dense
from service.ngram.distribution import Sampling
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.explanation import Backoff, Explanation
from service.ngram.generate import Finished, Generated, Options
from service.ngram.interpolate import Mixture, tune_mixture
from service.ngram.language import LanguageModel, Suggestion
from service.ngram.model import Model
from service.ngram.plan import Plan, plan
from service.ngram.score import Score
from service.ngram.sources import Source, find_sources
from service.ngram.spec import NgramSpec
from service.ngram.training import train
from service.ngram.vocabulary import Vocabulary

__all__ = [
    "Backoff",
    "Cache",
    "Cached",
    "Dense",
    "Event",
    "Explanation",
    "Finished",
    "Generated",
    "LanguageModel",
    "Mixture",
    "Model",
    "NgramSpec",
    "Options",
    "Plan",
    "Progressed",
    "Sampling",
    "Score",
    "Source",
    "Suggestion",
    "Trained",
    "Vocabulary",
    "Warned",
    "export_arpa",
    "find_sources",
    "import_arpa",
    "plan",
    "train",
    "tune_cache",
    "tune_mixture",
]
