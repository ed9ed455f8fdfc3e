"""A network that needs no TensorFlow: corrosion is what has the colour of media.RUST."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import media
import numpy as np
from numpy.typing import NDArray

from rustvid.config import Config, apply
from rustvid.method.classify import Answer


class ColourModel:
    """Offers what rustvid.method.classify.Network asks for."""

    kind = "student"
    name = "colour"
    digest = "0" * 64
    precision = "float32"
    batch = 4
    size = (96, 96)

    def __init__(self) -> None:
        self.seconds = 0.0

    def look(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """p is 0.9 where there is rust, 0.1 elsewhere; the evidence is where it is."""
        near = [self._rust(image) for image in images]
        probability = np.float32([0.9 if rust.max() > 0.5 else 0.1 for rust in near])
        return Answer(probability, np.stack(near))

    @staticmethod
    def _rust(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        distance = np.abs(image.astype(np.float32) - np.float32(media.RUST)).max(axis=2)
        return cv2.resize(np.float32(distance < 60), (48, 48), interpolation=cv2.INTER_AREA)


OWN = ("refine.size=96", "workers=0", "refine.method=student", "refine.level=0.5")


def quick(*assignments: str) -> Config:
    """A configuration for small pictures; no worker processes unless asked for. A colour's
    evidence is cut at its half, whatever level suits the student that ships."""
    config = Config()
    for assignment in (*OWN, *assignments):
        config = apply(config, assignment)
    return config
