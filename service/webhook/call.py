"""One POST to somebody unknown: bounded in time, following nothing, reading no more than the head of the answer."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

from service.webhook.address import Target, resolve


class Unheard(Exception):  # noqa: N818 - a state of affairs: it may be tried again
    """Nobody answered."""


class Call:
    """May be given up from another thread."""

    def __init__(self, target: Target, *, allow_private: bool, timeout_s: float) -> None:
        self._target = target
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._given_up = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises Refused for an address inside, Unheard."""
        clock = threading.Timer(self._timeout_s, self.give_up)
        clock.daemon = True
        clock.start()
        try:
            return self._post(body, headers)
        except (OSError, HTTPException, UnicodeError) as error:
            raise Unheard(f"no answer within {self._timeout_s:g} s" if self._given_up else _words(error)) from error
        finally:
            clock.cancel()
            if self._socket is not None:
                self._socket.close()

    def give_up(self) -> None:
        """Ends it at once, wherever it stands."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> int:
        target = self._target
        addresses = resolve(target.host, target.port, allow_private=self._allow_private)
        connection = HTTPConnection(target.host, target.port)
        self._socket = connection.sock = self._connect(addresses)
        about = {"Host": target.authority, "Content-Type": "application/json", "User-Agent": "netwright"}
        connection.request("POST", target.path, body, {**about, **headers, "Connection": "close"})
        status = connection.getresponse().status
        if self._given_up:  # what was cut off may look like an answer
            raise TimeoutError
        return status

    def _connect(self, addresses: Sequence[str]) -> socket.socket:
        error: OSError = OSError("it has no address")
        for address in addresses:
            try:
                found = socket.create_connection((address, self._target.port), self._timeout_s / 2)
            except OSError as failed:
                error = failed
                continue
            self._socket = found
            if self._given_up:
                raise TimeoutError
            found.settimeout(self._timeout_s)
            if self._target.secure:
                return ssl.create_default_context().wrap_socket(found, server_hostname=self._target.host)
            return found
        raise error


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
