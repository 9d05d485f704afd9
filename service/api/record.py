"""The record of one model: its run, what that run was made of, what it reached."""

from __future__ import annotations

from service import storage
from service.api.context import Context
from service.api.views.model import AliasMoveView, AncestorsView, NamedModelView, VersionView, scores_of
from service.errors import NotFound
from service.storage import Resolved


def named(here: Context, ref: str) -> NamedModelView:
    """All that is known of what a reference means now. Raises NotFound, Conflict."""
    models, found = here.store.models, here.store.models.resolve(ref)
    run = here.store.runs.get(found.run_id)
    rows = models.versions(found.name) if found.name else ()
    runs = here.store.runs.several([each.run_id for each in rows])
    versions = [VersionView.of(each, runs[each.run_id]) for each in rows]
    created = next((each.created_at for each in versions if each.version == found.version), run.created_at)
    return NamedModelView(
        id=ref, object="model", created=int(created.timestamp()), owned_by="netwright", version=found.version,
        run_id=found.run_id, scores=scores_of(run), spec=dict(run.spec), lineage=lineage(here, found, run),
        versions=versions, aliases=models.aliases(found.name) if found.name else {},
        history=[AliasMoveView.model_validate(move) for move in models.alias_history(found.name)] if found.name else [],
    )  # fmt: skip


def lineage(here: Context, found: Resolved, run: storage.Run) -> AncestorsView:
    """Where its weights come from."""
    data = dataset_of(here, run.dataset_id)
    return AncestorsView(
        run_id=run.id, job_id=run.job_id, dataset_id=run.dataset_id, dataset_name=None if data is None else data.name,
        dataset_sha256=None if data is None else data.sha256, go_on_from=run.spec.get("go_on_from"),
        initial_weights=run.spec.get("network", {}).get("initial_weights"),
        evaluations=[each.id for each in here.store.runs.evaluations(found.blob)],
    )  # fmt: skip


def dataset_of(here: Context, dataset_id: str | None) -> storage.DatasetRow | None:
    """The data set's row; None when it is gone."""
    if dataset_id is None:
        return None
    try:
        return here.store.datasets.get(dataset_id)
    except NotFound:
        return None
