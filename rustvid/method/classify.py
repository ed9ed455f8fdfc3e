"""Classify: the stream of frames, each with p(corrosion) and, where there is some, its evidence.

What a network is to the stream; no network framework loads here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SourceError
from rustvid.frames import Classified, Frame, Localised
from rustvid.method.models import Kind


@dataclass(frozen=True)
class Answer:
    """What the network says of n pictures, all in [0, 1].

    probability: (n,) float32, of corrosion; evidence: (n, h, w) float32
    """

    probability: NDArray[np.float32]
    evidence: NDArray[np.float32]


class Network(Protocol):
    """What the pipeline asks of a model.

    kind: what its evidence is: a classifier's heat map or a student's probability of pixels
    name: as asked for; digest: SHA-256 of the weights file, hexadecimal
    precision: the arithmetic in use; batch: pictures in one pass
    size: (width, height) of the pictures it takes
    seconds: time spent in the network so far
    """

    kind: Kind
    name: str
    digest: str
    precision: str
    batch: int
    size: tuple[int, int]
    seconds: float

    def look(self, images: Sequence[NDArray[np.uint8]]) -> Answer: ...


def classify(
    chosen: Iterable[tuple[Frame, bool]], model: Network, threshold: float, batch: int
) -> Iterator[Localised]:
    """Classify and localise the chosen frames, in batches; the others pass through, in order.

    chosen: frames with whether to look at them; batch: frames that one pass waits for, 1 of a
    camera, `model.batch` at most. A frame has an evidence map only where
    p(corrosion) > threshold ("Workflow": greater than 50 %).
    """
    waiting: list[tuple[Frame, bool]] = []
    looks = 0
    try:
        for frame, look in chosen:
            waiting.append((frame, look))
            looks += look
            if looks in (0, batch) or len(waiting) >= 8 * batch:
                yield from _answered(waiting, model, threshold)
                waiting, looks = [], 0
    except SourceError:  # a film that is cut short: the frames before the cut are whole
        yield from _answered(waiting, model, threshold)
        raise
    yield from _answered(waiting, model, threshold)


def _answered(
    waiting: list[tuple[Frame, bool]], model: Network, threshold: float
) -> Iterator[Localised]:
    images = [frame.image for frame, look in waiting if look]
    answer = model.look(images) if images else None
    number = 0
    for frame, look in waiting:
        if not look or answer is None:
            yield Localised(Classified(frame, None), None)
            continue
        probability = float(answer.probability[number])
        evidence = answer.evidence[number] if probability > threshold else None
        number += 1
        yield Localised(Classified(frame, probability), evidence)
