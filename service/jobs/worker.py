"""The main of a worker process: imports everything, says it is ready, then executes one attempt a line.

Standard input brings attempts as JSON lines; its end means that the server is gone: finish the attempt at hand, leave.
Standard output says `ready` once and `done` after each attempt. SIGTERM: give the run back to the queue and leave.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from types import FrameType

from service import config, log, storage
from service.config import Settings
from service.jobs.execute import execute
from service.jobs.process import words_file
from service.storage import Attempt

LOG = logging.getLogger(__name__)
_SWITCH_S = 0.0005  # the reporter asks for the interpreter a dozen times a report; at Python's 5 ms each it takes 50 ms


@dataclass
class Leaving:
    """Becomes true at SIGTERM; a pipe beside it wakes whoever waits."""

    asked: bool = False
    pipe: tuple[int, int] = field(default_factory=os.pipe)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        os.write(self.pipe[1], b"\0")


def main() -> int:
    """Runs until there is nothing left to wait for."""
    voice = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not speak in our name
    leaving = Leaving()
    signal.signal(signal.SIGTERM, leaving.on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    settings = config.load()
    log.configure(settings.log_level)
    with _last_words(settings) as words:
        try:
            serve(settings, words, voice, leaving)
        except Exception:
            LOG.exception("the worker process ends")
            words.write(traceback.format_exc().encode())
            return 1
    return 0


@contextmanager
def _last_words(settings: Settings) -> Iterator[FileIO]:
    """The file for them, also written when something below Python crashes; none is left after a good end."""
    path = words_file(settings.data_dir, os.getpid())
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileIO(path, "w") as words:
        faulthandler.enable(words)
        yield words
        faulthandler.disable()
        if words.tell() == 0:
            path.unlink()


def serve(settings: Settings, words: FileIO, voice: int, leaving: Leaving) -> None:
    """Executes attempts as they come in."""
    store = storage.open(settings.url, settings.data_dir)
    try:
        store.tally.share("worker")
        gc.freeze()
        gc.enable()
        _say(voice, b"ready\n")
        for attempt in attempts(0, leaving):
            words.seek(0)
            words.truncate()
            execute(store, attempt, settings, lambda: leaving.asked)
            _say(voice, b"done\n")
    finally:
        store.close()


def attempts(source: int, leaving: Leaving) -> Iterator[Attempt]:
    """The attempts that are asked for, until the input ends or the process is asked to leave."""
    rest = b""
    while not leaving.asked:
        ready, _, _ = select.select([source, leaving.pipe[0]], [], [])
        data = os.read(source, 1 << 12) if source in ready else b""
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield Attempt(**json.loads(line))


def _say(voice: int, word: bytes) -> None:
    with suppress(BrokenPipeError):  # the server is gone; the store has the verdict
        os.write(voice, word)
