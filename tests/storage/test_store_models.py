"""Models by name: versions that never change, aliases that move and remember, references that resolve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.errors import Conflict, InvalidSpec, NotFound, PreconditionFailed
from service.storage import Attempt, Checkpoint, Idempotency, Job, Report, Resolved, Store, Trial

Publish = Callable[..., Checkpoint]


@pytest.fixture
def trained(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Publish
) -> Callable[[], tuple[str, str]]:
    """Trains a run to its end; its id and its model's blob."""

    def train() -> tuple[str, str]:
        submit()
        attempt = claim()
        blob = publish(attempt.run_id, 1).blob
        store.runs.finish(attempt, "succeeded", model_blob=blob)
        return attempt.run_id, blob

    return train


Trained = Callable[[], tuple[str, str]]


def test_every_way_to_name_a_model_resolves(store: Store, trained: Trained) -> None:
    (run_1, blob_1), (run_2, blob_2) = trained(), trained()
    assert store.models.add_version("fashion", run_1, note="first").version == 1
    assert store.models.add_version("fashion", run_2).version == 2
    store.models.set_alias("fashion", "production", 1)
    resolved = {
        "fashion": (run_2, blob_2, "fashion", 2), "fashion:1": (run_1, blob_1, "fashion", 1),
        "fashion:2": (run_2, blob_2, "fashion", 2), "fashion@production": (run_1, blob_1, "fashion", 1),
        run_1: (run_1, blob_1, None, None), f"{run_1}@latest": (run_1, blob_1, None, None),
    }  # fmt: skip
    for ref, (run_id, blob, name, version) in resolved.items():
        assert store.models.resolve(ref) == Resolved(ref, run_id, "train", blob, name, version)


@pytest.mark.parametrize(
    "ref",
    ["nothing", "fashion:2", "fashion:0", "fashion:x", "fashion:", "fashion:-1", "fashion:1 ", "fashion@production",
     "fashion@", "run_none", "", ":1", "@x", "fashion:" + "9" * 50, "fashion:¹"],
)  # fmt: skip
def test_a_name_that_means_nothing_is_not_found(ref: str, store: Store, trained: Trained) -> None:
    store.models.add_version("fashion", trained()[0])
    with pytest.raises(NotFound):
        store.models.resolve(ref)


def test_a_run_still_training_serves_its_newest_model(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Publish
) -> None:
    submit()
    attempt = claim()
    with pytest.raises(Conflict):
        store.models.resolve(attempt.run_id)
    for step in (1, 5):
        model = publish(attempt.run_id, step)
        store.runs.report(attempt, Report(checkpoints=(model, publish(attempt.run_id, step, "state"))))
        assert store.models.resolve(f"{attempt.run_id}@latest").blob == model.blob
        assert store.models.resolve(attempt.run_id).blob == model.blob
    state = publish(attempt.run_id, 7, "state")
    store.runs.report(attempt, Report(checkpoints=(state,)))  # and no better model
    found = store.models.resolve(f"{attempt.run_id}@latest")
    assert (found.blob, found.state, found.key) == (model.blob, state.blob, state.blob)
    assert store.models.resolve(attempt.run_id).key == model.blob
    store.runs.finish(attempt, "succeeded", model_blob=model.blob)
    assert store.models.resolve(f"{attempt.run_id}@latest").key == model.blob


SEEN_BYTES = 110  # of a hint, in an answer


def refusal(store: Store, ref: str, kind: type[NotFound | Conflict]) -> tuple[str, str]:
    """What is said instead of resolving the reference: message and hint."""
    with pytest.raises(kind) as caught:
        store.models.resolve(ref)
    assert len(caught.value.hint or "") <= SEEN_BYTES
    return caught.value.message, caught.value.hint or ""


def test_the_name_of_a_job_or_a_run_is_answered_with_the_run_to_say(store: Store, submit: Callable[..., Job]) -> None:
    submit(name="flowers")
    newest = submit(name="flowers")
    (run_id,) = newest.run_ids
    search = submit(type="search", name="wide", trials=(Trial({}), Trial({})))
    for ref in ("flowers", "flowers:2", "flowers@production", newest.id):
        message, hint = refusal(store, ref, NotFound)
        assert message == f"no model {ref}"
        assert f" say {run_id}," in hint
    for ref in ("wide", search.id):
        assert f"GET /v1/jobs/{search.id}/trials" in refusal(store, ref, NotFound)[1]
    with pytest.raises(NotFound) as caught:
        store.models.add_version("m", "flowers")
    assert run_id in str(caught.value.hint)
    assert refusal(store, "nothing", NotFound)[1] == "GET /v1/models lists what there is."


def test_a_model_that_is_there_hides_the_run_of_its_name(store: Store, trained: Trained) -> None:
    run_id, _ = trained()
    store.models.add_version("flowers", run_id)
    store.runs.patch(run_id, name="flowers")
    assert refusal(store, "flowers:2", NotFound)[1] == "GET /v1/models/flowers tells its versions and aliases."


def test_a_run_without_weights_says_what_to_wait_for(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]
) -> None:
    job = submit()
    (run_id,) = job.run_ids
    events = f"GET /v1/jobs/{job.id}/events?wait=30"
    assert refusal(store, run_id, Conflict) == (
        f"{run_id} has no weights yet: it is queued", f"Wait for its turn: {events} tells of it.",
    )  # fmt: skip
    store.jobs.request_stop(job.id, "pause")
    assert refusal(store, run_id, Conflict)[1] == f"POST /v1/jobs/{job.id}/resume lets it go on."
    store.jobs.resume(job.id)
    attempt = claim()
    message, hint = refusal(store, f"{run_id}@latest", Conflict)
    assert message.endswith("it is running")
    assert hint == f"Wait for its first epoch's end, `improved` in {events}."
    store.runs.finish(attempt, "failed", error={"code": "diverged", "message": "m"})
    assert refusal(store, run_id, Conflict) == (
        f"{run_id} failed before it had weights", f"GET /v1/runs/{run_id} tells why.",
    )  # fmt: skip


def test_runs_that_never_have_weights_of_their_own_say_so(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]
) -> None:
    text = submit(type="ngram")
    claim()
    assert refusal(store, text.run_ids[0], Conflict)[1].startswith("Wait for its end: ")
    cancelled, judged = submit(), submit(type="evaluate")
    store.jobs.request_stop(cancelled.id, "cancel")
    assert "was cancelled before" in refusal(store, cancelled.run_ids[0], Conflict)[0]
    assert "is an evaluation" in refusal(store, judged.run_ids[0], Conflict)[0]
    assert "is external" in refusal(store, store.runs.create_external(spec={}).id, Conflict)[0]


def test_a_version_outlives_no_run_and_so_holds_it(store: Store, trained: Trained) -> None:
    run_id, _ = trained()
    store.models.add_version("m", run_id)
    job_id = store.runs.get(run_id).job_id
    assert job_id is not None
    store.models.add_version("n", run_id)
    with pytest.raises(Conflict, match="m:1, n:1"):
        store.jobs.delete(job_id)
    assert store.runs.get(run_id).id == run_id


def test_versions_and_models_are_listed(store: Store, trained: Trained) -> None:
    runs = [trained()[0] for _ in range(3)]
    a1, b1, a2 = (store.models.add_version(name, run_id) for name, run_id in zip("aba", runs, strict=True))
    assert store.models.versions("a") == (a2, a1)
    page = store.models.list(limit=1)
    assert (page.data, store.models.list(after=page.next).data) == ((a2,), (b1,))
    with pytest.raises(NotFound):
        store.models.versions("c")


def test_an_alias_moves_and_remembers(store: Store, trained: Trained) -> None:
    for _ in range(2):
        store.models.add_version("m", trained()[0])
    for version in (1, 2, None, 1):
        store.models.set_alias("m", "production", version)
    store.models.set_alias("m", "staging", 2)
    assert store.models.aliases("m") == {"production": 1, "staging": 2}
    assert [move.version for move in store.models.alias_history("m", "production")] == [1, 2, None, 1]
    with pytest.raises(NotFound):
        store.models.set_alias("m", "production", 3)


def test_an_alias_taken_away_points_nowhere(store: Store, trained: Trained) -> None:
    store.models.add_version("m", trained()[0])
    store.models.set_alias("m", "production", 1)
    store.models.set_alias("m", "production", None)
    assert store.models.aliases("m") == {}
    with pytest.raises(NotFound):
        store.models.resolve("m@production")


def test_a_key_used_again_makes_no_second_version(store: Store, trained: Trained) -> None:
    run_id, _ = trained()
    key = Idempotency("k", "1")
    version = store.models.add_version("m", run_id, idempotency_key=key)
    assert store.models.add_version("m", run_id, idempotency_key=key) == version
    assert len(store.models.versions("m")) == 1
    store.models.delete("m")
    with pytest.raises(Conflict, match="has been deleted"):
        store.models.add_version("m", run_id, idempotency_key=key)


@pytest.mark.parametrize("name", ["", "run_x", "a b", "a:b", "a@b", "../a", ".a", "a/b", "ä", "a" * 101, "a\n"])
def test_a_name_that_could_not_be_referred_to_is_refused(name: str, store: Store, trained: Trained) -> None:
    with pytest.raises(InvalidSpec) as error:
        store.models.add_version(name, trained()[0])
    assert error.value.faults[0].pointer == "/name"


@pytest.mark.parametrize("alias", ["", "latest", "1", "a b", "a@b", "a\n"])
def test_an_alias_that_could_not_be_referred_to_is_refused(alias: str, store: Store, trained: Trained) -> None:
    store.models.add_version("m", trained()[0])
    with pytest.raises(InvalidSpec):
        store.models.set_alias("m", alias, 1)


def test_a_run_without_weights_makes_no_version(store: Store, submit: Callable[..., Job]) -> None:
    with pytest.raises(Conflict):
        store.models.add_version("m", submit().run_ids[0])
    with pytest.raises(NotFound):
        store.models.add_version("m", "run_none")


@pytest.fixture
def two(store: Store, trained: Trained) -> Store:
    """A model `m` with two versions."""
    for _ in range(2):
        store.models.add_version("m", trained()[0])
    return store


def test_of_two_who_saw_the_same_alias_one_moves_it(two: Store) -> None:
    seen = two.models.set_alias("m", "production", 1, expected=0)
    assert two.models.set_alias("m", "production", 2, expected=seen.revision).version == 2
    with pytest.raises(PreconditionFailed, match="m:2"):
        two.models.set_alias("m", "production", 1, expected=seen.revision)
    with pytest.raises(PreconditionFailed):
        two.models.set_alias("m", "production", 1, expected=0)
    assert two.models.aliases("m") == {"production": 2}


def test_an_alias_taken_away_may_be_made_anew(two: Store) -> None:
    two.models.set_alias("m", "production", 1)
    two.models.set_alias("m", "production", None)
    assert two.models.set_alias("m", "production", 2, expected=0).version == 2


def test_rolled_back_twice_it_is_where_it_was(two: Store) -> None:
    two.models.set_alias("m", "production", 1)
    with pytest.raises(Conflict):
        two.models.roll_back("m", "production")
    seen = two.models.set_alias("m", "production", 2)
    assert two.models.roll_back("m", "production", expected=seen.revision).version == 1
    with pytest.raises(PreconditionFailed):
        two.models.roll_back("m", "production", expected=seen.revision)
    assert two.models.roll_back("m", "production").version == 2
    assert [move.version for move in two.models.alias_history("m", "production")] == [1, 2, 1, 2]
    with pytest.raises(NotFound):
        two.models.roll_back("m", "staging")


def test_what_an_alias_points_at_is_not_deleted_and_the_alias_is_named(two: Store) -> None:
    two.models.set_alias("m", "production", 1)
    for version in (1, None):
        with pytest.raises(Conflict, match="m@production"):
            two.models.delete("m", version)
    two.models.set_alias("m", "production", 2)
    two.models.delete("m", 1)
    assert [each.version for each in two.models.versions("m")] == [2]
    with pytest.raises(Conflict, match="m:1"):
        two.models.roll_back("m", "production")


def test_a_number_that_was_given_never_means_another_version(two: Store, trained: Trained) -> None:
    with pytest.raises(Conflict, match="newest"):
        two.models.delete("m", 2)
    two.models.delete("m", 1)
    assert two.models.add_version("m", trained()[0]).version == 3
    with pytest.raises(NotFound):
        two.models.delete("m", 1)


def test_a_deleted_model_lets_its_runs_go(two: Store) -> None:
    runs = [each.run_id for each in two.models.versions("m")]
    two.models.delete("m")
    with pytest.raises(NotFound):
        two.models.versions("m")
    for run_id in runs:
        two.jobs.delete(two.runs.get(run_id).job_id or "")


def test_a_job_that_waits_for_a_run_is_named_when_the_run_is_to_go(
    store: Store, trained: Trained, submit: Callable[..., Job]
) -> None:
    run_id, _ = trained()
    waiting = submit(spec={"go_on_from": {"run": run_id}})
    with pytest.raises(Conflict, match=waiting.id):
        store.jobs.delete(store.runs.get(run_id).job_id or "")
    store.jobs.request_stop(waiting.id, "cancel")
    store.jobs.delete(store.runs.get(run_id).job_id or "")
