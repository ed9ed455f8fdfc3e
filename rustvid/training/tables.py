"""The figures of an evaluation as tables: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rustvid.redact import shown
from rustvid.report.tables import markdown as markdown  # card.py and the benchmarks ask here
from rustvid.report.tables import rendered
from rustvid.training import metrics
from rustvid.training.evaluate import ClassReport
from rustvid.training.masks import FLOOR, MaskReport, SetReport

T = TypeVar("T")
MASK_HEADER = (
    "set",
    "method",
    "pooled IoU",
    "mean IoU",
    "precision",
    "recall",
    "F1",
    "area error, points",
    "clean marked",
    "marked",
    "called",
    "ms",
    "n",
)
_NOTE = "In brackets: 95 % bootstrap over photos, or seconds of a film."


def watched(items: Iterable[T], text: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        yield from bar.track(items, total, description=shown(text))


# --- photos with labels ----------------------------------------------------------------------


def class_report(report: ClassReport) -> str:
    """Measures, confusion matrix and, where known, sources."""
    count = report.confusion
    measures = [
        [name, metrics.told(e.value, 3), e.interval(3)] for name, e in report.estimates.items()
    ]
    called = [
        ["corrosion", str(count.tp), str(count.fn)],
        ["not corrosion", str(count.fp), str(count.tn)],
    ]
    title = f"{count.total} photos, {count.positives} corroded"
    told = [
        rendered(title, ("measure", "value", "95 %"), measures),
        rendered(
            f"at p > {report.threshold:g}", ("truth", "called corrosion", "called clean"), called
        ),
    ]
    if sources := source_rows(report):
        header = ("source", "photos", "corroded", "accuracy", "missed", "false alarms")
        told.append(rendered("by source", header, sources))
    return "\n".join(told)


def source_rows(report: ClassReport) -> list[list[str]]:
    """A row a source, most photos first."""
    return [
        [name, str(c.total), str(c.positives), f"{c.accuracy:.3f}", str(c.fn), str(c.fp)]
        for name, c in report.by_source().items()
    ]


# --- masks -----------------------------------------------------------------------------------


def mask_report(reports: Iterable[SetReport]) -> str:
    """One table of all sets and methods, and how the confidence did."""
    found = list(reports)
    told = [rendered("masks", MASK_HEADER, mask_rows(found), _NOTE)]
    return "\n".join([*told, *(line for report in found if (line := trust_line(report)))])


def trust_line(report: SetReport) -> str:
    """Confidence against area error, and the flags, of a set; "" where there is neither."""
    said = []
    if not np.isnan(report.trust_correlation):
        said.append(
            f"confidence against area error, rank correlation {report.trust_correlation:.2f}"
        )
    if report.flags:
        said.append("flagged: " + ", ".join(f"{n} {name}" for name, n in report.flags.items()))
    return f"{report.name}: {'; '.join(said)}" if said else ""


def mask_rows(reports: Iterable[SetReport]) -> list[list[str]]:
    """A row for every method on every set; of footage without rust there is no IoU."""
    return [
        _mask_row(found, label, report)
        for found in reports
        for label, report in found.methods.items()
    ]


def _mask_row(found: SetReport, label: str, report: MaskReport) -> list[str]:
    measures = ["–"] * 6
    if report.has_rust:
        e = report.estimates
        bracketed = [str(e[name]) for name in ("IoU", "mean IoU")]
        plain = [metrics.told(e[name].value, 2) for name in ("precision", "recall", "F1")]
        area = e["area error"]
        measures = [*bracketed, *plain, f"{area.value:.1f} ({area.interval(1)})"]
    clean = "–" if np.isnan(report.clean_marked) else f"{100 * report.clean_marked:.1f} %"
    ends = [
        clean,
        f"{100 * report.marked:.1f} %",
        "–" if label == FLOOR else f"{100 * found.called:.1f} %",
        f"{report.milliseconds:.0f}",
        str(len(report.counts)),
    ]
    return [found.name, label, *measures, *ends]
