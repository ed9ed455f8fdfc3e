"""What a person sees while a run goes on, and how they stop it."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from types import FrameType, TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from rustvid.errors import Interrupted
from rustvid.frames import Measured

_PLAIN_SECONDS = 10.0  # between lines where stderr is not a terminal


class Progress:
    """A bar on a terminal, a plain line now and then elsewhere, nothing if quiet.

    Frames, frames per second, time left, share of frames with corrosion.
    """

    def __init__(self, name: str, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._frames = 0
        self._corroded = 0
        self._started = self._said = time.monotonic()
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:5.1f} fps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[corroded]:3.0f} % corroded"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(escape(name), total=None, speed=0.0, corroded=0.0)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def complete(self) -> None:
        """All is done: 100 %, for the number of frames was an estimate."""
        self._bar.update(self._task, total=self._frames)

    def show(self, result: Measured, expected: int | None) -> None:
        """Count one result; expected: frames in all, as far as is known."""
        now = time.monotonic()
        if self._frames == 0:
            self._started = now  # the network has loaded: speed counts from here
        self._frames += 1
        self._corroded += result.area.pixels > 0
        speed = self._frames / max(now - self._started, 0.001) if self._frames > 1 else 0.0
        share = 100 * self._corroded / self._frames
        total = None if expected is None else max(expected, self._frames)
        self._bar.update(
            self._task, completed=self._frames, total=total, speed=speed, corroded=share
        )
        if self._bar.disable and not self._quiet and now - self._said > _PLAIN_SECONDS:
            self._said = now
            of = f"/{expected}" if expected else ""
            line = f"frame {self._frames}{of}, {speed:.1f} fps, {share:.0f} % corroded"
            with suppress(OSError):  # nobody reads it: no reason to give up the work
                print(line, file=sys.stderr, flush=True)  # noqa: T201


class Signals:
    """SIGINT, SIGTERM, SIGHUP ask the run to stop between two frames; a SIGINT then ends it.

    A SIGTERM then changes nothing: `timeout` sends it twice, and a supervisor has SIGKILL.
    What is ignored from the start (SIGINT of a background job) stays ignored.
    """

    def __init__(self) -> None:
        self._received = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._received:
            raise Interrupted(self._received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
