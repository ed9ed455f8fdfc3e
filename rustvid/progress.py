"""What a person sees while a run goes on, and how they stop it."""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from rustvid.errors import Interrupted
from rustvid.frames import Measured
from rustvid.live.board import Board
from rustvid.method import compiler
from rustvid.redact import shown

_PLAIN_SECONDS = 10.0  # between lines where stderr is not a terminal
_REFRESH = 0.5  # seconds between two lines of a camera on a terminal


class StepProgress:
    """The steps of a training: a bar on a terminal, nothing elsewhere (log.csv has it all)."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=None, loss=float("nan"))

    def __enter__(self) -> StepProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, step: int, total: int, loss: float) -> None:
        """One step is done."""
        self._bar.update(self._task, completed=step, total=total, loss=loss)


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
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:5.1f} fps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[corroded]:3.0f} % corroded"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(shown(name), total=None, speed=0.0, corroded=0.0)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
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

    What compiles a network for it stops at once, for then there is no frame yet.
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

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def received(self) -> bool:
        """Has one come?"""
        return bool(self._received)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._received:
            raise Interrupted(self._received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number
        compiler.pass_on(number)
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


class LiveProgress:
    """What a person sees of a camera: a line that is kept up to date on a terminal, a plain one now
    and then elsewhere, and every change of the connection; only warnings if quiet.
    """

    def __init__(self, name: str, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._said = self._shown = time.monotonic()
        self._status = (
            self._console.status(Text(shown(name))) if self._console.is_terminal else None
        )
        self._handler = _ToStderr(self._console)

    def __enter__(self) -> LiveProgress:
        log = logging.getLogger("rustvid")
        self._level = log.level
        log.setLevel(logging.WARNING if self._quiet else logging.INFO)
        log.addHandler(self._handler)
        if self._status and not self._quiet:
            self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._status:
            self._status.stop()
        log = logging.getLogger("rustvid")
        log.removeHandler(self._handler)
        log.setLevel(self._level)

    def show(self, *boards: Board) -> None:
        """Called after every frame; says something a few times a second, or every ten."""
        now = time.monotonic()
        if self._quiet or now - self._shown < _REFRESH:
            return
        self._shown = now
        lines = [f"{board.camera}: {_line(board)}" for board in boards]
        if self._status:
            self._status.update(Text("\n".join(lines)))
        elif now - self._said > _PLAIN_SECONDS:
            self._said = now
            for line in lines:
                logging.getLogger("rustvid.live").info("%s", line)


def _line(board: Board) -> str:
    now = board.snapshot()
    counts = now.counts
    latency = "–" if now.latency is None else f"{now.latency:.2f} s"
    return (
        f"{now.state}, frame {counts.get('written', 0)}, {now.frames_per_second:.1f} fps, "
        f"latency {latency}, {counts.get('dropped', 0)} dropped, {counts.get('lost', 0)} lost, "
        f"rust {now.area:.1f} %"
    )


class _ToStderr(logging.Handler):
    """Log records as lines on stderr, with the UTC, without passwords."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Where nobody reads, that is no reason to fail."""
        stamp = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        line = f"{stamp} {shown(text)}"
        with suppress(OSError):
            self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
