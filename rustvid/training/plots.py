"""Plots as PNG, drawn by matplotlib, which is loaded when a plot is drawn and not before.

It is the extra `plots`: without it everything else works.
"""

from __future__ import annotations

import csv
import importlib
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SinkError, UsageError
from rustvid.training import metrics
from rustvid.training.evaluate import ClassReport

_DOTS = 120  # per inch


def available() -> bool:
    """Whether matplotlib is installed."""
    return util.find_spec("matplotlib") is not None


def check() -> None:
    """Raise UsageError, with the remedy, where matplotlib is not installed."""
    _figure(1, 1)


def _figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    """A figure of so many inches and its panels, side by side; no window, no global state."""
    try:
        module = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as exc:
        raise UsageError(
            "plots need matplotlib, which is not installed; pip install 'rustvid[plots]'"
        ) from exc
    figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(1, panels)))


def _saved(figure: Any, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=_DOTS)
    except OSError as exc:
        raise SinkError(f"{path}: cannot be written ({exc.strerror}); check the folder") from exc
    return path


def roc(report: ClassReport, path: Path) -> Path:
    """Recall over false alarms at every threshold, and where the threshold in use is."""
    figure, (axes,) = _figure(5, 5)
    axes.plot(*metrics.roc(report.truth, report.probability), color="C0")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    count = report.confusion
    axes.plot(count.fp / max(count.fp + count.tn, 1), count.recall, "o", color="C1")
    axes.annotate(f"p > {report.threshold:g}", (0.97, 0.03), ha="right", color="C1")
    axes.set(
        title=f"ROC, AUC {report.estimates['AUC']}",
        xlabel="clean photos called corroded",
        ylabel="corroded photos found (recall)",
        aspect="equal",
    )
    return _saved(figure, path)


def precision_recall(report: ClassReport, path: Path) -> Path:
    """Precision over recall at every threshold, and the share of corroded photos as the floor."""
    figure, (axes,) = _figure(5, 5)
    axes.plot(*metrics.precision_recall(report.truth, report.probability), color="C0")
    axes.axhline(float(report.truth.mean()), color="0.7", linestyle=":")
    count = report.confusion
    axes.plot(count.recall, count.precision, "o", color="C1", label=f"p > {report.threshold:g}")
    axes.set(
        title="Precision and recall",
        xlabel="recall",
        ylabel="precision",
        xlim=(-0.02, 1.02),
        ylim=(0, 1.05),
    )
    axes.legend(loc="lower left")
    return _saved(figure, path)


def reliability(report: ClassReport, path: Path) -> Path:
    """What p(corrosion) states against how often it is true, and how often it is stated."""
    bins = metrics.reliability(report.truth, report.probability)
    stated = [b.stated for b in bins]
    figure, (left, right) = _figure(9, 4.5, 2)
    left.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    left.plot(stated, [b.observed for b in bins], "o-", color="C0")
    left.set(
        title=f"Calibration error {report.estimates['calibration error']}",
        xlabel="stated p(corrosion)",
        ylabel="share truly corroded",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    edges = np.linspace(0, 1, 21)
    both = [report.probability[~report.truth], report.probability[report.truth]]
    right.hist(both, edges, label=["not corroded", "corroded"], color=["C2", "C3"], stacked=True)
    right.set(title="What is stated", xlabel="stated p(corrosion)", ylabel="photos")
    right.legend()
    return _saved(figure, path)


def curves(log: Path, path: Path | None = None) -> Path:
    """The columns of a training's CSV log over its steps, as PNG beside the log.

    The first column is the step; "seconds" is not drawn. Columns that end in the same word share a
    panel.
    """
    names, table = _read(log)
    drawn = [i for i, name in enumerate(names) if i and name not in ("seconds", "time_s")]
    panels: dict[str, list[int]] = {}
    for index in drawn:
        panels.setdefault(names[index].rpartition("_")[2], []).append(index)
    figure, axes = _figure(5 * max(len(panels), 1), 4, max(len(panels), 1))
    for axis, (kind, columns) in zip(axes, panels.items(), strict=False):
        for index in columns:
            known = ~np.isnan(table[:, index])  # measured now and then only, perhaps
            axis.plot(table[known, 0], table[known, index], label=names[index])
        axis.set(title=kind, xlabel=names[0])
        axis.legend()
    return _saved(figure, path or log.with_suffix(".png"))


def _read(log: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Column names, (rows, columns) with nan where a cell is empty."""
    try:
        with log.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as exc:
        raise UsageError(f"{log}: cannot be read ({exc.strerror})") from exc
    if not rows:
        raise UsageError(f"{log}: is empty, there is nothing to draw")
    names, width = rows[0], len(rows[0])
    try:
        values = [[float(cell) if cell else np.nan for cell in row] for row in rows[1:]]
        return names, np.array(values, np.float64).reshape(-1, width)
    except ValueError as exc:
        raise UsageError(f"{log}: holds what is not a number: {exc}") from exc
