"""Tells other programs that a job has ended: signed, again until it is heard, and to no address inside the house."""

from service.webhook.address import check
from service.webhook.courier import Courier

__all__ = ["Courier", "check"]
