"""What can be trained and is hardly meant: told with a plan, never refused."""

from __future__ import annotations

from collections.abc import Iterator

from service.engine.layers import ACTIVATIONS
from service.engine.recipe import Recipe
from service.engine.row import RowPlan

_COLOURS = 4  # channels that a picture has at most


def doubts(recipe: Recipe, row: RowPlan, rows: int, outputs: int) -> Iterator[str]:
    """A sentence for each thing that a reader of the plan should know."""
    for part in row.parts:
        yield from (f"layer {part.index}: {text}" for text in part.plan.warnings)
    yield from _many_channels(row)
    advice = recipe.loss.advice(recipe.network.end if recipe.network.end in ACTIVATIONS else None)
    if advice:
        yield advice
    size = recipe.training.batch_size
    if recipe.optimizer.whole_batch:
        if "batch_size" in recipe.training.model_fields_set and size != rows:
            yield f"{recipe.optimizer.kind} takes all {rows:,} rows at every step: batch_size {size} is not used"
    else:
        if size > rows:
            counted = "only row" if rows == 1 else f"{rows} rows"
            yield f"batch_size {size} is more than the {counted}: every epoch is one step"
        yield from _lone_rows(row, rows, size)
    if recipe.loss.target == "class":
        yield from _always_right(recipe, outputs)


def _many_channels(row: RowPlan) -> Iterator[str]:
    """A clip of pictures without an axis of channels has the shape of one picture of many."""
    dims, first = row.shape.dims, row.parts[0].layer
    if len(dims) == 3 and dims[-1] > _COLOURS and str(getattr(first, "kind", "")).endswith("2d"):
        height, width, channels = dims
        yield (
            f"layer 0: rows are read as pictures of {height} x {width} with {channels} channels; clips of {height}"
            f" pictures take a reshape to [{height}, {width}, {channels}, 1] and the 3d kind"
        )


def _lone_rows(row: RowPlan, rows: int, size: int) -> Iterator[str]:
    """A batch norm that sees one number of a channel gives its bias whatever the row, and takes 0 for the variance."""
    if min(size, rows) > 1 and rows % size != 1:
        return
    whose = "a batch of one row" if min(size, rows) == 1 else f"the last batch, one row of {rows:,},"
    for part in row.parts:
        if part.layer.couples_rows and part.shape.size == part.shape.dims[-1]:
            yield f"layer {part.index}: {whose} has no variance to norm by; take another batch_size, or a layer_norm"


def _always_right(recipe: Recipe, outputs: int) -> Iterator[str]:
    for name in recipe.metrics or ():
        if name.startswith("top_") and outputs <= int(name.split("_")[1]):
            yield f"{name} of {outputs} classes is always 1"
