"""Names for things: opaque, prefixed, in the order of their making as far as the clock is honest."""

from __future__ import annotations

import secrets

from service import clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that reads as something else
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
