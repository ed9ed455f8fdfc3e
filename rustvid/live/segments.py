"""The files of a live run: one, or one after another, each with its table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

from rustvid.errors import RustVidError
from rustvid.frames import Measured
from rustvid.live.recorder import Order, Recorder
from rustvid.outputs import Outputs
from rustvid.resume import Work
from rustvid.video.times import exact

_LATE = Fraction(1, 2)  # seconds that sound may come after the picture it is heard with


@dataclass
class _File:
    """A file and its table. end: when the next one began; until then it gets every picture"""

    outputs: Outputs
    stack: ExitStack
    end: Fraction | None = None


class Segments(Recorder):
    """Writes every result.

    With `output.segment` a new file, which begins with a key frame, follows after so long. The
    names are then like live-20260131T120000Z-0001.mp4: the UTC of the first frame, and a number.
    A file stays open a little longer than its picture goes, for the sound that is still its own.
    """

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._length = exact(order.config.output.segment)
        self._until: Fraction | None = None  # time at which the next file begins
        self._files: list[_File] = []  # that are open, the one that gets the pictures last

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._files and self._files[0].end is not None:  # it has all its pictures
            with suppress(RustVidError):
                self._complete_first()
        for file in self._files:
            self._stack.push(file.stack)
        super().__exit__(kind, error, trace)

    def write(self, result: Measured) -> None:
        """Write one result, to a new file if it is time for one."""
        time = result.frame.time
        if self._files and self._until is not None and time >= self._until:
            self._files[-1].end = time
        left = next((file for file in self._files if file.end is not None), None)
        # Picked before the new file has them, which moves their times to its own.
        late = heard_before(result.frame.companions, left.end) if left and left.end else []
        if not self._files or self._files[-1].end is not None:
            self._begin(result)
        self._files[-1].outputs.write(result)
        self._order.written(time, self.current.video)
        if left and left.end is not None:
            left.outputs.hear(late)
            if not self._order.source.companions or time >= left.end + _LATE:
                self._complete_first()
                self._prune(result.frame.utc or 0.0)

    def finish(self) -> None:
        """Complete the files that are open, and give them their names."""
        while self._files:
            self._complete_first()

    def _complete_first(self) -> None:
        file = self._files.pop(0)
        with file.stack:
            file.outputs.finish(())

    def _begin(self, result: Measured) -> None:
        order, time = self._order, result.frame.time
        if self._length is not None:
            self._until = time + self._length
            self._name_next(result.frame.utc or 0.0)
        with ExitStack() as stack:
            outputs = Outputs(
                order.source,
                order.config,
                Work(self.current),
                order.summary,
                stack,
                start=time,
                show=order.show,
                taps=order.taps,
            )
            self._files.append(_File(outputs, stack.pop_all()))


def heard_before(packets: Sequence[Any], time: Fraction) -> list[Any]:
    """Of a picture's packets of sound those that begin before that time: a file has nothing that
    is before its own first picture."""
    return [p for p in packets if p.pts is not None and p.pts * p.time_base < time]
