"""What each round of training is made of: by colour at first, then by the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.training import material
from rustvid.training.batches import Labelled, Stock
from rustvid.training.composites import IGNORE
from rustvid.training.data import Image, Photo
from rustvid.training.recipe import TrainConfig

Floats = NDArray[np.float32]


def first_stock(photos: Sequence[Photo], config: TrainConfig) -> Stock:
    """Round 0: rust by colour; of corroded photos only what cannot be rust has a label."""
    table = material.colour_likelihood(photos)
    rust: list[material.Patch] = []
    decoys: list[material.Patch] = []
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


def _windows(photo: Photo, score: Floats, least: float) -> list[material.Patch]:
    """The windows of the largest size at which there are any."""
    for size in (160, 96, 64):
        found = material.windows(photo, score, least, size)
        if found:
            return found
    return []


def next_stock(
    photos: Sequence[Photo], model: Any, first: Stock, shares: tuple[float, float]
) -> Stock:
    """Later rounds: what the network, shown the corroded photos, is sure of; shares: of their
    pixels, how many to take for clean and for rust."""
    corroded = [photo for photo in photos if photo.corroded]
    scores = [see(model, photo.image).astype(np.float16) for photo in corroded]
    low, high = levels(scores, shares)
    rust: list[material.Patch] = []
    labelled: list[Labelled] = []
    for photo, score in zip(corroded, scores, strict=True):
        rust += material.regions(photo, score.astype(np.float32), high)
        label = np.full(score.shape, IGNORE, np.float32)
        label[score > high] = 1
        label[score < low] = 0
        labelled.append(Labelled(photo.image, label))
    return Stock(first.clean, labelled, [*first.rust, *rust], first.decoys)


def levels(
    scores: Sequence[NDArray[np.float16]], shares: tuple[float, float]
) -> tuple[float, float]:
    """(clean below, rust above): evidence levels that leave the wanted shares of all pixels."""
    pixels = np.concatenate([score[::8, ::8].ravel() for score in scores]).astype(np.float32)
    clean, rust = shares
    low, high = np.quantile(pixels, [clean, 1 - rust])
    return float(min(low, 0.3)), float(max(high, 0.4))


def see(model: Any, image: Image) -> Floats:
    """Evidence for a photo at its own size: (h, w) float32 in [0, 1]."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    found = model(padded.astype(np.float32)[None] / 127.5 - 1, training=False)["evidence"]
    evidence = np.asarray(ops.convert_to_numpy(found)[0], np.float32)
    return np.repeat(np.repeat(evidence, 2, 0), 2, 1)[:height, :width]
