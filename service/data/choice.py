"""Which columns are learned, and which are learned from: as the spec names them, or by rule."""

from __future__ import annotations

from service.data.description import ColumnDescription, Description
from service.data.faults import SpecFaults
from service.data.spec import ByColumn, DatasetSpec, Fold, Ordered
from service.errors import did_you_mean

TARGET_NAMES = ("target", "label", "labels", "class", "y", "species")

Columns = list[ColumnDescription]


def choose(
    description: Description, spec: DatasetSpec, faults: SpecFaults, warnings: list[str]
) -> tuple[Columns, Columns]:
    """(targets, features) as named, or by the rules where they are not."""
    if description.kind == "text":
        faults.add("/dataset", "text", "a text has no columns to learn a target from", "train an n-gram model on it")
        return [], []
    if spec.window is not None:
        faults.add("/dataset/window", "not_text", "window is how many characters of a text a row has; these are rows")
    if spec.column is not None:
        faults.add("/dataset/column", "not_text", "column names a text column for text models; use features here")
    columns = {column.name: column for column in description.columns}
    named = spec.targets if spec.targets is not None else [default_target(list(columns))]
    many = isinstance(spec.target, list)
    places = ["/dataset/target" + (f"/{at}" if many else "") for at in range(len(named))]
    targets = [columns[name] for name, at in zip(named, places, strict=True) if _known(name, at, columns, faults)]
    if spec.features is None:
        taken = {*named, spec.split.column} if isinstance(spec.split, ByColumn) else set(named)
        return targets, _default_features(columns, taken, faults, warnings)
    return targets, _named_features(spec.features, columns, set(named), faults)


def check_split(
    description: Description, spec: DatasetSpec, targets: Columns, faults: SpecFaults, *, classes: bool
) -> None:
    """The columns that a split names are there and can decide."""
    columns = {column.name: column for column in description.columns}
    if isinstance(spec.split, Ordered | ByColumn) and spec.split.column is not None:
        place = "/dataset/split/column"
        if _known(spec.split.column, place, columns, faults) and columns[spec.split.column].shape:
            faults.add(place, "not_a_value", f"column {spec.split.column!r} holds arrays, which have no order")
    if spec.stratified and (len(targets) > 1 or not classes or any(target.shape for target in targets)):
        message = "stratified splits need one target of classes"
        place, hint = (
            ("stratified", "leave it out") if isinstance(spec.split, Fold) else ("kind", 'take {"kind": "random"}')
        )
        faults.add(f"/dataset/split/{place}", "no_classes", message, hint)


def default_target(names: list[str]) -> str:
    """The first of TARGET_NAMES that is a column, whatever its case; else the last column."""
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in TARGET_NAMES if name in by_lower), names[-1])


def _known(name: str, place: str, columns: dict[str, ColumnDescription], faults: SpecFaults) -> bool:
    if name in columns:
        return True
    names = list(columns)
    faults.add(place, "unknown_column", f"no column {name!r}", did_you_mean(name, names), tuple(names[:20]))
    return False


def _default_features(
    columns: dict[str, ColumnDescription], targets: set[str], faults: SpecFaults, warnings: list[str]
) -> Columns:
    rest = [column for name, column in columns.items() if name not in targets]
    texts = [column.name for column in rest if column.type == "text"]
    empty = [column.name for column in rest if is_empty(column)]
    sequences = [column for column in rest if column.type == "sequence"]
    if sequences:
        apart = [column.name for column in rest if column.type not in ("sequence", "text")]
        if apart:
            warnings.append(f"columns beside sequences are not learned from: {', '.join(map(repr, apart[:10]))}")
        rest = sequences
    if texts:
        warnings.append(f"free text is not learned from: {', '.join(map(repr, texts[:10]))}")
    if empty:
        warnings.append(f"columns without any value are left out: {', '.join(map(repr, empty[:10]))}")
    features = [column for column in rest if column.type != "text" and not is_empty(column)]
    if not features:
        faults.add("/dataset/features", "no_features", "no column is left to learn from beside the target",
                   _lone_hint(list(columns.values()), texts))  # fmt: skip
    return features


def _lone_hint(columns: Columns, texts: list[str]) -> str | None:
    """What to do about a data set that has one column alone, or nothing but texts beside it."""
    if texts:
        return f"{texts[0]!r} is free text; types={texts[0]}:date (or :category) at the upload makes more of it"
    if [column.type for column in columns] == ["image"]:
        return "a zip tells what a picture shows by the folder it lies in"
    return f"{columns[0].name!r} is the only column: what is to be told of it is another" if len(columns) == 1 else None


def _named_features(
    names: list[str], columns: dict[str, ColumnDescription], targets: set[str], faults: SpecFaults
) -> Columns:
    features = []
    for at, name in enumerate(names):
        place = f"/dataset/features/{at}"
        if not _known(name, place, columns, faults):
            continue
        if name in targets:
            faults.add(place, "target_as_feature", f"column {name!r} is the target and cannot be a feature too")
        elif columns[name].type == "text":
            faults.add(place, "text", f"column {name!r} holds free text, which networks of tables do not learn from")
        elif is_empty(columns[name]):
            faults.add(place, "no_values", f"column {name!r} has no value in any row")
        features.append(columns[name])
    return features


def is_empty(column: ColumnDescription) -> bool:
    """Whether no row has a value."""
    return column.distinct == 0 if column.type == "category" else column.type == "number" and column.min is None
