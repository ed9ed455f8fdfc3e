"""Measures: of a classifier (paper, eq. 11–14, and the area under its ROC), of masks, of chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class answer; "positive" is corrosion."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def accuracy(self) -> float:
        """Eq. 11."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Eq. 12."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Eq. 13."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Eq. 14."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def area_error(self) -> float:
        """|marked share − true share| of the picture, in percentage points."""
        return 100 * _ratio(abs(self.fp - self.fn), self.tp + self.tn + self.fp + self.fn)

    @property
    def marked(self) -> float:
        """Share of pixels answered "corrosion"."""
        return _ratio(self.tp + self.fp, self.tp + self.tn + self.fp + self.fn)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def confusion(truth: Array, answer: Array) -> Confusion:
    """Compare two boolean arrays of one shape."""
    truth, answer = np.asarray(truth, bool), np.asarray(answer, bool)
    tp = int(np.count_nonzero(truth & answer))
    true, said = int(np.count_nonzero(truth)), int(np.count_nonzero(answer))
    return Confusion(tp, said - tp, true - tp, truth.size - said - true + tp)


def auc(truth: Array, score: Array) -> float:
    """Chance that a random positive scores above a random negative; ties count half."""
    truth, score = np.asarray(truth, bool), np.asarray(score, float)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[inverse]
    wins = rank[truth].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def calibration_error(truth: Array, probability: Array, bins: int = 10) -> float:
    """Expected calibration error: mean |stated − observed| over equal bins of probability."""
    truth, probability = np.asarray(truth, float), np.asarray(probability, float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    total = 0.0
    for index in range(bins):
        inside = which == index
        if inside.any():
            gap = abs(float(probability[inside].mean() - truth[inside].mean()))
            total += gap * float(inside.mean())
    return total


def pooled(counts: list[Confusion]) -> Confusion:
    """The sum: one confusion over all pixels of all pictures."""
    return sum(counts, Confusion(0, 0, 0, 0))


def bootstrap(
    measure: Callable[[Array], float], count: int, *, rounds: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of measure(indices) over `rounds` draws with replacement of `count` items."""
    rng = np.random.default_rng(seed)
    values = [measure(rng.integers(0, count, count)) for _ in range(rounds)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
