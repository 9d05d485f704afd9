"""The least that can answer: an ASGI app on the server's own settings that reads the body and says 27 bytes."""

from __future__ import annotations

from typing import Any

from service.serve import Server, announce, listen

ANSWER = b'{"label":"a","p":0.9375000}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"27")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    Server(app, (), announce).run([listen("127.0.0.1", 0)])
