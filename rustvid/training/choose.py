"""What each round of training is made of: colour says it at first, then the network itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import CrfConfig
from rustvid.errors import UsageError
from rustvid.method.classify import Network
from rustvid.method.refine.crf import energy_of, marginal
from rustvid.training import material
from rustvid.training.batches import Labelled, Stock
from rustvid.training.composites import IGNORE
from rustvid.training.data import Image, Photo
from rustvid.training.evaluate import looks
from rustvid.training.recipe import TrainConfig

Floats = NDArray[np.float32]

# Of labels: a network knows more than the paper's heat map, so the CRF weighs less than there.
_CRF = CrfConfig(appearance_weight=3.0, smoothness_weight=1.0)
_CRF_ITERATIONS = 10
_CRF_SURE = 0.7
_CRF_SIDE = 288  # pixels of the longer side: a third of the time
_OVERLOOKED = 0.02  # share of a corroded photo below which its rust was not found
_EARTHY = 0.1  # share of the clean photos, those nearest to rust in colour, that are ground


def first_stock(photos: Sequence[Photo], config: TrainConfig) -> Stock:
    """Round 0: rust by colour; of corroded photos only what cannot be rust has a label."""
    table = material.colour_likelihood(photos)
    rust: list[Image] = []
    decoys: list[Image] = []
    corroded: list[Labelled] = []
    likeness: list[tuple[float, Photo]] = []
    for photo in photos:
        score = material.colour_map(photo.image, table)
        if photo.corroded:
            rust += _windows(photo, score, config.rust_window)
            corroded.append(Labelled(photo.image, material.impossible(photo.image)))
        else:
            decoys += _windows(photo, score, config.decoy_window)
            decoys += material.windows(photo, score, 0.0, 160, most=1)  # of any colour
            likeness.append((float(score.mean()), photo))
    if not rust:
        raise UsageError(
            "no window of a corroded photo has the colours of rust: nothing to paste; "
            f"lower rust_window (now {config.rust_window}) or add close-ups of rust"
        )
    if not decoys:
        raise UsageError(
            "no window of a clean photo has texture: nothing to paste as a decoy; "
            "add clean photos of brick, soil, wood or stone"
        )
    likeness.sort(key=lambda pair: -pair[0])
    earthy = [photo for _, photo in likeness[: math.ceil(_EARTHY * len(likeness))]]
    clean = [photo for photo in photos if not photo.corroded]
    return Stock(clean, corroded, rust, decoys, earthy=earthy)


def _windows(photo: Photo, score: Floats, least: float) -> list[Image]:
    """The windows of the largest size at which there are any."""
    for size in (160, 96, 64):
        found = material.windows(photo, score, least, size)
        if found:
            return found
    return []


def next_stock(
    photos: Sequence[Photo], networks: Sequence[Network], first: Stock, config: TrainConfig
) -> Stock:
    """Later rounds: corroded photos labelled by a network, the last round's or a teacher, which
    may look at several sizes."""
    rusty = [photo for photo in photos if photo.corroded]
    found = [
        Labelled(photo.image, label_of(photo.image, evidence, config))
        for photo, _, evidence in see(networks, rusty)
    ]
    return replace(first, corroded=found)


def label_of(image: Image, evidence: Floats, config: TrainConfig) -> Floats:
    """The evidence as a probability, or what is sure of it, the rest unknown (`labels`): (h, w)
    float32."""
    if config.labels == "soft":
        return levelled(evidence, config.rust_level)
    label = np.full(evidence.shape, IGNORE, np.float32)
    if config.labels == "crf":
        found = sharpened(image, evidence, config.rust_level)
        rust = (found > _CRF_SURE) & (evidence > config.clean_level)
        clean = (found < 1 - _CRF_SURE) & (evidence < 1 - config.rust_level)
        if rust.mean() < _OVERLOOKED:  # somewhere in a corroded photo there is rust
            clean &= evidence < config.clean_level
        label[rust], label[clean] = 1, 0
        return label
    label[evidence > config.rust_level] = 1
    label[evidence < config.clean_level] = 0
    return label


def levelled(evidence: Floats, level: float) -> Floats:
    """The evidence in [0, 1] with the odds at `level` made even: ½ there, 0 and 1 as they were."""
    rust = evidence * (1 - level)
    return np.asarray(rust / (rust + (1 - evidence) * level), np.float32)


def sharpened(image: Image, evidence: Floats, level: float) -> Floats:
    """The evidence (h, w) in [0, 1] at the picture's edges and colours, ½ where it was `level`."""
    height, width = evidence.shape
    scale = min(1.0, _CRF_SIDE / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
    less = np.asarray(cv2.resize(evidence, small, interpolation=cv2.INTER_AREA), np.float32)
    found = marginal(seen, energy_of(less, level), _CRF, _CRF_ITERATIONS)
    return np.asarray(cv2.resize(found, (width, height)), np.float32)


def agreed(
    photos: Sequence[Photo], networks: Sequence[Network], config: TrainConfig
) -> list[Photo]:
    """Of photos with noisy labels those that the network does not contradict."""
    return [
        photo
        for photo, probability, _ in see(networks, photos)
        if (probability if photo.corroded else 1 - probability) > config.weak_doubt
    ]


def see(
    networks: Sequence[Network], photos: Sequence[Photo]
) -> Iterator[tuple[Photo, float, Floats]]:
    """Every photo with its p(corrosion) and its evidence, (h, w) in [0, 1] at the photo's own
    size: means over the networks, and over the photo and its mirror image."""
    images = (lambda photo: photo.image, lambda photo: np.fliplr(photo.image))
    answers = [looks(photos, network, image) for network in networks for image in images]
    for photo, *found in zip(photos, *answers, strict=True):
        size = photo.image.shape[1::-1]
        maps = [cv2.resize(evidence, size) for _, _, evidence in found]
        maps[1::2] = [np.fliplr(mirrored) for mirrored in maps[1::2]]
        probability = np.mean([p for _, p, _ in found])
        yield photo, float(probability), np.mean(maps, axis=0, dtype=np.float32)
