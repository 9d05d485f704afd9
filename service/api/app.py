"""The app factory: rooms in, an ASGI app out."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from service import __version__
from service.api import (
    aliases,
    attributions,
    bulk,
    card,
    compare,
    completions,
    datasets,
    events,
    export,
    external,
    health,
    jobs,
    keys,
    metrics,
    mlflow,
    models,
    openapi,
    parameters,
    plans,
    predict,
    problems,
    prometheus,
    repeat,
    runs,
    scores,
    suggestions,
    translate,
    trials,
    uploads,
    v2,
    web,
)
from service.api.clerk import Clerk
from service.api.context import Context
from service.api.door import Door
from service.api.gate import Gate, Gatekeeper
from service.api.hot import Hot
from service.api.ingest import Ingest
from service.api.ledger import Ledger
from service.api.watch import Watch
from service.config import Settings
from service.serving import Registry
from service.storage import Store

_DESCRIPTION = (
    "Trains neural networks and n-gram language models from JSON, keeps every run, and answers with the models."
)
_NOUNS = (
    datasets, uploads, plans, translate, jobs, repeat, trials, events, compare, runs, external, export, metrics, mlflow,
    models, card, aliases, predict, bulk, attributions, completions, suggestions, scores, health, prometheus, keys, v2,
)  # fmt: skip


class App(FastAPI):
    """FastAPI behind the gate and the hot path."""

    hot: Hot
    clerk: Clerk
    gate: Gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gate(scope, receive, send)


def create_app(
    settings: Settings, store: Store, registry: Registry, wake: Callable[[], None],
    workers: Callable[[], int] | None = None, first: bool = True,
) -> FastAPI:  # fmt: skip
    """The app over an open store.

    `wake` is called whenever there may be something new to do; `workers` tells how many worker processes live. What the
    server does first when it leaves is `app.state.leave()`. `first`: no other process serves the same folder yet.
    """
    watch = Watch(store)
    routers: list[APIRouter] = [noun.router for noun in _NOUNS]
    app = App(
        title=openapi.TITLE, version=__version__, description=_DESCRIPTION, lifespan=_lifespan,
        redoc_url=None, docs_url=None, separate_input_output_schemas=False, redirect_slashes=False,
    )  # fmt: skip
    app.state.context = Context(settings, store, registry, wake, workers or (lambda: settings.workers), watch)
    app.state.leave = watch.close
    app.state.first = first
    app.state.ledger = Ledger(store.metrics.append_all)
    ingest = Ingest(super(App, app).__call__, app.state.ledger, settings.max_body_bytes)
    keeper = Gatekeeper(store.keys, settings.requests_per_s)
    app.hot = Hot(ingest, registry, store.tally, settings.max_body_bytes, keeper)
    app.clerk = Clerk(partial(store.metrics.append_all, wait=False), settings.max_body_bytes, keeper)
    app.gate = Gate(app.hot, keeper)
    app.add_middleware(Door, max_body_bytes=settings.max_body_bytes, max_upload_bytes=settings.max_upload_bytes)
    for router in routers:
        app.router.routes.extend(router.routes)  # they say all themselves; including would make each anew, for 35 ms
    parameters.strict(routers)
    problems.install(app)
    openapi.install(app, routers)
    app.router.routes.extend(web.router.routes)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Clears away uploads that a killed server left half done."""
    context: Context = app.state.context
    if app.state.first:
        shutil.rmtree(context.settings.data_dir / "tmp", ignore_errors=True)
        context.store.uploads.sweep()
    yield
    app.state.ledger.close()
    context.watch.close()
