"""What each round of training is made of: colour says it at first, then the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.method.sizes import STUDENT_MULTIPLE
from rustvid.training import material
from rustvid.training.batches import Labelled, Stock
from rustvid.training.composites import IGNORE
from rustvid.training.data import Image, Photo
from rustvid.training.recipe import TrainConfig

Floats = NDArray[np.float32]
SEEN = 540  # a photo is shown to the network with about SEEN² pixels


def first_stock(photos: Sequence[Photo], config: TrainConfig) -> Stock:
    """Round 0: rust by colour; of corroded photos only what cannot be rust has a label."""
    table = material.colour_likelihood(photos)
    rust: list[Image] = []
    decoys: list[Image] = []
    corroded: list[Labelled] = []
    for photo in photos:
        score = material.colour_map(photo.image, table)
        if photo.corroded:
            rust += _windows(photo, score, config.rust_window)
            corroded.append(Labelled(photo.image, material.impossible(photo.image)))
        else:
            decoys += _windows(photo, score, config.decoy_window)
            decoys += material.windows(photo, score, 0.0, 160, most=1)  # of any colour
    if not rust:
        raise UsageError(
            "no window of a corroded photo has the colours of rust: nothing to paste; "
            f"lower rust_window (now {config.rust_window}) or add close-ups of rust"
        )
    return Stock([p for p in photos if not p.corroded], corroded, rust, decoys)


def _windows(photo: Photo, score: Floats, least: float) -> list[Image]:
    """The windows of the largest size at which there are any."""
    for size in (160, 96, 64):
        found = material.windows(photo, score, least, size)
        if found:
            return found
    return []


def next_stock(photos: Sequence[Photo], model: Any, first: Stock, config: TrainConfig) -> Stock:
    """Later rounds: of corroded photos, what the network itself is sure of; the rest is unknown."""
    corroded = []
    for photo in photos:
        if photo.corroded:
            score = see(model, photo.image)
            label = np.full(score.shape, IGNORE, np.float32)
            label[score > config.rust_level] = 1
            label[score < config.clean_level] = 0
            corroded.append(Labelled(photo.image, label))
    return replace(first, corroded=corroded)


def see(model: Any, image: Image) -> Floats:
    """Evidence for a photo at its own size, mean of it and its mirror image: (h, w) in [0, 1]."""
    height, width = image.shape[:2]
    scale = SEEN / (height * width) ** 0.5
    size = [max(1, round(s * scale / STUDENT_MULTIPLE)) * STUDENT_MULTIPLE for s in (width, height)]
    seen = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    both = np.stack([seen, seen[:, ::-1]]).astype(np.float32) / 127.5 - 1
    there, mirrored = ops.convert_to_numpy(model(both, training=False)["evidence"])
    mean = (there.astype(np.float32) + mirrored[:, ::-1]) / 2
    return np.asarray(cv2.resize(mean, (width, height)), np.float32)
