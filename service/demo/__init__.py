"""`netwright demo`: a server of its own, two jobs on real data, and what the models say; all of it over HTTP."""

from service.demo.story import main

__all__ = ["main"]
