"""Everything that a run writes, of a film or of a camera, and when it may be relied on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.budget import threads_of
from rustvid.config import Config, OutputConfig
from rustvid.errors import RustVidError
from rustvid.frames import Measured, Picture
from rustvid.render import render
from rustvid.report.caption import caption
from rustvid.report.csv import (
    COLUMNS,
    LIVE_COLUMNS,
    LOCATED_COLUMNS,
    PHOTO_COLUMNS,
    CsvReport,
    line_of,
)
from rustvid.report.summary import Fact, Summary
from rustvid.resume import Work, fact_of, joined_part, name_all
from rustvid.video import open_sink, open_source
from rustvid.video.encoded import Tap, Unwritten
from rustvid.video.muxed import VideoSink
from rustvid.video.pieces import Join, join
from rustvid.video.planes import canvas, mask_picture
from rustvid.video.sink import Sink, Template
from rustvid.video.source import Source, SourceInfo


class Outputs:
    """Everything that is written: annotated video, masks, table.

    A row is written when its frame is in the films for good, so that they match after a crash.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        work: Work,
        summary: Summary,
        stack: ExitStack,
        *,
        start: Fraction | None = None,
        show: Callable[[Measured, Picture], None] | None = None,
        taps: Sequence[Tap] = (),
    ) -> None:
        """start: the source's time that is 0 in the files; show: gets what was drawn and written

        taps: get the packets of the video, whether a file is written or not
        """
        paths = work.paths
        info = source.info if start is None else replace(source.info, start=start)
        self._template = Template(info, source.container, source.companions)
        self._masks = Template(info, None, ())
        self._lossless = replace(config.output, codec="ffv1", preset=None, crf=None, hwaccel="none")
        self._config, self._work, self._summary = config, work, summary
        self._show = show
        self._fsync = config.output.fsync and not info.live  # a camera does not wait for a disk
        self._started = False
        self._waiting: deque[tuple[bytes, Fact]] = deque()  # rows of frames that are not settled
        self._written = self._settled = 0
        self._second = 0  # of the film, that the table was last put on the disk at
        keep = work.rows[-1].end if work.rows else 0
        self._csv = (
            stack.enter_context(
                CsvReport(paths.csv, work.part(paths.csv), _columns(config, info), keep)
            )
            if paths.csv
            else None
        )
        for row in work.rows:
            summary.count(fact_of(row))
        stack.push(self._leave)  # after the films are closed, before the table is
        self._video = self._entered(stack, paths.video, self._template, config.output, taps)
        if taps and not self._video:
            nowhere = Unwritten(Path("nowhere.mkv"), self._template, config.output, taps)
            self._video = stack.enter_context(nowhere)
        self._mask = self._entered(stack, paths.mask, self._masks, self._lossless)
        self._films = [film for film in (self._video, self._mask) if film]

    def write(self, result: Measured) -> None:
        """Render and encode one frame; its row is written, and it is counted, once it is safe."""
        if not self._started:
            self._work.start(result.frame.time)
            self._started = True
        picture = result.frame.picture
        stored = np.ascontiguousarray(picture.stored(result.mask))
        drawn = picture
        if self._video or self._show:
            with _stopwatch(self._summary.stages, "render"):
                text = caption(result) if result.is_measured else result.status
                settings = self._config.render
                drawn = render(picture, stored, _placed(result), text, settings, canvas)
        if self._video:
            with _stopwatch(self._summary.stages, "encode"):
                self._video.write(drawn, result.frame)
        if self._mask:
            with _stopwatch(self._summary.stages, "mask"):
                self._mask.write(mask_picture(stored, picture), result.frame)
        self._waiting.append((line_of(result) if self._csv else b"", Fact.of(result)))
        self._written += 1
        self._settle()
        if self._show:
            self._show(result, drawn)

    def hear(self, packets: Sequence[Any]) -> None:
        """Copy sound that comes after the last picture."""
        if isinstance(self._video, VideoSink):
            self._video.hear(packets)

    def finish(self, rest: tuple[object, ...]) -> None:
        """All frames are there: complete the files and give them their names."""
        for film in self._films:
            film.complete(rest if film is self._video else ())
            self._warn(film)
        self._settle()
        if self._csv:
            self._csv.complete()
        if self._work.journal:
            if len(self._work.journal.begins) > 1:
                with _stopwatch(self._summary.stages, "join"):
                    self._join()
            self._work.journal.complete = True
            self._work.journal.write()
        name_all(self._work)
        paths = self._work.paths
        self._summary.outputs += [p for p in (paths.video, paths.csv, paths.mask) if p]

    def _settle(self) -> None:
        """Write the rows of the frames that every film holds for good by now."""
        settled = min((film.settled for film in self._films), default=self._written)
        if settled <= self._settled:
            return
        second = int(self._waiting[0][1].time)
        sync = self._fsync and (bool(self._films) or second != self._second)
        self._second = second
        for film in self._films if sync else ():
            film.sync()
        while self._settled < settled:
            line, fact = self._waiting.popleft()
            if self._csv:
                self._csv.write_line(line)
            self._summary.count(fact)
            self._settled += 1
        if self._csv and sync:
            self._csv.sync()

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """The films are closed, if they can be: what they hold is settled."""
        with suppress(RustVidError) if kind else nullcontext():
            self._settle()
        journal = self._work.journal
        nothing = not self._summary.frames and not any(f.part.exists() for f in self._films)
        if kind and journal and self._started and nothing:
            journal.remove()  # of nothing that could be gone on with

    def _join(self) -> None:
        """Make one film of the pieces that several runs wrote."""
        config, info = self._config, self._template.info
        for path in self._work.paths.films:
            pieces = self._work.pieces(path)
            is_mask = path == self._work.paths.mask
            with open_source(str(config.input), (1, 1), config.source) as again:
                whole = Template(again.info, again.container, again.companions)
                template = self._masks if is_mask else whole
                output = self._lossless if is_mask else config.output
                packets = iter(()) if is_mask else again.companion_packets()
                film = Join(path, template, output, joined_part(path), pieces[0].path)
                with film:
                    join(film, pieces, packets, info.start)
                self._warn(film)
                if self._fsync:
                    film.sync()

    def _warn(self, film: Sink) -> None:
        known = self._summary.warnings
        known += [warning for warning in film.warnings if warning not in known]

    def _entered(
        self,
        stack: ExitStack,
        path: Path | None,
        template: Template,
        config: OutputConfig,
        taps: Sequence[Tap] = (),
    ) -> Sink | None:
        if path is None:
            return None
        sink = open_sink(path, template, config, self._work.part(path), taps)
        sink.threads = threads_of(self._config).encode
        return stack.enter_context(sink)


def _columns(config: Config, info: SourceInfo) -> tuple[str, ...]:
    """Of the table."""
    if info.live:
        return LIVE_COLUMNS
    if info.located:
        return LOCATED_COLUMNS
    return PHOTO_COLUMNS if Path(config.input or "").is_dir() else COLUMNS


def _placed(result: Measured) -> NDArray[np.float32] | None:
    """The evidence (any, any) as it lies in the whole picture."""
    evidence, window = result.evidence, result.frame.window
    if evidence is None or window is None:
        return evidence
    placed = np.zeros(result.frame.picture.upright_shape, np.float32)
    window.of(placed)[:] = cv2.resize(evidence, (window.width, window.height))
    return placed


@contextmanager
def _stopwatch(busy: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        busy[stage] = busy.get(stage, 0.0) + time.perf_counter() - started
