"""Attempts: handed to worker processes, executed, reported on, taken over when a process is no more."""

from __future__ import annotations

from service.jobs.executor import Executor, Gone
from service.jobs.local import LocalExecutor
from service.jobs.supervisor import Supervisor

__all__ = ["Executor", "Gone", "LocalExecutor", "Supervisor"]
