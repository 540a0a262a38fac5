"""Tables and progress on a terminal: with rich where it is installed, else plain."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Row = Sequence[str]


def have_rich() -> bool:
    """Whether rich is installed."""
    return importlib.util.find_spec("rich") is not None


def _numeric(column: str) -> bool:
    return column.endswith(" ")


def plain(title: str, columns: Row, rows: Sequence[Row]) -> str:
    """Return a table as text; a column whose name ends in a space is aligned to the right."""
    names = [c.strip() for c in columns]
    widths = [max(len(row[i]) for row in (names, *rows)) for i in range(len(columns))]

    def line(row: Row) -> str:
        cells = (c.rjust(w) if _numeric(n) else c.ljust(w) for c, w, n in zip(row, widths, columns, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join([title, line(names), "  ".join("-" * w for w in widths), *(line(row) for row in rows)])


def show(title: str, columns: Row, rows: Sequence[Row]) -> None:
    """Print a table; a column whose name ends in a space is aligned to the right."""
    if not (have_rich() and sys.stdout.isatty()):
        print(plain(title, columns, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.strip(), justify="right" if _numeric(column) else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


@contextlib.contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """Give a function that announces the next step, shown on stderr."""
    if have_rich() and sys.stderr.isatty():
        with _rich_progress(total, what) as step:
            yield step
        return
    done = 0

    def announce(name: str) -> None:
        nonlocal done
        done += 1
        print(f"[{done}/{total}] {name}", file=sys.stderr, flush=True)

    yield announce


@contextlib.contextmanager
def _rich_progress(total: int, what: str) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task: Any = bar.add_task(what, total=total)
        begun = 0

        def announce(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=f"{what}: {name}")
            begun += 1

        yield announce
