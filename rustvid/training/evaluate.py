"""Judging p(corrosion) on photographs with labels (paper, eq. 11–14), by the model as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.method.classify import Network
from rustvid.training import metrics
from rustvid.training.data import Image, Photo
from rustvid.training.metrics import Estimate

T = TypeVar("T")
Floats = NDArray[np.float32]
MISTAKES = 24  # shown on the contact sheet


def looks(
    items: Iterable[T], model: Network, image_of: Callable[[T], Image]
) -> Iterator[tuple[T, float, Floats]]:
    """Every item with p(corrosion) and evidence (h, w) in [0, 1] of its picture, in order.

    The picture, of any size, is squashed to the model's, as in the pipeline.
    """
    waiting: list[T] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == model.batch:
            yield from _answered(waiting, model, image_of)
            waiting = []
    if waiting:
        yield from _answered(waiting, model, image_of)


def _answered(
    items: list[T], model: Network, image_of: Callable[[T], Image]
) -> Iterator[tuple[T, float, Floats]]:
    answer = model.look([seen(image_of(item), model) for item in items])
    for number, item in enumerate(items):
        yield item, float(answer.probability[number]), answer.evidence[number]


def seen(image: Image, model: Network) -> Image:
    """The picture as the network sees it."""
    return np.asarray(cv2.resize(image, model.size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class ClassReport:
    """Answers for labelled photos, and what they are worth.

    names: "corrosion/….jpg"; truth, probability (n,): label and p(corrosion); sources: of each
    photo, "" if unknown; threshold: corrosion where p is above it
    """

    names: list[str]
    truth: NDArray[np.bool_]
    probability: NDArray[np.float64]
    sources: list[str]
    threshold: float = 0.5

    @property
    def auc(self) -> float:
        """Area under the ROC."""
        return metrics.auc(self.truth, self.probability)

    @property
    def confusion(self) -> metrics.Confusion:
        """Counts where p > threshold means corrosion."""
        return self._counted(np.arange(len(self.names)))

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Accuracy, AUC, precision, recall, F1 and expected calibration error, each with its
        95 % bootstrap interval over photos."""
        measures: dict[str, Callable[[Any], float]] = {
            "accuracy": lambda i: self._counted(i).accuracy,
            "AUC": lambda i: metrics.auc(self.truth[i], self.probability[i]),
            "precision": lambda i: self._counted(i).precision,
            "recall": lambda i: self._counted(i).recall,
            "F1": lambda i: self._counted(i).f1,
            "calibration error": lambda i: metrics.calibration_error(
                self.truth[i], self.probability[i]
            ),
        }
        return {name: metrics.estimate(m, self.names) for name, m in measures.items()}

    def by_source(self) -> dict[str, metrics.Confusion]:
        """Counts of each source, most photos first; empty if no source is known."""
        if not any(self.sources):
            return {}
        kinds, which = np.unique(np.array(self.sources), return_inverse=True)
        order = np.argsort(-np.bincount(which), kind="stable")
        return {str(kinds[k]) or "unknown": self._counted(np.nonzero(which == k)[0]) for k in order}

    def mistakes(self, most: int = MISTAKES) -> list[int]:
        """Indices of the photos that are called wrongly, the most wrong first."""
        wrong = np.nonzero((self.probability > self.threshold) != self.truth)[0]
        error = np.abs(self.probability - self.truth)
        return [int(i) for i in wrong[np.argsort(-error[wrong], kind="stable")][:most]]

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        count = self.confusion
        return {
            "photos": len(self.names),
            "corrosion": int(self.truth.sum()),
            "threshold": self.threshold,
            **{key: value.as_dict() for key, value in self.estimates.items()},
            "confusion": {"tp": count.tp, "fp": count.fp, "fn": count.fn, "tn": count.tn},
            "sources": {
                name: {"photos": c.total, "accuracy": round(c.accuracy, 5)}
                for name, c in self.by_source().items()
            },
            "mistakes": [
                {"name": self.names[i], "probability": round(float(self.probability[i]), 4)}
                for i in self.mistakes()
            ],
        }

    def _counted(self, chosen: NDArray[Any]) -> metrics.Confusion:
        return metrics.confusion(self.truth[chosen], self.probability[chosen] > self.threshold)


def classify(photos: Iterable[Photo], model: Network, threshold: float = 0.5) -> ClassReport:
    """Ask the model about every photo; the pictures are not kept."""
    names, truth, probability, sources = [], [], [], []
    for photo, answer, _ in looks(photos, model, lambda photo: photo.image):
        names.append(photo.name)
        truth.append(photo.corroded)
        probability.append(answer)
        sources.append(photo.source)
    if not names:
        raise UsageError("no photograph that can be read; see the faults")
    return ClassReport(names, np.array(truth, bool), np.array(probability), sources, threshold)
