"""The one thread of the server that gives queued runs to warm workers and notices when a worker is no more."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from service.clock import monotonic_s
from service.errors import ServiceError
from service.jobs.executor import Executor, Gone
from service.storage import Attempt, Fenced, Store

LOG = logging.getLogger(__name__)
TURN_S = 0.5  # the longest sleep: a dead adopted worker is noticed within it
TIDY_S, CROWDED_S = 600.0, 10.0  # between two times of removing what is not needed; when the disk is nearly full
HARD_STOP_S = {"cancel": 4.0, "pause": 30.0}  # a worker that does not heed for so long is killed
GRACE_S = 2.4  # to checkpoint and give runs back when the server leaves
_REST_S = 1.0  # after the store refused us (disk full, locked)


@dataclass
class Supervisor:
    """Claims while a worker is free, settles the ends of attempts, enforces stops and leases.

    It never touches what a run records: every verb is conditional on the attempt's token.
    """

    store: Store
    executor: Executor
    lease_s: float
    _held: set[Attempt] = field(default_factory=set)
    _asked_s: dict[tuple[Attempt, str], float] = field(default_factory=dict)  # since when it is asked to stop
    _silent: dict[Attempt, Gone] = field(default_factory=dict)
    _tidied_s: float = field(default_factory=monotonic_s)
    _draining: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Adopts the attempts that outlived an earlier server, then begins to claim."""
        self._thread.start()
        self._watchdog.start()

    def poke(self) -> None:
        """Something was submitted or asked to stop; from any thread, costs a microsecond."""
        self.executor.wake()

    def drain(self) -> None:
        """Lets running attempts checkpoint and go back to the queue; returns within about `GRACE_S`."""
        self._draining.set()
        self.executor.wake()
        self._thread.join(GRACE_S + _REST_S)

    def _run(self) -> None:
        while not self._draining.is_set():
            try:
                self._turn()
                self.executor.wait(TURN_S)
            except ServiceError as error:
                LOG.warning("the store refuses the supervisor: %s", error)
                self._draining.wait(_REST_S)
            except Exception:
                LOG.exception("the supervisor stumbled")
                self._draining.wait(_REST_S)
        self._leave()

    def _turn(self) -> None:
        self._tidy()  # first: the others write, which a full disk refuses
        self._settle()
        self._claim()
        self._sweep()

    def _settle(self) -> None:
        """Tells the store of attempts whose process ended without a verdict, and frees their places."""
        for attempt in list(self._held):
            gone = self.executor.gone(attempt)
            if gone is None:
                continue
            if not gone.told:
                gone = self._silent.pop(attempt, gone)
                (self._release if self._draining.is_set() else self._lose)(attempt, gone)
            self.executor.forget(attempt)
            self._held.discard(attempt)
            self._silent.pop(attempt, None)
            for how in HARD_STOP_S:
                self._asked_s.pop((attempt, how), None)

    def _claim(self) -> None:
        while (owner := self.executor.place()) is not None:
            attempt = self.store.runs.claim(owner, self.lease_s)
            if attempt is None:
                return
            self._held.add(attempt)
            self.executor.start(attempt)

    def _sweep(self) -> None:
        """Adopts strangers, kills the stubborn, takes over from the silent."""
        for live in self.store.runs.live():
            if live.attempt not in self._held:
                self._held.add(live.attempt)
                self.executor.adopt(live.attempt, live.owner)
            elif live.lease_left_s <= 0:
                self._lose(live.attempt, self._silence(live.attempt))
            elif live.stop_requested is not None and self._stubborn(live.attempt, live.stop_requested):
                self.executor.stop(live.attempt)

    def _stubborn(self, attempt: Attempt, how: str) -> bool:
        seen_s = self._asked_s.setdefault((attempt, how), monotonic_s())
        return monotonic_s() - seen_s > HARD_STOP_S[how]

    def _tidy(self) -> None:
        """Now and then the files that nothing points at any more are removed, and soon when there is no room."""
        if monotonic_s() > self._tidied_s + (CROWDED_S if self.store.crowded else TIDY_S):
            self._tidied_s = monotonic_s()
            self.store.collect()

    def _watch(self) -> None:
        """A worker that froze while it was writing holds the store's lock, and the other thread waits for it too."""
        while not self._draining.wait(TURN_S):
            try:
                for live in self.store.runs.live():  # reading waits for nobody
                    if live.lease_left_s <= 0:
                        self._silence(live.attempt)
            except Exception:
                LOG.exception("the watchdog stumbled")

    def _silence(self, attempt: Attempt) -> Gone:
        """The process of an attempt whose lease is over is ended before anything else, and so lets go of every lock."""
        silence = Gone(told=False, words=f"no sign of life for {self.lease_s:g} s")
        gone = self._silent.setdefault(attempt, self.executor.gone(attempt) or silence)
        self.executor.stop(attempt)
        return gone

    def _lose(self, attempt: Attempt, gone: Gone) -> None:
        with suppress(Fenced):  # it ended properly, or was lost before
            LOG.warning("run %s lost its worker: %s", attempt.run_id, gone.words.rpartition("\n")[2])
            self.store.runs.lose(attempt, gone.words, code=gone.code, max_attempts=gone.lives)

    def _release(self, attempt: Attempt, gone: Gone) -> None:
        with suppress(Fenced):  # it has given its run back itself
            self.store.runs.release(attempt)

    def _leave(self) -> None:
        self.executor.ask_to_leave()
        deadline = monotonic_s() + GRACE_S
        while self._held and monotonic_s() < deadline:
            self.executor.wait(0.05)
            self._settle()
        for attempt in self._held:  # too slow to leave by themselves; not their fault
            self.executor.stop(attempt)
            self._release(attempt, Gone(told=False))
        self.executor.close()
