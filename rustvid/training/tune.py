"""Tune: fit the refinement to a few photographs with masks, by random search.

The network looks at every picture once; a trial draws settings at random and refines all of them.
Two figures come out: the best settings on all pictures, and what such a choice is worth on
pictures that it was not made on (cross-validation). Only if that beats the settings that were
there before is anything changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rustvid.config import Config, RefineConfig, as_yaml, differences
from rustvid.errors import SinkError, UsageError
from rustvid.method.classify import Network
from rustvid.method.model import Model
from rustvid.method.refine import SETTLED
from rustvid.method.refine import check as check_refinement
from rustvid.training import data, masks, metrics, tables
from rustvid.training.evaluate import looks
from rustvid.training.examples import Example, ExampleSet
from rustvid.training.masks import MaskReport
from rustvid.training.metrics import Confusion

FOLDS = 5
FEWEST = 5  # pictures below which there is nothing to learn
_RATES = {  # of the CRF's parameters: (lowest, highest), drawn evenly in the logarithm
    "appearance_sigma_xy": (20.0, 200.0),
    "appearance_sigma_rgb": (4.0, 40.0),
    "appearance_weight": (1.0, 30.0),
    "smoothness_sigma_xy": (1.0, 10.0),
    "smoothness_weight": (0.5, 20.0),
}


@dataclass(frozen=True)
class Looked:
    """A picture as the network saw it, with its answer and the truth."""

    example: Example
    picture: data.Image
    probability: float
    evidence: NDArray[np.float32]


@dataclass(frozen=True)
class Tuned:
    """The best settings, and pooled IoU: of the settings before, of the best on the pictures they
    were chosen on, of such a choice on others."""

    config: Config
    before: float
    best: float
    validated: float
    pictures: int
    trials: int

    @property
    def better(self) -> bool:
        """Would a choice like this have helped on pictures it was not made on?"""
        return self.validated > self.before

    @property
    def text(self) -> str:
        """The result as a person reads it."""
        told = (
            f"{self.pictures} pictures, {self.trials} settings; pooled IoU {self.before:.3f} "
            f"before, {self.best:.3f} for the best on the same pictures, {self.validated:.3f} in "
            f"{FOLDS}-fold cross-validation"
        )
        return told if self.better else f"{told}\nno gain on unseen pictures: nothing is changed"

    @property
    def _anywhere(self) -> Config:
        """The settings with the whole path of weights that are not shipped."""
        model = self.config.model
        if not model.name.endswith(".npz"):
            return self.config
        whole = str(Path(model.name).resolve())
        return replace(self.config, model=replace(model, name=whole))

    def write(self, path: Path) -> Path:
        """YAML of what differs from the defaults, to be used by --config, from any folder."""
        comment = "".join(f"# {line}\n" for line in self.text.splitlines())
        try:
            path.write_text(comment + as_yaml(differences(self._anywhere, Config())), "utf-8")
        except OSError as exc:
            raise SinkError(f"{path}: cannot be written ({exc.strerror})") from exc
        return path


def tune(
    sets: Sequence[ExampleSet],
    config: Config,
    trials: int = 60,
    pictures: int = 30,
    model: Network | None = None,
    seed: int = 0,
) -> Tuned:
    """Search the settings of `config.refine` that give the best pooled IoU.

    pictures: used at most, chosen by a hash of their names; trials: settings drawn at random
    model: one that is loaded already; None loads `config.model`
    """
    if trials < 1 or pictures < FEWEST:
        raise UsageError(f"tune needs 1 trial and {FEWEST} pictures or more")
    # Of settings that a run refuses `draw` might draw none that it takes.
    check_refinement(config.refine)
    chosen = _chosen(sets, pictures)
    model = model or Model(config.model, config.localise)
    before = config
    if config.refine.method == "auto":
        config = replace(config, refine=replace(config.refine, method=SETTLED[model.kind]))
    looked = [
        Looked(example, example.seen(model.size), probability, evidence)
        for example, probability, evidence in looks(chosen, model, lambda e: e.seen(model.size))
    ]
    rng = np.random.default_rng(seed)
    drawn = [config.refine, *(draw(rng, config.refine) for _ in range(trials))]
    watched = tables.watched(drawn, "settings", len(drawn))
    counts = np.array([_counts(looked, config, settings) for settings in watched])
    scores = [_iou(counts[i].sum(axis=0)) for i in range(len(drawn))]
    validated = cross_validated(counts, [item.example.group for item in looked])
    best = int(np.argmax(scores))
    found = Tuned(before, scores[0], scores[best], validated, len(looked), trials)
    return replace(found, config=replace(config, refine=drawn[best])) if found.better else found


def _chosen(sets: Sequence[ExampleSet], pictures: int) -> list[Example]:
    """At most so many pictures of all sets; no more are held at any time."""
    kept: list[Example] = []
    for examples in sets:
        for example in examples:
            kept.append(example)
            if len(kept) > pictures:
                kept.remove(max(kept, key=lambda e: data.share(e.name)))
    if len(kept) < FEWEST:
        raise UsageError(f"tune needs {FEWEST} pictures with masks or more, found {len(kept)}")
    if not any(example.mask.any() for example in kept):
        raise UsageError("no picture has a corroded pixel in its mask: there is nothing to tune to")
    return kept


def draw(rng: np.random.Generator, base: RefineConfig) -> RefineConfig:
    """Settings at random, of those that matter to the method of `base`, and that a run takes."""
    while True:
        found = _drawn(rng, base)
        with suppress(UsageError):  # too short a reach for the quick CRF, at this size
            check_refinement(found)
            return found


def _drawn(rng: np.random.Generator, base: RefineConfig) -> RefineConfig:
    size = int(rng.choice([286, 416, base.size]))
    if base.method in ("student", "student-crf"):
        found = replace(base, size=size, level=_rounded(rng.uniform(0.03, 0.9)))
        return found if base.method == "student" else _with_crf(rng, found)
    own_threshold = None if rng.random() < 0.5 else _rounded(rng.uniform(0.1, 0.9))
    found = replace(base, size=size, threshold=own_threshold)
    if base.method in ("advanced", "kmeans"):
        found = replace(found, erosion=int(rng.choice([1, 3, 5, 7, 9])))
    return _with_crf(rng, found) if base.method in ("advanced", "crf") else found


def _with_crf(rng: np.random.Generator, base: RefineConfig) -> RefineConfig:
    crf = {name: _rounded(np.exp(rng.uniform(*np.log(ends)))) for name, ends in _RATES.items()}
    field = replace(base.crf, confidence=_rounded(rng.uniform(0.55, 0.99)), **crf)
    return replace(base, iterations=int(rng.choice([3, 5, 10, 15, 25])), crf=field)


def _rounded(value: float) -> float:
    """Three digits are enough."""
    return float(f"{value:.3g}")


def _counts(
    looked: Iterable[Looked], config: Config, settings: RefineConfig
) -> list[tuple[int, ...]]:
    report = MaskReport()
    for item in looked:
        mask = masks.gated(item.picture, item.probability, item.evidence, config, settings)
        report.add(item.example, mask)
    return [(c.tp, c.fp, c.fn, c.tn) for c in report.counts]


def _iou(counts: NDArray[np.int64]) -> float:
    return Confusion(*map(int, counts)).iou


def cross_validated(counts: NDArray[np.int64], groups: Sequence[str], folds: int = FOLDS) -> float:
    """Pooled IoU on pictures that the settings were not chosen on.

    counts: (settings, pictures, 4) tp, fp, fn, tn. Each fold gets the settings that are best on
    the other folds; pictures of one group are in one fold.
    """
    names = sorted(set(groups), key=data.share)
    fold_of = {name: number % folds for number, name in enumerate(names)}
    fold = np.array([fold_of[group] for group in groups])
    total = np.zeros(4, np.int64)
    for number in set(fold.tolist()):
        rest, held_out = fold != number, fold == number
        scores = [_iou(each[rest].sum(axis=0)) for each in counts]
        total += counts[int(np.argmax(scores))][held_out].sum(axis=0)
    return metrics.Confusion(*map(int, total)).iou
