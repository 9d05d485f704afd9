"""What is wrong with a document is told by place, with a hint, and once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from service.errors import Fault, InvalidSpec
from service.specs import faults, parse

DENSE = {"kind": "dense", "units": 3}
CONV = {"kind": "conv2d", "filters": 2, "kernel_size": 3}


def job(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"dataset": {"sample": "iris"}, "network": {"layers": [DENSE]}}
    return {"type": "train", "spec": spec | changes}


def found(document: object) -> tuple[Fault, ...]:
    with pytest.raises(InvalidSpec) as caught:
        parse(document)
    return caught.value.faults


def only(document: object) -> Fault:
    told = found(document)
    assert len(told) == 1, told
    return told[0]


def test_a_good_job_has_no_faults() -> None:
    assert parse(job()).type == "train"


@pytest.mark.parametrize(
    ("document", "pointer", "code", "hint"),
    [
        (job(epochs=3), "/spec/epochs", "unknown_field", "it stands at /spec/training/epochs"),
        (job(seed=3), "/spec/seed", "unknown_field", "it stands at /spec/training/seed"),
        (job(learning_rate=0.1), "/spec/learning_rate", "unknown_field", "it stands at /spec/optimizer/learning_rate"),
        (job() | {"epochs": 3}, "/epochs", "unknown_field", "it stands at /spec/training/epochs"),
        (job(training={"patience": 3}), "/spec/training/patience", "unknown_field",
         "it stands at /spec/optimizer/schedule/patience or /spec/training/early_stopping/patience"),
        (job(optimizer={"kind": "adam", "lr": 0.1}), "/spec/optimizer/lr", "unknown_field",
         "Did you mean 'learning_rate'?"),
        (job(network={"layers": [DENSE | {"neurons": 3}]}), "/spec/network/layers/0/neurons", "unknown_field",
         "Did you mean 'units'?"),
        (job(network={"layers": [DENSE | {"in_features": 4}]}), "/spec/network/layers/0/in_features", "unknown_field",
         "leave it out: it follows from what comes in"),
        (job(dataset=[[1, 2]]), "/spec/dataset", "wrong_type", 'write {"rows": [...]}'),
        (job(optimizer="adam"), "/spec/optimizer", "wrong_type", 'write {"kind": "adam"}'),
        (job(loss="mse"), "/spec/loss", "wrong_type", 'write {"kind": "squared_error"}'),
        (job(loss={"kind": "mae"}), "/spec/loss/kind", "unknown_kind", "Did you mean 'absolute_error'?"),
        (job(dataset="iris"), "/spec/dataset", "wrong_type",
         'write {"id": "ds_..."}, or {"sample": "iris"} of a sample'),
        (job(dataset={"id": "iris"}), "/spec/dataset/id", "invalid_value",
         'a data set\'s id begins with ds_ (GET /v1/datasets); a sample is {"sample": "iris"}'),
        (job(network={"layers": ["dense"]}), "/spec/network/layers/0", "wrong_type", 'write {"kind": "dense"}'),
        (job(network={"layers": [{"type": "dense", "units": 3}]}), "/spec/network/layers/0/kind", "missing",
         'it is called "kind" here: {"kind": "dense"}'),
        (job(network={"layers": [{"kind": "linear", "units": 3}]}), "/spec/network/layers/0/kind", "unknown_kind",
         "Did you mean 'dense'?"),
        (job(network={"layers": [DENSE | {"activation": "linear"}]}), "/spec/network/layers/0/activation",
         "unknown_kind", "leave it out: without one a layer is linear"),
        (job(optimiser={"kind": "adam"}), "/spec/optimiser", "unknown_field", "Did you mean 'optimizer'?"),
        (job(training={"epochs": -3}), "/spec/training/epochs", "out_of_range", None),
        (job(training={"epochs": "7"}), "/spec/training/epochs", "wrong_type", None),
        (job(training={"epochs": True}), "/spec/training/epochs", "wrong_type", None),
        (job(training={"epochs": 2.5}), "/spec/training/epochs", "wrong_type", None),
        (job(training={"shufle": True}), "/spec/training/shufle", "unknown_field", "Did you mean 'shuffle'?"),
        (job(optimizer={"kind": "addam"}), "/spec/optimizer/kind", "unknown_kind", "Did you mean 'adam'?"),
        (job(optimizer={"learning_rate": 1.0}), "/spec/optimizer/kind", "missing", None),
        (job(optimizer={"kind": "adam", "learning_rate": float("nan")}), "/spec/optimizer/learning_rate",
         "not_finite", None),
        (job(network={"layers": []}), "/spec/network/layers", "out_of_range", None),
        (job(network={"layers": [DENSE, {"kind": "dens", "units": 3}]}), "/spec/network/layers/1/kind",
         "unknown_kind", "Did you mean 'dense'?"),
        (job(network={"layers": [{"kind": "gru"}]}), "/spec/network/layers/0/units", "missing", None),
        (job(network={"layers": [{"kind": "dense", "units": 10**10}]}), "/spec/network/layers/0/units",
         "out_of_range", None),
        (job(network={"layers": [DENSE | {"activation": "rel"}]}), "/spec/network/layers/0/activation",
         "unknown_kind", "Did you mean 'relu'?"),
        (job(network={"layers": [CONV | {"kernel_size": []}]}), "/spec/network/layers/0/kernel_size", "missing", None),
        (job(network={"layers": [CONV | {"kernel_size": [3]}]}), "/spec/network/layers/0/kernel_size", "missing", None),
        (job(network={"layers": [CONV | {"padding": -1}]}), "/spec/network/layers/0/padding", "out_of_range", None),
        (job(network={"layers": [CONV | {"padding": "smae"}]}), "/spec/network/layers/0/padding", "unknown_word",
         "Did you mean 'same'?"),
        (job(dataset={"sample": "irises"}), "/spec/dataset/sample", "unknown_word", "Did you mean 'iris'?"),
        (job(dataset={}), "/spec/dataset", "invalid_value", None),
        (job(dataset={"sample": "iris", "validation": 2}), "/spec/dataset/validation", "out_of_range", None),
        (job(dataset={"sample": "iris", "validation": {"ID": "ds_1"}}), "/spec/dataset/validation/ID",
         "unknown_field", "Did you mean 'id'?"),
        ({"type": "trian", "spec": {}}, "/type", "unknown_kind", "Did you mean 'train'?"),
        ({"spec": {}}, "/type", "missing", None),
        ({"type": "ngram", "spec": {"dataset": {"sample": "iris"}, "order": 99}}, "/spec/order", "out_of_range", None),
        ({"type": "ngram", "spec": {"dataset": {"sample": "iris"}, "smoothing": {"kind": "mkn"}}},
         "/spec/smoothing/kind", "unknown_kind", "Did you mean 'modified_kneser_ney'?"),
        ({"type": "ngram", "spec": {"dataset": {"sample": "iris"}, "smoothing": {"kind": "laplace"}}},
         "/spec/smoothing/kind", "unknown_kind", "Did you mean 'add_k'?"),
        ([], "", "wrong_type", None),
        (job() | {"name": "two\nlines"}, "/name", "invalid_value", None),
        (job() | {"a/b~c": 1}, "/a~1b~0c", "unknown_field", None),
    ],
)  # fmt: skip
def test_a_fault_names_its_place(document: object, pointer: str, code: str, hint: str | None) -> None:
    faults = [fault for fault in found(document) if fault.code != "missing" or code == "missing"]
    assert [(each.pointer, each.code, each.hint) for each in faults] == [(pointer, code, hint)]


def test_every_fault_is_told_in_one_answer_and_each_once() -> None:
    layers = [{"kind": "dens"}, DENSE | {"unit": 1}, {"kind": "dropout", "rate": 7}]
    faults = found(job(network={"layers": layers}, training={"epochs": 0}))
    pointers = [each.pointer for each in faults]
    assert pointers == [
        "/spec/network/layers/0/kind",
        "/spec/network/layers/1/unit",
        "/spec/network/layers/2/rate",
        "/spec/training/epochs",
    ]


def test_an_unknown_field_comes_with_the_known_ones() -> None:
    fault = only(job(training={"epoch": 3}))
    assert "epochs" in fault.allowed
    assert "batch_size" in fault.allowed


def test_an_empty_list_says_how_many_it_needs() -> None:
    assert only(job(network={"layers": []})).message == "has 0 items; 1 is the least"


def test_an_object_with_too_many_fields_says_how_many_it_has() -> None:
    class Narrow(BaseModel):
        bias: Annotated[dict[str, int], Field(max_length=1)]

    given = {"bias": {"a": 1, "b": 2}}
    with pytest.raises(ValidationError) as caught:
        Narrow.model_validate(given)
    assert [fault.message for fault in faults(caught.value, Narrow, given)] == ["has 2 items; 1 is the most"]


def test_a_wrong_value_is_repeated_but_not_at_length() -> None:
    fault = only(job(training={"epochs": "x" * 10_000}))
    assert len(fault.message) < 120


def test_a_webhook_is_called_at_a_url_and_signed_with_what_receivers_can_read() -> None:
    document = job() | {"webhook": {"url": "ftp://example.com", "secret": "whsec_not base64"}}
    told = {(fault.pointer, fault.message) for fault in found(document)}
    assert told == {
        ("/webhook/url", 'should begin with http:// or https://, not "ftp://example.com"'),
        ("/webhook/secret", "what follows whsec_ is not base64, as receivers will expect"),
    }
    for secret in ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any other text"):
        parse(job() | {"webhook": {"url": "https://example.com", "secret": secret}})


def test_many_faults_are_cut_off() -> None:
    assert len(found(job(network={"layers": [{"kind": "no"}] * 900}))) == 100


def test_faults_inside_a_dictionary_are_told_by_its_own_names() -> None:
    ranges = {"optimizer.learning_rate": {"min": 0.1, "high": 1}}
    train = job()["spec"]
    told = found(
        {"type": "search", "spec": {"train": train, "candidates": {"kind": "random", "count": 2, "fields": ranges}}}
    )
    place = "/spec/candidates/fields/optimizer.learning_rate"
    assert {(fault.pointer, fault.message, fault.hint) for fault in told} == {
        (f"{place}/low", "'low' is missing", None),
        (f"{place}/min", "unknown field 'min'", "Did you mean 'low'?"),
    }


class Columns(BaseModel):
    steps: list[int]
    times: list[int] = []
    model_config = {"extra": "forbid"}


class Logged(BaseModel):
    series: dict[Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")], Columns] = {}
    metrics: dict[str, float | Literal["NaN"]] = {}
    model_config = {"strict": True}


@pytest.mark.parametrize(
    ("document", "pointer", "message", "hint"),
    [
        ({"series": {"loss": {}}}, "/series/loss/steps", "'steps' is missing", None),
        ({"series": {"loss": {"steps": [], "time": []}}}, "/series/loss/time", "unknown field 'time'",
         "Did you mean 'times'?"),
        ({"series": {"a\nb": {"steps": []}}}, "/series/a\nb", 'should hold no control characters, not "a\\nb"', None),
        ({"metrics": {"loss": "1.5"}}, "/metrics/loss", "should be a valid number or 'NaN', not \"1.5\"", None),
    ],
)  # fmt: skip
def test_faults_inside_objects_with_any_keys_have_their_place(
    document: dict[str, Any], pointer: str, message: str, hint: str | None
) -> None:
    with pytest.raises(ValidationError) as caught:
        Logged.model_validate(document)
    (told,) = faults(caught.value, Logged, document)
    assert (told.pointer, told.message, told.hint) == (pointer, message, hint)


def test_a_list_that_is_too_short_tells_how_long_it_is() -> None:
    told = only(job(network={"layers": [CONV | {"kernel_size": [3]}]}))
    assert (told.pointer, told.message) == ("/spec/network/layers/0/kernel_size", "'kernel_size' has 1 item, too few")
