"""What a person sees: live progress on a terminal, plain lines elsewhere, tables at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from horizoncast.models.progress import TRAINING

_QUARTERS = 4
WIDTH = 160


class Screen:
    """Progress and results of one command.

    Parameters
    ----------
    as_json
        Whether stdout is for JSON alone; progress then goes to stderr like always.
    quiet
        No progress at all.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = _console()
        self.log = Console(stderr=True, highlight=False)
        self._live: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, int] = {}

    @property
    def live(self) -> bool:
        """Whether progress is drawn in place: on a terminal only."""
        return self.log.is_terminal and not self.quiet

    @contextmanager
    def progressing(self) -> Iterator[None]:
        """Show progress while the body runs."""
        self._tasks, self._told = {}, {}
        if not self.live:
            yield
            return
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.log, transient=True) as progress:
            self._live = progress
            try:
                yield
            finally:
                self._live = None

    def tell(self, line: str) -> None:
        """One line on stderr as a part of the run begins."""
        if not self.quiet:
            self.log.print(escape(line), soft_wrap=True)

    def complain(self, line: str) -> None:
        """One line on stderr that even ``--quiet`` shows."""
        self.log.print(escape(line), soft_wrap=True)

    def advance(self, member: str, done: int, total: int) -> None:
        """A member has answered `done` of `total` cutoffs, or trained as many steps; from any thread."""
        if self.quiet:
            return
        if self._live is not None:
            if member not in self._tasks:
                self._tasks[member] = self._live.add_task(member, total=total)
            self._live.update(self._tasks[member], completed=done, total=total)
            return
        quarter = _QUARTERS * done // max(1, total)
        if quarter > self._told.get(member, 0):
            self._told[member] = quarter
            what = "steps" if member.endswith(f" {TRAINING}") else "cutoffs"
            self.log.print(f"  {escape(member)}: {done} of {total} {what}")

    def rows(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        """A table of labels and texts."""
        self._head(title)
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in rows:
            table.add_row(escape(label), escape(text))
        self.out.print(table)

    def paths(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Labels and paths, never broken into lines, so that they can be copied."""
        for label, path in pairs:
            self.out.print(f"{escape(label)}: {escape(path)}", soft_wrap=True)

    def table(
        self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, least_width: int = 0
    ) -> None:
        """A table with a head; turned on its side where there are fewer columns than `least_width`."""
        self._head(title)
        if self.out.width < least_width:
            turned = list(zip(head, *rows, strict=True))
            head, rows = turned[0], turned[1:]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in head:
            table.add_column(escape(name), overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.out.print(table)

    def _head(self, title: str) -> None:
        if title:
            self.out.print(escape(title), style="bold")


def _console() -> Console:
    """Stdout; a file or a pipe has no width of its own, so tables are not squeezed into 80 columns."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def print_json(value: Any) -> None:
    """JSON on stdout; numbers that are not finite become null, so that any reader takes it."""
    from horizoncast.store.plain import plain

    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
