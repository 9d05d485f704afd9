"""Which addresses may be called: without a setting only those that anybody on the internet could call as well."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from service.errors import Fault, InvalidSpec

_URL = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_HINT = "Set NETWRIGHT_WEBHOOK_ALLOW_PRIVATE=true if jobs may call addresses of this network."
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):  # noqa: N818 - why a call was not made
    """The address may not be called."""


class Target(NamedTuple):
    """A URL in the parts that a call needs."""

    secure: bool
    host: str
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """For the header Host."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS["https" if self.secure else "http"] else f"{name}:{self.port}"


def check(url: str, *, allow_private: bool) -> None:
    """What can be told of a URL without asking anybody. Raises InvalidSpec."""
    try:
        target = parse(url)
        try:
            address = ipaddress.ip_address(target.host)
        except ValueError:
            return
        if not (allow_private or is_public(address)):
            raise Refused(f"{address} is an address of this machine or its network")
    except (Refused, ValueError) as error:
        hint = _HINT if isinstance(error, Refused) else "For example https://example.com/hook."
        message = f"cannot be called: {error}"
        fault = Fault("/webhook/url", "invalid_value", message, hint)
        raise InvalidSpec(f"the webhook {message}", hint=hint, faults=[fault]) from error


def parse(url: str) -> Target:
    """Raises ValueError for what is no plain http or https URL."""
    if not _URL.fullmatch(url):
        raise ValueError("it is no http or https URL")
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user's name or password")
    if not parts.hostname or "%" in parts.hostname:
        raise ValueError("it names no host")
    scheme = parts.scheme.lower()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme == "https", parts.hostname, parts.port or _PORTS[scheme], path)


def resolve(host: str, port: int, *, allow_private: bool) -> Sequence[str]:
    """Every address of the host. Raises Refused when one of them may not be called, OSError when there is none.

    The caller connects to what is returned and to nothing else: to ask again could give another answer.
    """
    found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not (allow_private or is_public(ipaddress.ip_address(address.partition("%")[0]))):
            raise Refused(f"{host} is {address}, an address of this machine or its network")
    return found


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if wrapped:
            return is_public(wrapped)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
