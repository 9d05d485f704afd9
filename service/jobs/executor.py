"""Where attempts live: start one, stop one, ask whether one is gone. What an attempt does goes through the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from service.storage import Attempt, Owner


@dataclass(frozen=True, slots=True)
class Gone:
    """The end of an attempt's process. `told`: it gave its verdict to the store before.

    `words`: else its last ones; the very last line says how it ended. `lives`: how many may be lost like this, without
    a new checkpoint in between, until the run itself is to blame: few when it crashed, more when it was killed.
    """

    told: bool
    words: str = ""
    code: Literal["worker_lost", "out_of_memory"] = "worker_lost"
    lives: int = 3


class Executor(Protocol):
    """Knows processes and nothing of runs. Never retries: the store decides.

    An attempt is held from `start` or `adopt` until `forget`.
    """

    def place(self) -> Owner | None:
        """The process that the next attempt would go to, warm and idle; None when there is none."""

    def start(self, attempt: Attempt) -> None:
        """Hands the attempt to the process that `place` named. Never blocks on it."""

    def adopt(self, attempt: Attempt, owner: Owner) -> None:
        """Holds an attempt that an earlier server started and that may still live."""

    def stop(self, attempt: Attempt) -> None:
        """Ends the attempt's process at once, stubborn, frozen or not."""

    def gone(self, attempt: Attempt) -> Gone | None:
        """None while the attempt lives; then how its process ended."""

    def forget(self, attempt: Attempt) -> None:
        """Lets go of an attempt whose end has been settled; its place is free again."""

    def ask_to_leave(self) -> None:
        """Asks every process to give its attempt back to the queue and leave."""

    def wait(self, timeout_s: float) -> None:
        """Returns when a process has something to tell, after `wake`, or after the time."""

    def wake(self) -> None:
        """Makes `wait` return; from any thread."""

    def close(self) -> None:
        """Ends what still lives."""
