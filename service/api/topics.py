"""What somebody wants to hear of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from service.storage import Event


@dataclass(frozen=True)
class Topics:
    """The jobs and runs that somebody wants to hear of; none at all means everything."""

    jobs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Topics:
        """Sorts ids by their prefix."""
        every = sorted(set(names))
        jobs = tuple(each for each in every if each.startswith("job_"))
        return cls(jobs, tuple(each for each in every if not each.startswith("job_")))

    @cached_property
    def every(self) -> tuple[str, ...]:
        """All ids."""
        return (*self.jobs, *self.runs)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.every)

    def touch(self, event: Event) -> bool:
        """Whether the event is one of theirs."""
        return not self._names or event.job_id in self._names or event.run_id in self._names
