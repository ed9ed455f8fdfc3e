"""The stretches of a film that show corrosion: what a person is to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rustvid.report.readings import Reading

_GAP = 1.0  # second without corrosion after which another stretch begins
_LONGEST = 5.0  # seconds of a stretch: where all is rust, one picture of it is not enough


class Finding(NamedTuple):
    """One stretch: seconds of its first and last corroded frame, and what it shows.

    peak: the frame with the largest area; mean: area of its measured frames in per cent
    confidence: the least of those analysed; flags: of how many frames each was raised
    """

    begin: float
    end: float
    peak: Reading
    mean: float
    confidence: float | None
    flags: tuple[tuple[str, int], ...]


def findings(readings: Sequence[Reading]) -> list[Finding]:
    """In the order of the film."""
    return [_finding(stretch) for stretch in _stretches(readings)]


def _stretches(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """From a corroded frame to the last one before more than a second without, or after five."""
    stretch: list[Reading] = []
    last = 0  # corroded ones and those between them
    for reading in readings:
        if reading.percent:
            ended = stretch and (
                reading.time - stretch[last - 1].time > _GAP
                or reading.time - stretch[0].time >= _LONGEST
            )
            if ended:
                yield stretch[:last]
                stretch = []
            stretch.append(reading)
            last = len(stretch)
        elif stretch:
            stretch.append(reading)
    if stretch:
        yield stretch[:last]


def _finding(stretch: Sequence[Reading]) -> Finding:
    measured = [(reading.percent, reading) for reading in stretch if reading.percent is not None]
    sure = [reading.confidence for reading in stretch if reading.confidence is not None]
    return Finding(
        begin=stretch[0].time,
        end=stretch[-1].time,
        peak=max(measured, key=lambda pair: pair[0])[1],
        mean=sum(percent for percent, _ in measured) / len(measured),
        confidence=min(sure, default=None),
        flags=tuple(Counter(f for reading in stretch for f in reading.flags).most_common()),
    )
