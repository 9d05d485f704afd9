"""What the demo shows: bars in a terminal, plain lines elsewhere, never wider than 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

WIDTH = 80
_SHADES = " ░▒▓█"
_PLAIN_SHADES = " .+%@"
_INK = 16  # the darkest value of a digit's pixel


def console() -> Console:
    """Standard output; 80 columns, or fewer when the terminal has fewer."""
    out = Console(highlight=False)
    return Console(highlight=False, width=min(WIDTH, out.width))


class Bars:
    """One bar a job; where there is no terminal, a line at each quarter of the way."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self._quarters: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("  {task.description:8}"),
            BarColumn(bar_width=22),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}"),
            console=out,
            disable=not out.is_terminal,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, name: str, fraction: float, said: str) -> None:
        """Moves a job's bar."""
        if self.out.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=1.0, said=said)
            self._progress.update(self._tasks[name], completed=fraction, said=said)
        elif int(4 * fraction) > self._quarters.get(name, -1):
            self._quarters[name] = int(4 * fraction)
            self.out.print(f"  {name:8} {fraction:4.0%}  {said}".rstrip())


def indented(out: Console, text: str) -> None:
    """A paragraph, wrapped, two columns in."""
    for line in Text.from_markup(text).wrap(out, out.width - 4):
        line.rstrip()
        out.print("  ", line, sep="")


def gallery(
    out: Console, images: Sequence[NDArray[Any]], truths: Sequence[str], answers: Sequence[Mapping[str, Any]]
) -> None:
    """Digits side by side: what was drawn, what it is, what the model says and how sure it is."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for _ in range(len(images) + 1):
        table.add_column()
    shades = _PLAIN_SHADES if out.options.ascii_only else _SHADES
    table.add_row(" ", *(picture(image, shades) for image in images))
    table.add_row("  truth", *truths)
    table.add_row("  model", *(_verdict(truth, answer) for truth, answer in zip(truths, answers, strict=True)))
    table.add_row("  sure", *(f"{answer['probability']:.1%}" for answer in answers))
    out.print(table)


def _verdict(truth: str, answer: Mapping[str, Any]) -> str:
    colour = "green" if answer["label"] == truth else "bold red"
    return f"[{colour}]{answer['label']}[/]" + ("" if answer["label"] == truth else " wrong")


def picture(image: NDArray[Any], shades: str = _SHADES) -> str:
    """An image as text; two rows of pixels make one of characters. image: (height, width)"""
    halved = image.reshape(image.shape[0] // 2, 2, -1).mean(axis=1) / _INK
    places = np.minimum((halved * len(shades)).astype(int), len(shades) - 1)
    return "\n".join("".join(shades[place] for place in row) for row in places)


def confusion(out: Console, truths: Sequence[str], labels: Sequence[str]) -> None:
    """Which digit was taken for which, how often."""
    pairs = Counter(zip(truths, labels, strict=True))
    classes = sorted(set(truths) | set(labels))
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("  truth \\ model", style="bold")
    for each in classes:
        table.add_column(each, justify="right")
    for truth in classes:
        cells = [_cell(pairs[truth, label], truth == label) for label in classes]
        table.add_row(f"  {truth:>13}", *cells)
    out.print(table)


def _cell(count: int, right: bool) -> str:
    if not count:
        return "[dim].[/]"
    return f"[green]{count}[/]" if right else f"[bold red]{count}[/]"
