"""Aliases that move while many callers predict, and a model asked while it trains: over HTTP, with a real server."""

from __future__ import annotations

import json
import random
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from flow_runs import job, poll

from service.client import Client

CALLERS, MOVES = 4, 60
IRIS = {"kind": "dense", "units": 3, "activation": "softmax"}


@pytest.fixture(scope="module")
def url(standing: Any) -> str:
    return str(standing.url)


@pytest.fixture(scope="module")
def versions(url: str) -> dict[str, list[list[float]]]:
    """What each of two versions of `moving` says to ROWS: of different beginnings, and hardly trained."""
    with Client(url) as client:
        for seed in (1, 2):
            training = {"epochs": 1, "seed": seed, "batch_size": 75}  # different beginnings, little learned
            spec = {"dataset": {"sample": "iris"}, "network": {"layers": [IRIS]}, "training": training}
            made = client.wait(client.submit({"type": "train", "spec": spec})["id"], timeout_s=60)
            client.publish("moving", made["run_id"])
    with httpx.Client(base_url=url) as http:
        found = {f"moving:{n}": [_numbers(each) for each in _asked(http, f"moving:{n}", ROWS)] for n in (1, 2)}
    assert all(a != pytest.approx(b, abs=1e-3) for a, b in zip(*found.values(), strict=True)), "they must be told apart"
    return found


dice = random.Random(1)
ROWS = [[round(dice.uniform(0.1, 7), 1) for _ in range(4)] for _ in range(5)]
NAMES = ("setosa", "versicolor", "virginica")


def _numbers(prediction: dict[str, Any]) -> list[float]:
    return [prediction["probabilities"][name] for name in NAMES]


def _asked(http: httpx.Client, ref: str, rows: list[list[float]]) -> list[dict[str, Any]]:
    answer = http.post(f"/v1/models/{ref}/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


@dataclass
class Callers:
    """Threads that ask the alias in every way there is, and compare with the version that the answer names."""

    url: str
    expected: dict[str, list[list[float]]]
    over: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)

    def call(self, seed: int) -> None:
        ways = (self._json, self._bytes, self._detailed, self._file)
        chosen = random.Random(seed)
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self.over.is_set():
                rows = chosen.sample(range(len(ROWS)), chosen.randint(1, len(ROWS)))
                model, found = ways[chosen.randrange(len(ways))](http, [ROWS[at] for at in rows])
                self.seen[model] += 1
                wanted = [self.expected[model][at] for at in rows]
                if not all(a == pytest.approx(b, abs=1e-5) for a, b in zip(found, wanted, strict=True)):
                    self.mixed.append(f"{model} said {found}, not {wanted}")

    def _post(self, http: httpx.Client, **given: Any) -> httpx.Response:
        answer = http.post("/v1/models/moving@live/predict", **given)
        assert answer.status_code == 200, answer.text
        return answer

    def _json(self, http: httpx.Client, rows: list[list[float]], **more: Any) -> tuple[str, list[list[float]]]:
        answer = self._post(http, json={"rows": rows} | more).json()
        return answer["model"], [_numbers(each) for each in answer["predictions"]]

    def _detailed(self, http: httpx.Client, rows: list[list[float]]) -> tuple[str, list[list[float]]]:
        return self._json(http, rows, logits=True)

    def _bytes(self, http: httpx.Client, rows: list[list[float]]) -> tuple[str, list[list[float]]]:
        kind = "application/octet-stream"
        body = b"".join(struct.pack("<4f", *row) for row in rows)
        answer = self._post(http, content=body, headers={"content-type": kind, "accept": kind})
        numbers = struct.unpack(f"<{3 * len(rows)}f", answer.content)
        return answer.headers["x-model"], [list(numbers[at : at + 3]) for at in range(0, len(numbers), 3)]

    def _file(self, http: httpx.Client, rows: list[list[float]]) -> tuple[str, list[list[float]]]:
        lines = "\n".join(map(str, rows))
        answer = self._post(http, content=lines, headers={"content-type": "application/x-ndjson"})
        return answer.headers["x-model"], [_numbers(json.loads(line)) for line in answer.text.splitlines()]


def test_answers_of_two_versions_never_mix_while_an_alias_moves(url: str, versions: Any) -> None:
    alias = "/v1/models/moving/aliases/live"
    callers = Callers(url, versions)
    threads = [threading.Thread(target=callers.call, args=(seed,)) for seed in range(CALLERS)]
    with httpx.Client(base_url=url, timeout=30) as http:
        assert http.put(alias, json={"version": 1}).status_code == 200
        for thread in threads:
            thread.start()
        late = []
        for move in range(MOVES):
            version = 1 + move % 2
            assert http.put(alias, json={"version": version}).json()["version"] == version
            model = http.post("/v1/models/moving@live/predict", json={"rows": ROWS}).json()["model"]
            late += [] if model == f"moving:{version}" else [(move, model)]
        callers.over.set()
        for thread in threads:
            thread.join(30)
        assert len(http.get(alias).json()) == MOVES + 1
    assert callers.mixed == []
    assert late == [], "a request that began after the move was answered by the version before"
    assert min(callers.seen[name] for name in versions) > 20, callers.seen


def test_of_many_who_saw_the_same_alias_exactly_one_moves_it(url: str, versions: Any) -> None:
    alias = "/v1/models/moving/aliases/race"
    with httpx.Client(base_url=url) as http:
        seen = http.put(alias, json={"version": 1}).headers["etag"]
    start, statuses = threading.Barrier(CALLERS), list[int]()

    def move() -> None:
        with httpx.Client(base_url=url, timeout=30) as mine:
            start.wait()
            statuses.append(mine.put(alias, json={"version": 2}, headers={"if-match": seen}).status_code)

    threads = [threading.Thread(target=move) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] + [412] * (CALLERS - 1)


def test_a_run_answers_with_its_newest_weights_while_it_trains(url: str) -> None:
    with Client(url) as client, httpx.Client(base_url=url) as http:
        submitted = client.submit(job(epochs=4000))
        ref = f"{submitted['run_id']}@latest"
        row = {"rows": [[[0] * 8] * 8]}

        def says() -> Any:
            answer = http.post(f"/v1/models/{ref}/predict", json=row)
            assert answer.status_code in (200, 409), answer.text
            return answer.json()["predictions"][0]["probabilities"] if answer.status_code == 200 else None

        first = poll(says)
        second = poll(lambda: (now := says()) != first and now)
        poll(lambda: says() not in (first, second))  # long after the best one was found
        assert client.job(submitted["id"])["status"] == "running"
        client.cancel(submitted["id"])
        client.wait(submitted["id"], timeout_s=60)
        assert says() is not None
