"""One network and its workers for several cameras: each has its turn.

camera ─► … ─► SharedNetwork.look ─┐                        ┌─► SharedPool.map ─► …
camera ─► … ─► SharedNetwork.look ─┼─► Turns: one pass ─► … ┼─► SharedPool.map ─► …
camera ─► … ─► SharedNetwork.look ─┘   of all that wait     └─► SharedPool.map ─► …

A camera asks for one frame and waits, so that none can have more than its turn; what comes to it
meanwhile is tracked, or dropped, as where a camera has the machine to itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray

from rustvid.config import Config
from rustvid.frames import Localised
from rustvid.method.classify import Answer, Network
from rustvid.pipeline import Engine, Refiner, engine_of
from rustvid.report.summary import Summary
from rustvid.threads import Turns
from rustvid.workers import Outcome, Task

Image = NDArray[np.uint8]
Looks = Turns[Image, tuple[Answer, float]]  # with the seconds that it took
Refinements = Turns[Task[Localised], tuple[Outcome[Localised], float]]


class Shared:
    """What the cameras share; `engine` makes the one of a camera."""

    def __init__(self, inner: Engine, looks: Looks, refinements: Refinements) -> None:
        self._inner, self._looks, self._refinements = inner, looks, refinements

    def engine(self) -> Engine:
        """What looks like a network and workers of one's own."""
        network = SharedNetwork(self._inner.model, self._looks)
        return Engine(network, SharedPool(self._inner.pool, self._refinements))


@contextmanager
def shared(
    config: Config, summary: Summary, cameras: int, model: Network | None = None
) -> Iterator[Shared]:
    """Start the engine of a configuration for so many cameras.

    The network sees as many pictures at once as cameras wait, at most `model.batch`.
    """
    with ExitStack() as stack:
        sizes = range(1, min(cameras, config.model.batch) + 1)
        inner = stack.enter_context(engine_of(config, summary, model, sizes))
        most = min(cameras, inner.model.batch)
        if model is None:
            _warm(inner.model, most)

        def look(images: list[Image]) -> Iterable[tuple[Answer, float]]:
            before = inner.model.seconds
            answer = inner.model.look(images)
            each = (inner.model.seconds - before) / len(images)
            return [(_only(answer, number), each) for number in range(len(images))]

        def refine(tasks: list[Task[Localised]]) -> Iterator[tuple[Outcome[Localised], float]]:
            before = inner.pool.seconds
            for outcome in inner.pool.map(tasks):
                now = inner.pool.seconds
                yield outcome, now - before
                before = now

        looks = stack.enter_context(Turns(look, most, "rustvid-network"))
        refinements = stack.enter_context(Turns(refine, cameras, "rustvid-refine"))
        yield Shared(inner, looks, refinements)


class SharedNetwork:
    """A network (see method.classify.Network) that others use too."""

    def __init__(self, inner: Network, looks: Looks) -> None:
        self.kind, self.name, self.digest = inner.kind, inner.name, inner.digest
        self.precision, self.size = inner.precision, inner.size
        self.batch = 1  # a camera waits for no second frame
        self.seconds = 0.0
        self._looks = looks

    def look(self, images: Sequence[Image]) -> Answer:
        """As Model.look, in this camera's turn."""
        (image,) = images
        answer, seconds = self._looks.ask(image)
        self.seconds += seconds
        return answer


class SharedPool:
    """Workers (see workers.Pool) that others use too."""

    def __init__(self, inner: Refiner, refinements: Refinements) -> None:
        self.seconds = 0.0
        self._inner, self._refinements = inner, refinements

    @property
    def restarts(self) -> int:
        """Workers that died and were replaced, whoever they worked for."""
        return self._inner.restarts

    def map(self, tasks: Iterable[Task[Localised]]) -> Iterator[Outcome[Localised]]:
        """As Pool.map, in this camera's turn."""
        for task in tasks:
            if task.arrays is None:
                yield Outcome(task.item, None, None)
                continue
            outcome, seconds = self._refinements.ask(task)
            self.seconds += seconds
            yield outcome


def _only(answer: Answer, number: int) -> Answer:
    """What was answered about one of the pictures."""
    here = slice(number, number + 1)
    return Answer(answer.probability[here], answer.evidence[here])


def _warm(model: Network, most: int) -> None:
    """Let it be compiled for every number of pictures, before a camera waits for it."""
    width, height = model.size
    black = np.zeros((height, width, 3), np.uint8)
    for images in itertools.accumulate(itertools.repeat([black], most)):
        model.look(images)
