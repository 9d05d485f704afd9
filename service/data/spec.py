"""What JSON may say of the data of a job."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from service.data.dates import DateParts
from service.data.missing import Missing

SampleName = Literal["digits", "iris", "python_reference", "spiral", "xor"]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Names = Annotated[list[Name], Field(min_length=1, max_length=10_000)]

MOST_ROWS = 100_000  # inline; the body's own limit comes first


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Reference(_Strict):
    """An uploaded data set, by its id."""

    id: str = Field(pattern=r"^ds_[A-Za-z0-9_-]{1,64}$", description="The data set's id.")


def _shape_of(value: Any) -> str:
    return "many" if isinstance(value, list) else "object" if isinstance(value, dict | Reference) else "one"


Fraction = Annotated[float, Field(ge=0.0, le=0.9)]
Part = Annotated[
    Annotated[Fraction, Tag("one")] | Annotated[Reference, Tag("object")],
    Discriminator(
        _shape_of,
        custom_error_type="fraction_or_reference",
        custom_error_message='expected a fraction from 0 to 0.9, or {"id": "ds_..."}',
    ),
]
Target = Annotated[
    Annotated[Name, Tag("one")] | Annotated[Names, Tag("many")],
    Discriminator(
        _shape_of,
        custom_error_type="name_or_names",
        custom_error_message="expected a column's name, or a list of names",
    ),
]
Row = Annotated[
    Annotated[dict[str, Any], Tag("object")] | Annotated[list[Any], Tag("many")],
    Discriminator(
        _shape_of,
        custom_error_type="row",
        custom_error_message="expected a row: an object by column name, or an array of values",
    ),
]


class Random(_Strict):
    """Any row can be in any part: ranked by a hash of its number and `split_seed` (splitmix64)."""

    kind: Literal["random"]


class Stratified(_Strict):
    """As random, but each part has the same share of every class, to a row. The target is one column of classes."""

    kind: Literal["stratified"]


class Ordered(_Strict):
    """The past trains, the future tests: the test part is the end of the rows, the validation part what precedes it.

    By `column` in rising order (numbers; or words, by their letters: ISO dates), else by their order in the file. Rows
    without a value train.
    """

    kind: Literal["ordered"]
    column: Name | None = Field(default=None, description="The column to order by.")


class ByColumn(_Strict):
    """A column says where a row belongs: where it has the word `validation` or `test` names; all other rows train."""

    kind: Literal["by_column"]
    column: Name = Field(description="The column; it is no feature then, unless named as one.")
    validation: Name | None = Field(default=None, description="Its value in rows of the validation part.")
    test: Name | None = Field(default=None, description="Its value in rows of the test part.")


class Fold(_Strict):
    """Cross-validation: after the test part is taken, the validation part is fold `fold` of `folds` equal ones.

    One run for each fold, 0 to folds - 1, scores every row once; a job of type `search` makes them all. With
    `stratified` each fold has the same share of every class, to a row.
    """

    kind: Literal["fold"]
    folds: int = Field(ge=2, le=100, description="How many folds there are.")
    fold: int = Field(ge=0, lt=100, description="Which one is kept aside, from 0.")
    stratified: bool = Field(default=False, description="Whether the folds are alike in their classes.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Fold:
        if self.fold >= self.folds:
            raise PydanticCustomError("no_such_fold", "of {folds} folds the last is {last}", {
                "folds": self.folds, "last": self.folds - 1})  # fmt: skip
        return self


Split = Annotated[
    Random | Stratified | Ordered | ByColumn | Fold, Field(discriminator="kind")
]  # fmt: skip


class DatasetSpec(_Strict):
    """The rows to learn from: an upload by id, a sample by name, or rows given here; and how they are used.

    Without `target` it is the column called target, label, labels, class, y or species (in this order), else the last.
    Without `features` they are all other columns but free text. Of a text a network learns each character from those
    before it; validation and test are then its end.
    """

    id: str | None = Field(default=None, pattern=r"^ds_[A-Za-z0-9_-]{1,64}$", description="An uploaded data set.")
    sample: SampleName | None = Field(default=None, description="A data set that comes with the service.")
    rows: list[Row] | None = Field(
        default=None, min_length=1, max_length=MOST_ROWS, description="Rows: objects by column name, or arrays."
    )
    features: Names | None = Field(default=None, description="Columns to learn from, in this order.")
    target: Target | None = Field(default=None, description="The column to learn, or several of numbers.")
    column: Name | None = Field(default=None, description="For text models: the table's column that holds the text.")
    window: int | None = Field(
        default=None, ge=1, le=100_000,
        description="For networks on a text: characters in a row, and steps that a gradient goes back; by default 50.",
    )  # fmt: skip
    validation: Part = Field(default=0.0, description="Rows kept aside and scored after each epoch.")
    test: Part = Field(default=0.0, description="Rows kept aside and scored once, at the end.")
    split: Split | None = Field(default=None, description="How rows are kept aside; random by default.")
    missing: Missing | None = Field(
        default=None,
        description="What stands for missing values: one policy for all columns that it suits, or one by column. "
        "Without: a number's mean and a slot that says so, a category of its own for words.",
    )
    dates: Annotated[dict[Name, DateParts], Field(max_length=100)] | None = Field(
        default=None, description="Columns of dates, and which parts of them are learned from."
    )
    split_seed: int = Field(default=0, ge=0, lt=2**63, description="Which rows are kept aside.")
    preprocess: Literal["auto", "none"] = Field(
        default="auto", description="auto scales numbers and encodes categories; none takes numbers as they are."
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatasetSpec:
        given = [name for name in ("id", "sample", "rows") if getattr(self, name) is not None]
        if len(given) != 1:
            found = "none is given" if not given else " and ".join(given) + " are given"
            raise PydanticCustomError(
                "one_source", "exactly one of id, sample and rows names the data; {found}", {"found": found}
            )
        return self

    @model_validator(mode="after")
    def _something_left(self) -> DatasetSpec:
        kept = [part for part in (self.validation, self.test) if isinstance(part, float | int)]
        if sum(kept) > 0.95:
            raise PydanticCustomError(
                "nothing_left",
                "validation and test together take {kept} of the rows: at most 0.95",
                {"kept": sum(kept)},
            )
        return self

    @model_validator(mode="after")
    def _one_word_on_parts(self) -> DatasetSpec:
        own = {"by_column": ("validation", "test"), "fold": ("validation",)}.get(
            self.split.kind if self.split else "", ()
        )
        for name in own:
            if getattr(self, name) != 0.0:
                raise PydanticCustomError(
                    "two_words", "the split says which rows are the {name} part: leave {name} out", {"name": name}
                )
        return self

    @model_validator(mode="after")
    def _each_once(self) -> DatasetSpec:
        features, target = self.features or [], self.targets or []
        for word, names in (("features", features), ("target", target)):
            twice = [repr(name) for name, count in Counter(names).items() if count > 1]
            if twice:
                raise PydanticCustomError("twice", "{word} names {twice} twice", {"word": word, "twice": twice[0]})
        return self

    @property
    def stratified(self) -> bool:
        """Whether the parts are to be alike in their classes."""
        return isinstance(self.split, Stratified) or (isinstance(self.split, Fold) and self.split.stratified)

    @property
    def targets(self) -> list[str] | None:
        """The target columns as a list; None when not said."""
        return [self.target] if isinstance(self.target, str) else self.target
