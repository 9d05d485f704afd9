"""A search at the door: every trial is a training that passes it, or the search does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.data import Description, holds_text
from service.engine import unmeasured
from service.errors import Fault, InvalidSpec, did_you_mean
from service.specs.admitted import SLACK_BYTES, Admitted, JobPlan
from service.specs.candidates import MOST_TRIALS, Candidate, placed
from service.specs.dataset import Source, source
from service.specs.fault import faults, pointer
from service.specs.job import SearchJob, SearchSpec, TrainSpec
from service.storage import Store, Trial, direction

Plan = Callable[[TrainSpec, Store, Source, int], tuple[TrainSpec, JobPlan]]
_TRAIN: TypeAdapter[TrainSpec] = TypeAdapter(TrainSpec)
_ENDS = ("loss", "accuracy", "f1", "auc", "perplexity", "mae", "rmse", "r2")


def admit_search(job: SearchJob, store: Store, limit_bytes: int, plan: Plan) -> Admitted:
    """Every trial is planned. Raises InvalidSpec with the faults of all, each said once, where the search says it."""
    search = job.spec
    _check_whole(search)
    with source(search.train.dataset, store, "/spec/train/dataset") as data:
        _check_rows(search, data.description)
        found, wrong = list[tuple[TrainSpec, JobPlan]](), dict[tuple[str, str], Fault]()
        for trial in _trials(search):
            try:
                found.append(plan(_beside_others(trial.spec(search.train)), store, data, limit_bytes))
            except InvalidSpec as error:
                told = (trial.where(fault) for fault in error.faults)
                wrong |= {(fault.pointer, fault.message): fault for fault in told}
        if wrong:
            raise InvalidSpec(next(iter(wrong.values())).message, faults=tuple(wrong.values()))
        _check_measured(search.monitor, [spec for spec, _ in found])
        row = data.keep()
    plans = [planned for _, planned in found]
    here = {"id": row.id, "rows": None} if search.train.dataset.rows is not None else {}
    resolved = search.model_dump(mode="json")
    resolved["train"]["dataset"] |= here
    trials = [_trial(spec, planned, here) for spec, planned in found]
    summed = _summed(plans, _never_halved(search, [spec for spec, _ in found]))
    return Admitted(resolved, row.id, max(trial.memory_bytes for trial in trials), summed, trials=tuple(trials))


def values(search: SearchSpec) -> tuple[Candidate, ...]:
    """What is tried; of folds alone it is the training as it is."""
    return ({},) if search.candidates is None else tuple(search.candidates.candidates())


@dataclass(frozen=True)
class _Try:
    """A candidate on one fold."""

    candidate: Candidate
    fold: dict[str, Any] | None

    def spec(self, train: TrainSpec) -> TrainSpec:
        """Raises InvalidSpec, pointers from /spec on."""
        given, full = train.model_dump(mode="json", exclude_unset=True), train.model_dump(mode="json")
        for path, value in self.candidate.items():
            begin = path.partition(".")[0]
            given = {begin: full.get(begin)} | given
            try:
                given = placed(given, path, value)
            except KeyError as error:
                message = f"there is no {error.args[0]!r} in the training to put a value at"
                raise InvalidSpec(message, faults=[Fault(_place(path, "/spec"), "unknown_field", message)]) from error
        if self.fold is not None:
            given["dataset"] |= {"split": self.fold}
        try:
            spec = _TRAIN.validate_python(given)
        except ValidationError as error:
            found = [replace(fault, pointer="/spec" + fault.pointer) for fault in faults(error, _TRAIN, given)]
            raise InvalidSpec(found[0].message, faults=found) from error
        for name in ("id", "sample", "rows"):
            if getattr(spec.dataset, name) != getattr(train.dataset, name):
                message = "a search has one data set"
                raise InvalidSpec(message, faults=[Fault("/spec/dataset/" + name, "other_data", message)])
        return spec

    def where(self, fault: Fault) -> Fault:
        """The fault where the search says what is wrong: at the candidates' field, or in the training."""
        for path in self.candidate:
            place = _place(path, "/spec")
            if place == fault.pointer or _inside(place, fault.pointer) or _inside(fault.pointer, place):
                return replace(fault, pointer="/spec/candidates/fields" + pointer([path]), hint=_dotted(fault.hint))
        return replace(fault, pointer="/spec/train" + fault.pointer.removeprefix("/spec"))


def _dotted(hint: str | None) -> str | None:
    """A hint at a place, as paths of candidates are written."""
    at = "it stands at /"
    if hint is None or not hint.startswith(at):
        return hint
    return "write " + hint.removeprefix(at).replace(" or /", " or ").replace("/", ".")


def _inside(one: str, other: str) -> bool:
    """Whether `one` lies in the `other`, but for the document and its largest parts."""
    return other.count("/") > 1 and one.startswith(other + "/")


def _place(path: str, root: str) -> str:
    return root + pointer(path.split("."))


def _trials(search: SearchSpec) -> Iterator[_Try]:
    """Candidate after candidate, each on every fold: trial i is of candidate i // folds."""
    stratified = search.train.dataset.stratified
    folds = [None] if search.folds is None else [
        {"kind": "fold", "folds": search.folds, "fold": fold, "stratified": stratified} for fold in range(search.folds)
    ]  # fmt: skip
    return (_Try(candidate, fold) for candidate in values(search) for fold in folds)


def _beside_others(trial: TrainSpec) -> TrainSpec:
    """Trials run side by side, each on a core of its own: what pays only for a lone training is left."""
    if trial.training.cut is not None:
        return trial
    return trial.model_copy(update={"training": trial.training.model_copy(update={"cut": "rows"})})


def _check_whole(search: SearchSpec) -> None:
    found = list[Fault]()
    trials, split = len(values(search)) * (search.folds or 1), search.train.dataset.split
    if trials > MOST_TRIALS:
        at = "candidates" if search.candidates is not None else "folds"
        found.append(Fault(f"/spec/{at}", "too_many", f"more than {MOST_TRIALS} trials", "take fewer values or folds"))
    if search.folds is not None and split is not None and split.kind not in ("random", "stratified"):
        message, hint = f"folds are random or stratified, not {split.kind}", "leave the split out"
        found.append(Fault("/spec/train/dataset/split/kind", "no_folds", message, hint, ("random", "stratified")))
    if search.halving is not None and search.candidates is None:
        message = "folds of one candidate are not to be compared: all of them train to the end"
        found.append(Fault("/spec/halving", "nothing_to_compare", message, "say candidates, or leave it out"))
    if search.halving is not None and search.monitor.startswith("test_"):
        message = "the test part is scored at the end only"
        found.append(Fault("/spec/monitor", "not_by_epoch", message, search.monitor.replace("test_", "val_", 1)))
    if direction(search.monitor) is None:
        message = f"which end of {search.monitor!r} is best, its name does not tell"
        part, _, name = search.monitor.partition("_")
        close = did_you_mean(search.monitor, [f"{part}_{end}" for end in _ENDS]) if did_you_mean(name, _ENDS) else None
        found.append(Fault("/spec/monitor", "no_direction", message, close))
    held = {"val": search.train.dataset.validation, "test": search.train.dataset.test}
    if search.folds is not None:
        held["val"] = 1.0
    if split is not None and split.kind == "by_column":
        held = {}
    if held.get(search.monitor.partition("_")[0]) == 0.0:
        message = f"nothing is held back that {search.monitor} could be of"
        found.append(Fault("/spec/monitor", "nothing_held_back", message, "say folds, or dataset.validation"))
    if found:
        raise InvalidSpec(found[0].message, faults=found)


def _check_measured(monitor: str, trials: Sequence[TrainSpec]) -> None:
    """What trials are compared by must be told of each."""
    for each in trials:
        assert each.loss is not None, "resolved"
        found = unmeasured(monitor, each.metrics or (), each.loss.target, "/spec/monitor", "train.metrics")
        if found is not None:
            raise InvalidSpec(found.message, faults=[found])


def _check_rows(search: SearchSpec, description: Description) -> None:
    """Every fold has a row, and they are rows."""
    if search.folds is None:
        return
    test = search.train.dataset.test if isinstance(search.train.dataset.test, float) else 0.0
    rows = int(description.rows * (1 - test))
    if holds_text(description, search.train.dataset):
        message, hint = "a text has an order and is not cut into folds", "hold back its end: dataset.validation"
    elif rows < search.folds:
        message, hint = f"{rows:,} rows cannot be {search.folds} folds", "take fewer folds"
    else:
        return
    raise InvalidSpec(message, faults=[Fault("/spec/folds", "no_folds", message, hint)])


def _trial(spec: TrainSpec, plan: JobPlan, here: dict[str, Any]) -> Trial:
    resolved = spec.model_dump(mode="json")
    resolved["dataset"] |= here
    return Trial(resolved, spec.max_memory_bytes or 2 * plan.bytes + SLACK_BYTES)


def _never_halved(search: SearchSpec, trials: Sequence[TrainSpec]) -> list[str]:
    most = max(trial.training.epochs for trial in trials)
    if search.halving is None or search.halving.least_epochs < most:
        return []
    return [f"halving begins after epoch {search.halving.least_epochs}, and trials end at {most}: none will end early"]


def _summed(plans: Sequence[JobPlan], more: Sequence[str]) -> JobPlan:
    """Layers of the first, bytes of the largest, seconds of all."""
    largest = max(plans, key=lambda plan: plan.bytes)
    seconds = round(sum(plan.estimated_seconds for plan in plans), 2)
    warnings = dict.fromkeys(warning for plan in plans for warning in plan.warnings)
    return replace(
        plans[0], bytes=largest.bytes, estimated_seconds=seconds, warnings=(f"{len(plans)} trainings", *more, *warnings)
    )
