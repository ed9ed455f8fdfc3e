"""Judging masks against true ones, at every stage a model has, with a colour rule as the floor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import Config, RefineConfig
from rustvid.frames import Trust
from rustvid.method import trust
from rustvid.method.classify import Network
from rustvid.method.refine import SETTLED, refine
from rustvid.report.area import enlarged
from rustvid.training import metrics
from rustvid.training.data import Image
from rustvid.training.evaluate import looks
from rustvid.training.examples import Example
from rustvid.training.metrics import Confusion, Estimate

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
FLOOR = "HSV rule"
# What the stages of each kind of model are called, and the refinement that ends there.
STAGES = {
    "classifier": {
        "heat map ≥ T": "threshold",
        "K-means": "kmeans",
        "K-means + CRF": "advanced",
        "CRF": "crf",
    },
    "student": {"evidence > level": "student"},
}


def hsv_rule(image: Image) -> Mask:
    """(h, w) 0 or 1, the floor: hue < 18 or > 170, saturation > 70, value > 30 (OpenCV's units)."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    rust = ((hue < 18) | (hue > 170)) & (saturation > 70) & (value > 30)
    return np.asarray(rust, np.uint8)


def stages(config: RefineConfig, kind: str) -> dict[str, RefineConfig]:
    """The refinements that show a model's stages; last the one that a run would end with."""
    found = {label: replace(config, method=m) for label, m in STAGES[kind].items()}  # type: ignore[arg-type]
    asked = SETTLED[kind] if config.method == "auto" else config.method
    label = next((label for label, stage in found.items() if stage.method == asked), asked)
    found.pop(label, None)
    return found | {label: replace(config, method=asked)}


def finite(value: float) -> float | None:
    """For JSON, where there is no nan."""
    return None if np.isnan(value) else round(value, 5)


@dataclass
class MaskReport:
    """Masks of one method on one set: a count and a group a picture, and the time they took."""

    counts: list[Confusion] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, example: Example, mask: Mask) -> None:
        """Compare a mask (h', w') uint8 0 or 1 with the truth, at the truth's size."""
        fitted = enlarged(mask, (example.mask.shape[0], example.mask.shape[1]))
        self.counts.append(metrics.confusion(example.mask, fitted))
        self.groups.append(example.group)
        self.names.append(example.name)

    @property
    def pooled(self) -> Confusion:
        """All pixels of all pictures together."""
        return metrics.pooled(self.counts)

    @property
    def has_rust(self) -> bool:
        """Is any pixel truly corroded?"""
        return self.pooled.positives > 0

    @property
    def marked(self) -> float:
        """Share of pictures with any pixel marked: those that a run counts as corroded."""
        return float(np.mean([count.marked > 0 for count in self.counts]))

    @property
    def clean(self) -> list[Confusion]:
        """Pictures without rust."""
        return [count for count in self.counts if count.positives == 0]

    @property
    def clean_marked(self) -> float:
        """The same share of the pictures without rust; nan where there are none."""
        marked = [count.marked > 0 for count in self.clean]
        return float(np.mean(marked)) if marked else float("nan")

    @property
    def milliseconds(self) -> float:
        """Of one picture, on average."""
        return 1000 * self.seconds / max(len(self.counts), 1)

    @property
    def area_errors(self) -> NDArray[np.float64]:
        """(n,) |marked − true| area of each picture, in percentage points."""
        return np.array([count.area_error for count in self.counts])

    @property
    def ious(self) -> NDArray[np.float64]:
        """(n,) of each picture; nan where nothing is true or marked."""
        unions = [c.tp + c.fp + c.fn for c in self.counts]
        pairs = zip(self.counts, unions, strict=True)
        return np.array([c.iou if union else np.nan for c, union in pairs])

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Pooled and mean IoU, precision, recall and F1 of the pixels, mean area error, each with
        its 95 % bootstrap interval over the groups of pictures."""
        table = np.array([(c.tp, c.fp, c.fn, c.tn) for c in self.counts], np.int64)
        errors, ious = self.area_errors, self.ious

        def pixels(measure: str) -> Callable[[Any], float]:
            return lambda i: float(getattr(Confusion(*map(int, table[i].sum(axis=0))), measure))

        def mean_iou(chosen: Any) -> float:
            known = ious[chosen][~np.isnan(ious[chosen])]
            return float(known.mean()) if known.size else float("nan")

        measures: dict[str, Callable[[Any], float]] = {
            "IoU": pixels("iou"),
            "mean IoU": mean_iou,
            "precision": pixels("precision"),
            "recall": pixels("recall"),
            "F1": pixels("f1"),
            "area error": lambda i: float(errors[i].mean()),
        }
        return {name: metrics.estimate(m, self.groups) for name, m in measures.items()}

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON; of footage without rust there is no IoU."""
        found: dict[str, Any] = {
            "pictures": len(self.counts),
            "marked": round(self.marked, 5),
            "clean_pictures": len(self.clean),
            "clean_marked": finite(self.clean_marked),
            "ms": round(self.milliseconds, 2),
        }
        if self.has_rust:
            found |= {name: value.as_dict() for name, value in self.estimates.items()}
        return found


@dataclass(frozen=True)
class SetReport:
    """One set: of every method its report; of every picture p(corrosion) and how far the last
    stage's mask is to be trusted; called: the share of pictures with p above the threshold."""

    name: str
    methods: dict[str, MaskReport]
    probability: NDArray[np.float64]
    trusts: list[Trust]
    called: float

    @property
    def trust_correlation(self) -> float:
        """Rank correlation of confidence and area error over pictures; −1 is best, nan where
        there is nothing to compare."""
        errors = list(self.methods.values())[-1].area_errors
        return metrics.spearman(np.array([t.confidence for t in self.trusts]), errors)

    @property
    def flags(self) -> dict[str, int]:
        """Pictures with each failure mode."""
        return dict(Counter(flag for found in self.trusts for flag in found.flags))

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "called": round(self.called, 5),
            "confidence_to_area_error": finite(self.trust_correlation),
            "flags": self.flags,
            "methods": {label: report.as_dict() for label, report in self.methods.items()},
        }


def judge(name: str, examples: Iterable[Example], model: Network, config: Config) -> SetReport:
    """Masks of the floor and of every stage, on every picture.

    As in the pipeline a picture with p(corrosion) ≤ model.threshold stays unmarked. The time of a
    stage is that of the network and of its whole refinement.
    """
    chosen = stages(config.refine, model.kind)
    reports = {FLOOR: MaskReport()} | {label: MaskReport() for label in chosen}
    probabilities: list[float] = []
    trusts: list[Trust] = []
    last = list(chosen.values())[-1]
    width, height = model.size
    model.look([np.zeros((height, width, 3), np.uint8)])  # the first look compiles: not its time
    before = model.seconds
    for example, probability, evidence in looks(examples, model, lambda e: e.seen(model.size)):
        probabilities.append(probability)
        with _stopwatch(reports[FLOOR]):
            floor = hsv_rule(example.image)
        reports[FLOOR].add(example, floor)
        picture = example.seen(model.size)
        for label, stage in chosen.items():
            with _stopwatch(reports[label]):
                mask = gated(picture, probability, evidence, config, stage)
            reports[label].add(example, mask)
        hot = evidence if probability > config.model.threshold else None
        trusts.append(trust.judge(picture, probability, hot, mask, last))
    for label in chosen:
        reports[label].seconds += model.seconds - before
    answers = np.array(probabilities)
    called = float(np.mean(answers > config.model.threshold))
    return SetReport(name, reports, answers, trusts, called)


def gated(
    picture: Image, probability: float, evidence: Floats, config: Config, stage: RefineConfig
) -> Mask:
    """The stage's mask of a picture; empty where the picture is not called corroded."""
    if probability <= config.model.threshold:
        return np.zeros((stage.size, stage.size), np.uint8)
    return refine(picture, evidence, stage)


class _stopwatch:
    """Adds the time spent inside to a report."""

    def __init__(self, report: MaskReport) -> None:
        self._report = report

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._report.seconds += time.perf_counter() - self._started


def final_masks(
    examples: Iterable[Example], model: Network, config: Config, names: set[str]
) -> Iterator[tuple[Example, Mask]]:
    """The named examples again, each with the mask of the last stage, for a sheet."""
    stage = list(stages(config.refine, model.kind).values())[-1]
    some = (example for example in examples if example.name in names)
    for example, probability, evidence in looks(some, model, lambda e: e.seen(model.size)):
        picture = example.seen(model.size)
        yield example, gated(picture, probability, evidence, config, stage)
