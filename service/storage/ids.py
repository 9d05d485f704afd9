"""Names for things: opaque, prefixed, in the order of their making as far as the clock is honest."""

from __future__ import annotations

import secrets

from service import clock
from service.errors import NotFound

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that reads as something else
_OTHERS = {
    ("run", "job_"): "That is the id of a job: its run_id names the run.",
    ("model", "job_"): "That is the id of a job: its run_id names its model.",
    ("job", "run_"): "That is the id of a run: its job_id names the job.",
}
_TIME_DIGITS, _RANDOM_DIGITS = 10, 12


def new(prefix: str) -> str:
    """`prefix_` and 22 signs: 50 bits of milliseconds, 60 random bits. Nothing is ever decided by the time in it."""
    milliseconds = int(clock.now().timestamp() * 1000)
    number = milliseconds << (5 * _RANDOM_DIGITS) | secrets.randbits(5 * _RANDOM_DIGITS)
    digits = ""
    for _ in range(_TIME_DIGITS + _RANDOM_DIGITS):
        digits = _ALPHABET[number & 31] + digits
        number >>= 5
    return f"{prefix}_{digits}"


def absent(what: str, name: str) -> NotFound:
    """There is no `what` of this name; the hint says when it is the id of something else, or where to look."""
    return NotFound(f"no {what} {name}", hint=_OTHERS.get((what, name[:4])) or _where(what, name))


def _where(what: str, name: str) -> str:
    at = min((name.find(sign) for sign in "@:" if sign in name), default=0)
    if what == "model" and at:
        return f"GET /v1/models/{name[:at]} tells its versions and aliases."
    return f"GET /v1/{what}s lists what there is."
