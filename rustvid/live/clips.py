"""Clips: what is recorded is only what lies around corroded frames.

All is encoded; packets of the last seconds wait in memory, a group of pictures with its sound and
rows at a time. When a group holds corrosion, those that wait and it go into a file, and so do the
next ones until it was long enough ago.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import TracebackType
from typing import Any

import numpy as np

from rustvid.config import Config
from rustvid.frames import Measured
from rustvid.live.recorder import Order, Recorder
from rustvid.preflight import Paths
from rustvid.render import render
from rustvid.report.caption import caption
from rustvid.report.csv import LIVE_COLUMNS, CsvReport, line_of
from rustvid.report.summary import Fact, Summary
from rustvid.video.encoded import PICTURE, Copied, Encoded, Unwritten
from rustvid.video.sink import Template, part_of
from rustvid.video.times import exact

MOST_BYTES = 200_000_000  # of packets that wait


@dataclass(frozen=True)
class Row:
    """What is written of a frame beside its picture; corroded: a clip is for such."""

    time: Fraction
    utc: float
    line: bytes
    fact: Fact
    corroded: bool


@dataclass
class Group:
    """A key frame and what follows until the next one, with its sound and its rows."""

    packets: list[Encoded]
    rows: list[Row] = field(default_factory=list)

    def heard_before(self, time: Fraction) -> list[Encoded]:
        """Its sound before its first picture, which a file that begins with it does not hold."""
        return [p for p in self.packets if p.track != PICTURE and p.pts < time]

    @property
    def bytes(self) -> int:
        return sum(len(packet.data) for packet in self.packets)


class Clips(Recorder):
    """Writes what lies around corroded frames.

    A clip is of whole groups of pictures, so up to a second longer on either side than asked for.
    With `output.segment` none is longer than that: another one follows it at once.
    Which clip a frame is in is known when its group is whole: an event is told a group later, after
    two seconds at most while the camera plays.
    """

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        output = order.config.output
        self._before = exact(output.before) or Fraction(0)
        self._after = exact(output.after) or Fraction(0)
        self._longest = exact(output.segment)
        self._encoder: Unwritten | None = None
        self._picture: Any = None  # the encoder's stream
        self._rows: deque[Row] = deque()  # of frames whose group is not complete
        self._group: list[Encoded] = []  # packets since the last key frame
        self._waiting: deque[Group] = deque()  # might be before corrosion
        self._clip: _Clip | None = None
        self._until = Fraction(-1)  # time up to which is recorded

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if self._clip:
                self._clip.__exit__(kind, error, trace)

    @property
    def facts(self) -> dict[str, int]:
        """Clips begun, frames in them."""
        return {"clips": self.number, "recorded": self._order.summary.frames}

    def write(self, result: Measured) -> None:
        """Draw and encode one result; whether it is recorded shows later."""
        picture = result.frame.picture
        stored = np.ascontiguousarray(picture.stored(result.mask))
        text = caption(result) if result.is_measured else result.status
        drawn = render(picture, stored, result.evidence, text, self._order.config.render)
        frame = result.frame
        corroded = 100 * result.area.share > self._order.config.events.area
        self._rows.append(
            Row(frame.time, frame.utc or 0.0, line_of(result), Fact.of(result), corroded)
        )
        if self._encoder is None:
            self._encoder = self._encoding()
            self._stack.enter_context(self._encoder)
        self._encoder.write(drawn, frame)
        self._order.show(result, drawn)

    def finish(self) -> None:
        """Complete the clip that is open; what only waits is forgotten."""
        if self._encoder is None:
            return
        self._encoder.complete(())
        self._complete_group(None)
        self._end_clip()
        known = self._order.summary.warnings
        known += [warning for warning in self._encoder.warnings if warning not in known]
        self._stack.close()

    # --- from the encoder

    def begin(self, picture: Any, sounds: Sequence[Any]) -> None:
        """The encoder has begun."""
        self._picture = picture

    def take(self, packet: Encoded) -> None:
        """Put a packet to its group."""
        if packet.track == PICTURE and packet.key and self._group:
            self._complete_group(packet.pts)
        self._group.append(packet)

    # --- groups

    def _complete_group(self, end: Fraction | None) -> None:
        """A group is whole: record it, let it wait, or forget it. end: where the next one begins"""
        group = Group(self._group)
        self._group = []
        while self._rows and (end is None or self._rows[0].time < end):
            group.rows.append(self._rows.popleft())
        if not group.rows:
            return
        corroded = [row.time for row in group.rows if row.corroded]
        if corroded:
            self._until = corroded[-1] + self._after
            self._recall(corroded[0] - self._before)
        if group.rows[0].time <= self._until:
            self._record(group)
            return
        self._end_clip()
        self._waiting.append(group)
        self._forget(group.rows[-1].time - self._before)

    def _recall(self, since: Fraction) -> None:
        """Record those that wait, as far back as that."""
        self._forget(since)
        while self._waiting:
            self._record(self._waiting.popleft())

    def _forget(self, before: Fraction) -> None:
        """Those that end before that time, and those that take too much memory."""
        while self._waiting and self._waiting[0].rows[-1].time < before:
            self._waiting.popleft()
        while sum(group.bytes for group in self._waiting) > MOST_BYTES:
            gone = self._waiting.popleft()
            logging.getLogger("rustvid.live").warning(
                "%soutput.before %s s do not fit into %d MB of memory: %.1f s are left out",
                self._order.config.source.mark,
                self._order.config.output.before,
                MOST_BYTES // 1_000_000,
                float(gone.rows[-1].time - gone.rows[0].time),
            )

    def _record(self, group: Group) -> None:
        first = group.rows[0]
        clip = self._clip
        if clip and self._longest is not None and first.time - clip.start >= self._longest:
            clip.hear(group.heard_before(first.time))
            self._end_clip()
        if self._clip is None:
            self._name_next(first.utc)
            info = replace(self._order.source.info, start=first.time)
            template = Template(info, None, self._order.source.companions)
            self._clip = _Clip(
                self.current, template, self._order.config, self._order.summary, self._picture
            )
        self._clip.write(group)
        self._order.written(group.rows[-1].time, self.current.video)

    def _end_clip(self) -> None:
        if self._clip is None:
            return
        clip, self._clip = self._clip, None
        with clip:
            clip.finish()
        self._prune(clip.ended)

    def _encoding(self) -> Unwritten:
        assert self._order.paths.video
        template = Template(self._order.source.info, None, self._order.source.companions)
        taps = (self, *self._order.taps)
        return Unwritten(self._order.paths.video, template, self._order.config.output, taps)


class _Clip(ExitStack):
    """One clip and its table, which is never ahead of it; a context manager."""

    def __init__(
        self, paths: Paths, template: Template, config: Config, summary: Summary, picture: Any
    ) -> None:
        super().__init__()
        assert paths.video
        self.start, self.ended = template.info.start, 0.0
        self._paths, self._summary = paths, summary
        self._rows: deque[Row] = deque()
        self._settled = 0
        self._csv: CsvReport | None = None
        if paths.csv:
            self._csv = self.enter_context(CsvReport(paths.csv, part_of(paths.csv), LIVE_COLUMNS))
        try:
            self._film = Copied(paths.video, template, config.output, picture)
        except BaseException:
            self.close()
            raise
        self.enter_context(self._film)

    def write(self, group: Group) -> None:
        """Write a group; its rows follow when its pictures are in the file for good."""
        self._rows += group.rows
        for packet in group.packets:
            self._film.write_packet(packet)
        self.ended = group.rows[-1].utc
        self._settle()

    def hear(self, packets: Sequence[Encoded]) -> None:
        """Write sound that came after the last picture."""
        for packet in packets:
            self._film.write_packet(packet)

    def finish(self) -> None:
        """Complete both files and give them their names."""
        self._film.complete(())
        self._settle()
        self._film.name()
        if self._csv:
            self._csv.finish()
        self._summary.outputs += [p for p in (self._paths.video, self._paths.csv) if p]
        known = self._summary.warnings
        known += [warning for warning in self._film.warnings if warning not in known]

    def _settle(self) -> None:
        while self._settled < self._film.settled:
            row = self._rows.popleft()
            if self._csv:
                self._csv.write_line(row.line)
            self._summary.count(row.fact)
            self._settled += 1
