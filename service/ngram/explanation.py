"""Why a token has its probability."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """A context the word was never seen after. count: how often it was seen itself; None: not known."""

    context: tuple[str, ...]
    log10: float
    count: int | None


@dataclass(frozen=True)
class Explanation:
    """Why a token has its probability: the longest n-gram seen that ends with it, and what was given up before.

    log10 p = the n-gram's own log10 p + the log10 of all backoffs. count: how often it was seen; None: not known.
    """

    ngram: tuple[str, ...]
    log10: float
    count: int | None
    backoffs: tuple[Backoff, ...]

    @property
    def order(self) -> int:
        """How many tokens the n-gram has."""
        return len(self.ngram)
