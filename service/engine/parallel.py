"""A second process for a training: a fork that shares its vectors, meets it at every step, and dies with it."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

import numpy as np

from service.engine.arena import common
from service.engine.contract import Array
from service.engine.program import MOST
from service.errors import WorkerLost

LANES = (0, 1)
SPINS = 2_000  # looks at the other before sleeping: half a millisecond, less than a step of a middle-sized network
PATIENCE_S = 0.5  # between two looks whether the other still lives
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal to get when the parent dies
Block: TypeAlias = tuple[int, int, int, Sequence[float]]
"""(epoch, place, steps done, learning rates)"""


class Crew:
    """The caller's process and its fork, which does `work(crew, block, indices)` at every `call`.

    A fork needs no copy of the data, no start-up and no message but the numbers of the rows, `most` at a time. It
    closes what it inherited and touches nothing but memory; when either process dies, the other one notices.
    """

    def __init__(self, work: Callable[[Crew, Block, Array], None], most: int) -> None:
        context = multiprocessing.get_context("fork")
        self._arrived = context.Semaphore(0), context.Semaphore(0)
        self._order, self._rates = common(5, np.int64), common(MOST)
        self._indices = common(most, np.intp)
        self._side, self._other = 0, os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads' locks are none of the fork's business
            pid = os.fork()
        if pid == 0:
            self._serve(work)
        self._other = pid

    def call(self, block: Block, indices: Array) -> None:
        """The other begins on this block."""
        epoch, place, t, rates = block
        self._order[:] = epoch, place, t, len(rates), len(indices)
        self._rates[: len(rates)] = rates
        self._indices[: len(indices)] = indices
        self.meet()

    def meet(self) -> None:
        """Waits until both are here. Raises WorkerLost when the other is no more."""
        self._arrived[1 - self._side].release()
        mine = self._arrived[self._side].acquire
        for _ in range(SPINS):
            if mine(False):
                return
        while not mine(True, PATIENCE_S):
            if not self._other_lives():
                raise WorkerLost("the second process of the training is gone", hint="Was it killed?")

    def dismiss(self) -> None:
        """Ends the other, whatever it is doing."""
        os.kill(self._other, signal.SIGKILL)
        os.waitpid(self._other, 0)

    def _other_lives(self) -> bool:
        if self._side == 1:
            return os.getppid() == self._other
        return os.waitid(os.P_PID, self._other, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _serve(self, work: Callable[[Crew, Block, Array], None]) -> NoReturn:
        """The fork's whole life."""
        try:
            self._side = 1
            _die_with(self._other)
            gc.disable()  # nothing inherited is to be finalised here
            while True:
                self.meet()
                epoch, place, t, count, rows = (int(each) for each in self._order)
                work(self, (epoch, place, t, self._rates[:count].tolist()), self._indices[:rows].copy())
        except WorkerLost:
            pass
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
        finally:
            os._exit(1)


class Parted:
    """Blocks of steps in two parts, which one process works off or two."""

    batch: int
    _crew: Crew | None = None

    def man(self, processes: int) -> None:
        """Works with so many processes from the next block on: one, or two."""
        if processes > 1 and self._crew is None:
            self._crew = Crew(self._help, self.block(MOST * self.batch) * self.batch)
        elif processes < 2 and self._crew is not None:
            self._crew.dismiss()
            self._crew = None

    def block(self, left: int) -> int:
        """How many steps to run before looking up, when `left` rows of the epoch are left."""
        whole = left // self.batch
        return min(whole, self._steps) if whole else 1

    @property
    def _steps(self) -> int:
        """Steps of a whole block."""
        raise NotImplementedError

    def _go(self, indices: Array, block: Block) -> None:
        """Both lanes' work: all of it, or what the other process leaves."""
        crew = self._crew
        if crew is not None:
            crew.call(block, indices)
        self._block(indices, block, LANES if crew is None else LANES[:1], crew)

    def _help(self, crew: Crew, block: Block, indices: Array) -> None:
        self._block(indices, block, LANES[1:], crew)

    def _block(self, indices: Array, block: Block, lanes: tuple[int, ...], crew: Crew | None) -> None:
        """The work of these lanes; `crew` when another process does that of the other one."""
        raise NotImplementedError


def _die_with(parent: int) -> None:
    """No signal, file or socket of the parent's is ours, and its death is ours too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
