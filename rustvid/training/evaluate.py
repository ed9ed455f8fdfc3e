"""Judging a model on photographs with labels, and masks on photographs and videos with masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.method import models, network, student
from rustvid.training import data, metrics
from rustvid.training.data import Image

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
HALVES_SEED = 4  # of the split of segment/: chosen before the first training, never changed
MARKED = 0.001  # share of pixels from which a frame counts as marked


@dataclass(frozen=True)
class Example:
    """A picture (h, w, 3) uint8 RGB with its true mask, of any size with the same aspect."""

    name: str
    image: Image
    mask: Bools


@dataclass(frozen=True)
class Answer:
    """What a method says of a picture: p(corrosion), and evidence (h', w') in [0, 1]."""

    probability: float
    evidence: Floats


Method = Callable[[Image], Answer]


@dataclass(frozen=True)
class MaskReport:
    """Masks of one set at one level, a picture each."""

    counts: list[metrics.Confusion]
    probabilities: list[float]

    @property
    def pooled(self) -> metrics.Confusion:
        """All pixels of all pictures together."""
        return metrics.pooled(self.counts)

    @property
    def area_error(self) -> float:
        """Mean over pictures of |marked − true| area, in percentage points."""
        return float(np.mean([count.area_error for count in self.counts]))

    @property
    def marked(self) -> float:
        """Share of pictures with more than 0.1 % of their pixels marked."""
        return float(np.mean([count.marked > MARKED for count in self.counts]))

    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval, over pictures, of the pooled intersection over union."""
        return metrics.bootstrap(
            lambda chosen: metrics.pooled([self.counts[i] for i in chosen]).iou, len(self.counts)
        )


def half_of(name: str) -> str:
    """ "tune" or "final", by a hash of "<set>/<photo>"."""
    return "tune" if data.share(name, HALVES_SEED) < 0.5 else "final"


def photo_examples(folder: Path, half: str = "all") -> Iterator[Example]:
    """Photos with a PNG mask of the same name beside them; any value above 0 is corrosion."""
    pairs = [(p, p.with_suffix(".png")) for p in sorted(folder.glob("*.jpg"))]
    pairs = [pair for pair in pairs if pair[1].exists()]
    if not pairs:
        raise UsageError(f"{folder}: no .jpg with a .png mask beside it")
    for path, mask_path in pairs:
        name = f"{folder.name}/{path.stem}"
        if half not in ("all", half_of(name)):
            continue
        image = data.decode(path.read_bytes())
        mask = cv2.imread(str(mask_path), cv2.IMREAD_UNCHANGED)
        if image is None or mask is None:
            raise UsageError(f"{path}: it or its mask cannot be read")
        yield Example(name, image, np.asarray(mask.reshape(*mask.shape[:2], -1).max(2) > 0))


def video_examples(path: Path, every: int = 1) -> Iterator[Example]:
    """Every Nth frame with its frame of <name>.masks.mkv; without such a file there is no rust."""
    truth = path.with_suffix(".masks.mkv")
    masks: Iterator[Bools] = _masks(truth) if truth.exists() else iter(())
    with av.open(str(path)) as film:
        for index, frame in enumerate(film.decode(video=0)):
            mask = next(masks, None)
            if index % every:
                continue
            if truth.exists() and mask is None:
                raise UsageError(f"{truth}: ends before frame {index} of {path.name}")
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            yield Example(
                f"{path.stem}/{index}",
                image,
                np.zeros(image.shape[:2], bool) if mask is None else mask,
            )


def _masks(path: Path) -> Iterator[Bools]:
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="gray") > 127)


def hsv_rule(image: Image) -> Answer:
    """The floor: hue < 18 or > 170, saturation > 70, value > 30 (OpenCV's units)."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    rust = ((hue < 18) | (hue > 170)) & (saturation > 70) & (value > 30)
    return Answer(float(rust.any()), np.asarray(rust, np.float32))


def fitted(shape: tuple[int, int], size: int, keep_aspect: bool) -> tuple[int, int]:
    """(height, width), multiples of 32, of about size² pixels; a square unless keep_aspect."""
    height, width = shape
    scale = size / (height * width) ** 0.5
    wanted = (height * scale, width * scale) if keep_aspect else (size, size)
    return max(32, round(wanted[0] / 32) * 32), max(32, round(wanted[1] / 32) * 32)


def student_method(model: Any, size: int, keep_aspect: bool = False) -> Method:
    """The student as a method: the picture scaled to about size² pixels, one pass."""

    def answer(image: Image) -> Answer:
        height, width = fitted(image.shape[:2], size, keep_aspect)
        seen = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        found = model(seen[None].astype(np.float32) / 127.5 - 1)
        return Answer(float(found["probability"][0]), np.asarray(found["evidence"][0], np.float32))

    return answer


def load_student(weights: Path) -> Any:
    """The shipped network with these weights, ready to be called."""
    model = student.build()
    network.assign_weights(model, models.read_weights(weights), str(weights))
    return lambda x: model(x, training=False)


def judge(
    examples: Iterable[Example], method: Method, level: float, least_probability: float = 0.0
) -> MaskReport:
    """Compare masks evidence > level with the truth, at the truth's size; a picture with a
    smaller p(corrosion) than least_probability stays unmarked."""
    counts, probabilities = [], []
    for example in examples:
        answer = method(example.image)
        size = example.mask.shape[::-1]
        mask = np.asarray(cv2.resize(answer.evidence, size)) > level
        if answer.probability < least_probability:
            mask = np.zeros_like(mask)
        counts.append(metrics.confusion(example.mask, mask))
        probabilities.append(answer.probability)
    return MaskReport(counts, probabilities)


@dataclass(frozen=True)
class ClassReport:
    """Answers for a folder of labelled photos."""

    names: list[str]
    truth: Bools
    probability: NDArray[np.float64]

    @property
    def auc(self) -> float:
        """Area under the ROC."""
        return metrics.auc(self.truth, self.probability)

    def at(self, threshold: float = 0.5) -> metrics.Confusion:
        """Counts where p > threshold means corrosion."""
        return metrics.confusion(self.truth, self.probability > threshold)


def classify(photos: Iterable[data.Photo], method: Method) -> ClassReport:
    """p(corrosion) of every photo."""
    rows = [(p.name, p.corroded, method(p.image).probability) for p in photos]
    return ClassReport(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], bool),
        np.array([row[2] for row in rows]),
    )
