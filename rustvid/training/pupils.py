"""What is trained: a network as it learns, and how it becomes the network that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.method import models, network, student
from rustvid.method.sizes import STUDENT_MULTIPLE, STUDENT_SIZE
from rustvid.training import imagenet, losses
from rustvid.training.losses import Loss
from rustvid.training.recipe import TrainConfig

Ready = Callable[[Sequence[NDArray[Any]], str], Any]


@dataclass(frozen=True)
class Pupil:
    """A network to train.

    model: picture (B, s, s, 3) in [-1, 1] → {"evidence": logits of pixels, "probability": (B,)
        logit of corrosion}; begun, not compiled
    ready: its weights and a precision → the network as it runs, the same object each time
    pixels: loss of the evidence; size: side of the pictures that the network sees when it runs
    name: of the weights file
    """

    model: Any
    ready: Ready
    pixels: Loss
    size: int
    name: str


def check(config: TrainConfig) -> None:
    """Raise UsageError where the options make no batch, or pictures that a student cannot see."""
    if config.network == "student" and config.crop % STUDENT_MULTIPLE:
        below = config.crop // STUDENT_MULTIPLE * STUDENT_MULTIPLE
        raise UsageError(
            f"crop must be a multiple of {STUDENT_MULTIPLE} for a student "
            f"({below}, {below + STUDENT_MULTIPLE}), received {config.crop}"
        )
    sizes_of(config.label_sizes)
    counts = (config.composites, config.on_corroded, config.all_rust, config.clean, config.corroded)
    if not any(counts):
        raise UsageError(
            "composites, on_corroded, all_rust, clean and corroded are all 0: a batch is made of "
            "these pictures; set one of them to 1 or more"
        )


def sizes_of(text: str) -> list[int | None]:
    """Of `label_sizes`, such as "320,448"; none said: the network's own. Raises UsageError."""
    if not text.strip():
        return [None]
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if any(size < STUDENT_MULTIPLE or size % STUDENT_MULTIPLE for size in sizes):
        raise UsageError(
            f"label_sizes must be multiples of {STUDENT_MULTIPLE} with commas between them "
            f"(320,448,576), received {text!r}"
        )
    return list(sizes)


def student_pupil(config: TrainConfig) -> Pupil:
    """The student, begun with what `config.start` says: nothing, the world, or a student."""
    model = student.build(None, logits=True)
    begin(model, config.start)
    return Pupil(
        model,
        student_ready(world=False),
        losses.pixel_loss(config.dice_weight),
        STUDENT_SIZE,
        "rustvid-student",
    )


def begin(model: Any, start: str | None) -> None:
    """Give the student what it knows at the start."""
    if start == "imagenet":
        network.assign_weights(model, imagenet.weights(), start, partial=True)
    elif start:
        path = models.find(start)
        network.assign_weights(model, models.read_weights(path), str(path))


def student_ready(*, world: bool) -> Ready:
    """How a student's weights become the student that runs; world: see `student.build`."""
    built = cache(lambda dtype: student.build(dtype, world=world))  # to trace it takes seconds

    def ready(weights: Sequence[NDArray[Any]], dtype: str) -> Any:
        whole = built(dtype)
        whole.set_weights(list(weights))
        return whole

    return ready
