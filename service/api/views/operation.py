"""How the service and its machine are."""

from __future__ import annotations

from typing import Literal

from service.api.views.base import View


class HealthView(View):
    """Whether the service lives, or is ready to take jobs."""

    status: Literal["ok", "draining"]
    workers: int
    version: str


class SystemView(View):
    """The machine and what the service does with it."""

    version: str
    python: str
    cores: int
    workers: int
    jobs_queued: int
    jobs_running: int
    models_loaded: int
    models_bytes: int
    uptime_s: float
