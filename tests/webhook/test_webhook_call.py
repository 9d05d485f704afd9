"""One call: bounded in time, to the address that was looked at, following nothing."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest
from webhook_receiver import receiving

from service.webhook import call
from service.webhook.address import Refused, parse
from service.webhook.call import Call, Unheard
from service.webhook.sign import headers, key


def test_the_signature_is_the_one_of_the_specification() -> None:
    """The example that the authors of the specification publish."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    found = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, secret)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (found["webhook-id"], found["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")
    assert "webhook-signature" not in headers("msg_x", 1, body, None)
    assert key("correct horse") == b"correct horse"
    assert key("whsec_not base64!") == b"whsec_not base64!"


def test_a_call_says_what_it_should_and_a_redirect_is_an_answer_like_any_other() -> None:
    with receiving(302) as receiver:
        made = Call(parse(receiver.url), allow_private=True, timeout_s=5)
        assert made.post(b'{"a":1}', {"webhook-id": "msg_1"}) == 302
        heard = receiver.heard.get(timeout=20)
        assert (heard.path, heard.body) == ("/hook?x=1", b'{"a":1}')
        assert heard.headers["host"] == receiver.url.split("/")[2]
        assert (heard.headers["content-type"], heard.headers["webhook-id"]) == ("application/json", "msg_1")
        time.sleep(0.05)
        assert receiver.heard.empty()


def test_an_address_inside_is_not_called_without_the_setting() -> None:
    with receiving() as receiver:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(Refused):
                Call(parse(url), allow_private=False, timeout_s=5).post(b"{}", {})
        assert receiver.heard.empty()


def test_the_address_that_was_looked_at_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers with another address the second time gains nothing: it is asked once."""
    with receiving() as receiver:
        monkeypatch.setattr(call, "resolve", lambda host, port, *, allow_private: ["127.0.0.1"])
        monkeypatch.setattr(socket, "getaddrinfo", _numbers_only)
        url = receiver.url.replace("127.0.0.1", "rebound.example")
        assert Call(parse(url), allow_private=False, timeout_s=5).post(b"{}", {}) == 204
        assert receiver.heard.get(timeout=20).headers["host"].startswith("rebound.example:")


_asked = socket.getaddrinfo


def _numbers_only(host: str, port: int, *more: int) -> object:
    assert host == "127.0.0.1", "a name was asked for again"
    return _asked(host, port, *more)


def test_a_receiver_that_drips_is_given_up_in_time() -> None:
    let_go = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not let_go.wait(0.05):
                handler.wfile.write(b"X-Drop: 1\r\n")

    with receiving(drip) as receiver:
        began = time.monotonic()
        with pytest.raises(Unheard, match=r"no answer within 0\.3 s"):
            Call(parse(receiver.url), allow_private=True, timeout_s=0.3).post(b"{}", {})
        assert time.monotonic() - began < 10
        let_go.set()


def test_an_endless_answer_is_not_read() -> None:
    with receiving(_pour) as receiver:
        assert Call(parse(receiver.url), allow_private=True, timeout_s=5).post(b"{}", {}) == 200


def _pour(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with suppress(OSError):
        while True:
            handler.wfile.write(bytes(1 << 16))


@pytest.mark.parametrize("said", [b"", b"hello\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 70_000])
def test_what_is_no_answer_is_not_heard(said: bytes) -> None:
    def speak(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(said)

    with receiving(speak) as receiver, pytest.raises(Unheard):
        Call(parse(receiver.url), allow_private=True, timeout_s=5).post(b"{}", {})


def test_nobody_there_is_not_heard() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unheard, match="refused"):
        Call(parse(f"http://127.0.0.1:{port}/"), allow_private=True, timeout_s=5).post(b"{}", {})


def test_a_certificate_that_nobody_knows_is_not_trusted() -> None:
    with receiving() as receiver:
        url = receiver.url.replace("http:", "https:")
        with pytest.raises(Unheard, match=r"(?i)ssl"):
            Call(parse(url), allow_private=True, timeout_s=5).post(b"{}", {})
