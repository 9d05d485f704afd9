"""n-gram language models: trained from text, equal to KenLM's, served from a memory map."""

from service.ngram.arpa import export_arpa
from service.ngram.arpa_import import import_arpa
from service.ngram.cache import Cache, Cached, tune_cache
from service.ngram.dense import Dense
from service.ngram.distribution import Sampling
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.explanation import Backoff, Explanation
from service.ngram.generate import SENTENCE_END, Finished, Generated, Options
from service.ngram.interpolate import Mixture, check_alike, tune_mixture
from service.ngram.language import LanguageModel, Static, Suggestion
from service.ngram.load import load, pack_mixture
from service.ngram.model import Model
from service.ngram.plan import Plan, plan
from service.ngram.score import Score
from service.ngram.sources import Source, find_sources
from service.ngram.spec import NgramSpec, Reading
from service.ngram.tokenizers import Tokenizer
from service.ngram.trace import Traced, trace
from service.ngram.training import train
from service.ngram.vocabulary import Vocabulary

__all__ = [
    "SENTENCE_END",
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
    "Reading",
    "Sampling",
    "Score",
    "Source",
    "Static",
    "Suggestion",
    "Tokenizer",
    "Traced",
    "Trained",
    "Vocabulary",
    "Warned",
    "check_alike",
    "export_arpa",
    "find_sources",
    "import_arpa",
    "load",
    "pack_mixture",
    "plan",
    "trace",
    "train",
    "tune_cache",
    "tune_mixture",
]
