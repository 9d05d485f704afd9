"""Which addresses may be called: only those of the internet, by whatever name or wrapping they come."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from service.errors import InvalidSpec
from service.webhook.address import Refused, Target, check, is_public, parse, resolve

INSIDE = (
    "127.0.0.1", "127.8.9.10", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1",
    "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "2001:db8::1",
)  # fmt: skip
OUTSIDE = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")


@pytest.mark.parametrize("given", INSIDE)
def test_an_address_inside_is_not_public_and_refused_at_the_door(given: str) -> None:
    assert not is_public(ipaddress.ip_address(given))
    host = f"[{given}]" if ":" in given else given
    with pytest.raises(InvalidSpec, match="cannot be called") as refused:
        check(f"http://{host}:8080/x", allow_private=False)
    assert [fault.pointer for fault in refused.value.faults] == ["/webhook/url"]
    check(f"http://{host}:8080/x", allow_private=True)


@pytest.mark.parametrize("given", OUTSIDE)
def test_an_address_of_the_internet_is_public(given: str) -> None:
    assert is_public(ipaddress.ip_address(given))


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com", "http://", "http:///x", "http://user:word@example.com/", "http://exa mple.com", "https://a:0x/",
     "http://example.com:99999/", "http://[::1", "http://example.com/\r\nX: y", "http://[fe80::1%25eth0]/",
     "//example.com"],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpec):
        check(url, allow_private=True)


def test_a_url_is_taken_apart() -> None:
    assert parse("HTTPS://Example.com/a?b=c") == Target(True, "example.com", 443, "/a?b=c")
    assert [parse(url).authority for url in ("http://a", "http://a:81/", "https://[::1]:444")] == [
        "a",
        "a:81",
        "[::1]:444",
    ]


def answers(*addresses: str) -> Any:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in addresses]


def test_every_address_of_a_name_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.216.34", "10.0.0.1"))
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        resolve("example.com", 80, allow_private=False)
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.216.34"))
    assert resolve("example.com", 80, allow_private=False) == ["93.184.216.34"]


def test_localhost_is_found_out_when_it_is_resolved() -> None:
    check("http://localhost:8000/", allow_private=False)
    with pytest.raises(Refused):
        resolve("localhost", 8000, allow_private=False)
