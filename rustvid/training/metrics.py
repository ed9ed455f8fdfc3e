"""Measures: of a classifier (paper, eq. 11–14, and the area under its ROC), of masks, of chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class answer; "positive" is corrosion. A measure is nan where it would
    divide by nothing: there is no recall where nothing is corroded."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def total(self) -> int:
        """All that was answered."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def positives(self) -> int:
        """All that is truly corrosion."""
        return self.tp + self.fn

    @property
    def accuracy(self) -> float:
        """Eq. 11."""
        return _ratio(self.tp + self.tn, self.total)

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
        """Intersection over union; 0 where nothing is true or marked, so that it can be ranked."""
        union = self.tp + self.fp + self.fn
        return self.tp / union if union else 0.0

    @property
    def area_error(self) -> float:
        """|marked share − true share| of the picture, in percentage points."""
        return 100 * _ratio(abs(self.fp - self.fn), self.total)

    @property
    def marked(self) -> float:
        """Share of pixels answered "corrosion"."""
        return _ratio(self.tp + self.fp, self.total)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


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
    wins = _ranks(score)[truth].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def roc(truth: Array, score: Array) -> tuple[Array, Array]:
    """(false positive rate, recall) at every threshold, from (0, 0) to (1, 1)."""
    tp, fp = _cumulated(truth, score)
    return fp / max(fp[-1], 1), tp / max(tp[-1], 1)


def precision_recall(truth: Array, score: Array) -> tuple[Array, Array]:
    """(recall, precision) at every threshold, the highest first."""
    tp, fp = _cumulated(truth, score)
    return tp[1:] / max(tp[-1], 1), tp[1:] / (tp[1:] + fp[1:])


def _cumulated(truth: Array, score: Array) -> tuple[Array, Array]:
    """True and false positives with 0, 1, 2, … of the distinct scores called corrosion."""
    truth, score = np.asarray(truth, bool), np.asarray(score, float)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.nonzero(np.diff(score[order]))[0], truth.size - 1)
    hits = np.cumsum(truth[order])[last]
    return np.append(0, hits), np.append(0, last + 1 - hits)


@dataclass(frozen=True)
class Bin:
    """Answers of similar probability: what was stated on average, what was true, how many."""

    stated: float
    observed: float
    count: int


def reliability(truth: Array, probability: Array, bins: int = 10) -> list[Bin]:
    """Equal bins of probability; those without an answer are left out."""
    truth, probability = np.asarray(truth, float), np.asarray(probability, float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    chosen = [which == index for index in range(bins)]
    return [
        Bin(float(probability[c].mean()), float(truth[c].mean()), int(c.sum()))
        for c in chosen
        if c.any()
    ]


def calibration_error(truth: Array, probability: Array, bins: int = 10) -> float:
    """Expected calibration error: mean |stated − observed| over equal bins of probability."""
    gaps = [abs(b.stated - b.observed) * b.count for b in reliability(truth, probability, bins)]
    return sum(gaps) / max(np.asarray(truth).size, 1)


def spearman(a: Array, b: Array) -> float:
    """Rank correlation in [−1, 1]; ties share their mean rank; nan where one is constant."""
    first, second = _ranks(np.asarray(a, float)), _ranks(np.asarray(b, float))
    if first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def pooled(counts: list[Confusion]) -> Confusion:
    """The sum: one confusion over all pixels of all pictures."""
    return sum(counts, Confusion(0, 0, 0, 0))


def told(value: float, digits: int) -> str:
    """For a reader: "–" where it is nan."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % bootstrap interval; nan where there is none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{told(self.value, 3)} ({self.interval(2)})"

    def interval(self, digits: int) -> str:
        """ "0.41–0.53", or "–"."""
        if np.isnan(self.low):
            return "–"
        return f"{told(self.low, digits)}–{told(self.high, digits)}"

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, where there is no nan."""
        found = {"value": self.value, "low": self.low, "high": self.high}
        return {key: None if np.isnan(v) else round(v, 5) for key, v in found.items()}


def estimate(
    measure: Callable[[Array], float], groups: Sequence[Any], *, rounds: int = 500
) -> Estimate:
    """`measure` of all items, by indices, and its interval.

    groups: of every item the group it was drawn with, for example a photo's own name, or the
    second of a film: frames of one second are alike, so they are drawn together or not at all.
    """
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    parts = [np.array(indices) for indices in members.values()]
    low, high = bootstrap(
        lambda drawn: measure(np.concatenate([parts[i] for i in drawn])), len(parts), rounds=rounds
    )
    return Estimate(measure(np.arange(len(groups))), low, high)


def bootstrap(
    measure: Callable[[Array], float], count: int, *, rounds: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of measure(indices) over `rounds` draws with replacement of `count` items; nan
    of a single one, which says nothing of how far others lie from it."""
    if count < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    values = [measure(rng.integers(0, count, count)) for _ in range(rounds)]
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
