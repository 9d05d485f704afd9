"""One JSON object a line on standard error, with the ids of the request and run it speaks of."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_ids: ContextVar[dict[str, str]] = ContextVar("log_ids")


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Adds ids (`request_id=...`, `run_id=...`) to every line logged inside the block."""
    token = _ids.set(_ids.get({}) | ids)
    try:
        yield
    finally:
        _ids.reset(token)


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, message, ids, and the trace if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ids.get({}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Sends every logger of the process through JSON lines at `level`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # names itself at every upgrade
