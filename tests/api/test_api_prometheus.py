"""What Prometheus scrapes, as its own parser reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from api_server import Api, serving
from test_api_jobs import claim

from service.api.exposition import family
from service.storage import Report

pytestmark = pytest.mark.anyio
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(api: Api) -> Samples:
    """By name and labels."""
    parser = pytest.importorskip("prometheus_client.parser")
    answer = await api.http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(parser.text_string_to_metric_families(answer.text))
    assert all(each.documentation and each.type != "unknown" for each in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for each in families for sample in each.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"netwright_{name}", frozenset(labels.items())]


async def test_the_queue_the_runs_and_their_rows_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for _ in range(3):
            await api.submit()
        for _ in range(2):
            api.store.runs.report(claim(api), Report(series={"rows_per_s": ([1, 2], [5.0, 100.0])}, step=2))
        theirs = api.store.runs.create_external()
        api.store.metrics.append(theirs.id, {"rows_per_s": ([1], [1e9])})
        found = await scraped(api)
        assert value(found, "workers_busy") == 2
        assert value(found, "queue_depth") == 1
        assert value(found, "runs", status="running") == 3
        assert value(found, "runs", status="failed") == 0
        assert value(found, "training_rows_per_second") == 200
        assert value(found, "events_total") == api.store.events.latest_id()


async def test_predictions_are_counted_by_how_long_they_took(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for path in ("/v1/models/no/predict", "/v1/models/no/predict", "/v2/models/no/infer", "/v1/completions"):
            await api.http.post(path, json={})
        found = await scraped(api)
        name = "prediction_duration_seconds"
        for route, n in (("predict", 2), ("infer", 1), ("completions", 1)):
            assert value(found, f"{name}_bucket", route=route, le="+Inf") == n
            assert value(found, f"{name}_count", route=route) == n
            buckets = [
                (float(labels["le"]), count)
                for (each, pairs), count in found.items()
                if each == f"netwright_{name}_bucket" and (labels := dict(pairs))["route"] == route
            ]
            assert [count for _, count in sorted(buckets)] == sorted(count for _, count in buckets)
            assert value(found, f"{name}_sum", route=route) > 0


async def test_commits_and_the_memory_of_each_process_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        api.store.tally.share("server")
        before = value(await scraped(api), "store_commit_duration_seconds_count")
        api.store.experiments.create("one", {})
        found = await scraped(api)
        assert value(found, "store_commit_duration_seconds_count") == before + 1
        memory = value(found, "process_resident_memory_bytes", kind="server", pid=str(os.getpid()))
        assert memory > 20 << 20


async def test_labels_are_escaped() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    words: Any = {"said": 'a "quoted" \\ back\nslash'}
    (found,) = parser.text_string_to_metric_families("".join(family("x", "gauge", "Words.", [(words, 1)])))
    assert found.samples[0].labels == words
