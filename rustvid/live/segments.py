"""The files of a live run: one, or one after another, each with its table."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rustvid.frames import Measured
from rustvid.live.recorder import Order, Recorder
from rustvid.outputs import Outputs
from rustvid.resume import Work
from rustvid.video.times import exact


class Segments(Recorder):
    """Writes every result.

    With `output.segment` a new file, which begins with a key frame, follows after so long. The
    names are then like live-20260131T120000Z-0001.mp4: the UTC of the first frame, and a number.
    """

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._length = exact(order.config.output.segment)
        self._until: Fraction | None = None  # time at which the next file begins
        self._outputs: Outputs | None = None

    def write(self, result: Measured) -> None:
        """Write one result, to a new file if it is time for one."""
        time = result.frame.time
        if self._outputs and self._until is not None and time >= self._until:
            self._end(heard_before(result.frame.companions, time))
            self._prune(result.frame.utc or 0.0)
        if self._outputs is None:
            self._begin(result)
        assert self._outputs is not None
        self._outputs.write(result)
        self._order.written(time, self.current.video)

    def finish(self) -> None:
        """Complete the files that are open, and give them their names."""
        self._end([])

    def _end(self, rest: Sequence[Any]) -> None:
        """rest: packets of sound that come after the last picture"""
        if self._outputs is None:
            return
        outputs, self._outputs = self._outputs, None
        outputs.finish(tuple(rest))
        self._stack.close()

    def _begin(self, result: Measured) -> None:
        order, time = self._order, result.frame.time
        if self._length is not None:
            self._until = time + self._length
            self._name_next(result.frame.utc or 0.0)
        self._outputs = Outputs(
            order.source,
            order.config,
            Work(self.current),
            order.summary,
            self._stack,
            start=time,
            show=order.show,
            taps=order.taps,
        )


def heard_before(packets: Sequence[Any], time: Fraction) -> list[Any]:
    """Of a picture's packets of sound those that begin before it: the file before it is theirs,
    for a file has nothing that is before its first picture."""
    return [p for p in packets if p.pts is not None and p.pts * p.time_base < time]
