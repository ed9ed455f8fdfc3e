"""The stream of frames through the network: each once, in order, in whole batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid.errors import SourceCutShort
from rustvid.frames import Frame, Picture
from rustvid.method.classify import Answer, classify

Image = NDArray[np.uint8]


@dataclass
class Oracle:
    """A model that reads p(corrosion) off the first pixel, in percent."""

    batch: int = 4
    asked: list[int] = field(default_factory=list)  # pictures of each pass
    name: str = "oracle"
    digest: str = ""
    precision: str = "float32"
    size: tuple[int, int] = (8, 8)
    seconds: float = 0.0

    def look(self, images: Sequence[Image]) -> Answer:
        self.asked.append(len(images))
        percent = np.array([image[0, 0, 0] for image in images], np.float32)
        evidence = np.stack([np.full((2, 2), p / 100, np.float32) for p in percent])
        return Answer(percent / 100, evidence)


def frame(index: int, percent: int = 0) -> Frame:
    planes = (np.zeros((8, 8), np.uint8),)
    picture = Picture(planes, "gray", 8, 0, 0, "bt601", True)
    image = np.full((8, 8, 3), percent, np.uint8)
    return Frame(index, Fraction(index, 25), Fraction(1, 25), picture, image)


def stream(count: int, every: int = 1, percent: int = 0) -> Iterator[tuple[Frame, bool]]:
    for index in range(count):
        yield frame(index, percent), index % every == 0


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 4, 23])
def test_every_frame_comes_back_once_and_in_order(count: int, every: int) -> None:
    results = list(classify(stream(count, every), Oracle(), 0.5, 4))
    assert [result.frame.index for result in results] == list(range(count))


def test_each_frame_gets_its_own_answer() -> None:
    percents = [3, 97, 51, 0, 100, 60, 20]
    frames = [(frame(index, percent), True) for index, percent in enumerate(percents)]
    results = list(classify(frames, Oracle(batch=3), 0.5, 3))
    assert [round(100 * (r.probability or 0)) for r in results] == percents
    for result, percent in zip(results, percents, strict=True):
        if result.evidence is not None:
            assert result.evidence[0, 0] == np.float32(percent / 100)


def test_a_frame_not_looked_at_passes_through_without_answer() -> None:
    results = list(classify(stream(9, every=3, percent=90), Oracle(), 0.5, 4))
    looked = [result.classified.analysed for result in results]
    assert looked == [True, False, False] * 3
    for result in results:
        assert (result.probability is None) == (not result.classified.analysed)
        assert (result.evidence is None) == (not result.classified.analysed)


@pytest.mark.parametrize(("percent", "corroded"), [(49, False), (50, False), (51, True)])
def test_there_is_evidence_only_where_p_exceeds_the_threshold(percent: int, corroded: bool) -> None:
    (result,) = classify([(frame(0, percent), True)], Oracle(), 0.5, 4)
    assert (result.evidence is not None) == corroded
    assert result.probability == pytest.approx(percent / 100)


def test_pictures_are_looked_at_in_whole_batches_and_a_rest() -> None:
    oracle = Oracle(batch=4)
    list(classify(stream(11), oracle, 0.5, oracle.batch))
    assert oracle.asked == [4, 4, 3]


def test_nothing_is_looked_at_where_nothing_was_chosen() -> None:
    oracle = Oracle()
    assert (
        len(list(classify(((frame(i), False) for i in range(70)), oracle, 0.5, oracle.batch))) == 70
    )
    assert oracle.asked == []


@pytest.mark.parametrize("every", [1, 5, 1000])
def test_no_more_than_eight_batches_of_frames_are_pulled_ahead(every: int) -> None:
    """Bounded whatever the sampling: an endless stream of unlooked frames keeps flowing."""
    oracle, pulled = Oracle(batch=4), 0

    def endless() -> Iterator[tuple[Frame, bool]]:
        nonlocal pulled
        for index in itertools.count():
            pulled += 1
            yield frame(index), index % every == 0

    for given, _ in enumerate(
        itertools.islice(classify(endless(), oracle, 0.5, oracle.batch), 300)
    ):
        assert pulled - given <= 8 * oracle.batch


def test_a_source_that_is_cut_short_does_not_lose_the_frames_before_the_cut() -> None:
    """What waits for its batch is answered before the error goes on, as in workers.Pool.map."""

    def cut(count: int) -> Iterator[tuple[Frame, bool]]:
        yield from stream(count)
        raise SourceCutShort("film.mkv: is cut short")

    seen = []
    with pytest.raises(SourceCutShort):
        for result in classify(cut(6), Oracle(batch=4), 0.5, 4):
            seen.append(result.frame.index)
    assert seen == list(range(6))


def test_a_camera_s_frame_waits_for_no_other() -> None:
    """Whatever batch the network was loaded for."""
    given = (pair for pair in stream(40, every=10))
    results = classify(given, Oracle(batch=4), 0.5, 1)
    assert next(results).frame.index == 0
    assert next(given)[0].index == 1
