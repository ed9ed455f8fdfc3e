"""Tables of figures: for a terminal, and as Markdown."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

Rows = Sequence[Sequence[str]]
_WIDEST = 1000  # characters; a narrow terminal breaks the lines


def rendered(title: str, header: Sequence[str], rows: Rows, note: str = "") -> str:
    """A table as text, coloured if stdout is a terminal; figures to the right.

    Words in brackets and between colons are parts of names, no orders to Rich.
    """
    table = Table(title=title, title_justify="left", caption=note, caption_justify="left")
    words = [
        not any(character.isdigit() for row in rows for character in row[i][:1])
        for i in range(len(header))
    ]
    for name, is_text in zip(header, words, strict=True):
        table.add_column(name, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*row)
    terminal = sys.stdout.isatty()
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, markup=False, emoji=False)
    options = console.options.update(width=_WIDEST)
    console.width = Measurement.get(console, options, table).maximum  # no figure is cut short
    console.print(table)
    return text.getvalue().rstrip()


def markdown(header: Sequence[str], rows: Rows) -> str:
    """The same as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
