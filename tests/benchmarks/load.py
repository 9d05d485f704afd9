"""A load generator in one process: raw sockets and epoll, so that it is far faster than what it measures.

`python load.py PORT CONNECTIONS SECONDS REQUEST_FILE` sends the file's bytes, a whole HTTP request, over and over on as
many connections, each waiting for its answer, and prints what it saw after the first tenth of the time:
`{"rps", "p50_us", "p99_us", "statuses"}`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path


def main(port: int, connections: int, seconds: float, request: bytes) -> dict[str, object]:
    poll, sockets = select.epoll(), {}
    for _ in range(connections):
        each = socket.create_connection(("127.0.0.1", port))
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(each.fileno(), select.EPOLLIN)
        sockets[each.fileno()] = each
    statuses: dict[str, int] = {}
    taken: list[float] = []
    part: dict[int, bytes] = dict.fromkeys(sockets, b"")
    began = dict.fromkeys(sockets, time.perf_counter())
    start = time.perf_counter()
    warm, end = start + seconds / 10, start + seconds
    for each in sockets.values():
        each.sendall(request)
    now = start
    while now < end:
        for fd, _ in poll.poll():
            data = part[fd] + sockets[fd].recv(1 << 20)
            head = data.find(b"\r\n\r\n")
            if head < 0 or len(data) < head + 4 + _length(data, head):
                part[fd] = data
                continue
            part[fd] = b""
            now = time.perf_counter()
            if now >= warm:
                status = data[9:12].decode()
                statuses[status] = statuses.get(status, 0) + 1
                taken.append(now - began[fd])
            began[fd] = now
            sockets[fd].sendall(request)
    taken.sort()
    return {
        "rps": len(taken) / (now - warm),
        "p50_us": taken[len(taken) // 2] * 1e6,
        "p99_us": taken[len(taken) * 99 // 100] * 1e6,
        "statuses": statuses,
    }


def _length(data: bytes, head: int) -> int:
    at = data.find(b"ontent-", 0, head)
    while data[at + 7 : at + 14].lower() != b"length:":
        at = data.index(b"ontent-", at + 7, head)
    return int(data[at + 14 : data.find(b"\r", at)])


if __name__ == "__main__":
    found = main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]).read_bytes())
    sys.stdout.write(json.dumps(found) + "\n")
