"""Recordings of a camera: files whose names hold a time and a number, of which old ones go."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from rustvid.config import Config, OutputConfig
from rustvid.frames import Measured, Picture
from rustvid.preflight import Paths
from rustvid.report.summary import Summary
from rustvid.video.encoded import Tap
from rustvid.video.source import Source

_STAMP = "%Y%m%dT%H%M%SZ"
Show = Callable[[Measured, Picture], None]
Written = Callable[[Fraction, Path | None], None]


@dataclass(frozen=True)
class Order:
    """What to record, and where to.

    show: called with each result and its annotated picture
    written: called with a time up to which all frames are in a file, or in none, and with the video
        that those since the last call are in
    taps: get the encoded packets too
    """

    source: Source
    config: Config
    paths: Paths
    summary: Summary
    show: Show
    written: Written
    taps: Sequence[Tap] = ()


class Recorder(ABC):
    """Takes results and writes them to files that `order.paths` names; a context manager."""

    def __init__(self, order: Order) -> None:
        self.number = 0
        self.current = order.paths  # the files that are being written
        self._order = order
        self._stack = ExitStack()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def facts(self) -> dict[str, int]:
        """Counts of its own, by their names on the status page."""
        return {}

    @abstractmethod
    def write(self, result: Measured) -> None:
        """Write one result."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the files that are open, and give them their names."""

    def _name_next(self, utc: float) -> None:
        """Go on to the next numbered files; utc: of their first frame"""
        self.number += 1
        self.current = named(self._order.paths, utc, self.number)

    def _prune(self, now: float) -> None:
        """Remove what is outdated of the files of these names. now: UTC, seconds since 1970"""
        for path in outdated(self._order.paths.all, self._order.config.output, now):
            with suppress(OSError):  # somebody else removed it, or may not let us: later again
                path.unlink()


def named(paths: Paths, utc: float, number: int) -> Paths:
    """Where a recording goes, by the UTC of its first frame and its number."""

    def moved(path: Path | None) -> Path | None:
        return path and segment_path(path, utc, number)

    return Paths(moved(paths.video), moved(paths.csv), moved(paths.mask))


def segment_path(path: Path, utc: float, number: int) -> Path:
    """live.mp4 → live-20260131T120000Z-0001.mp4"""
    stamp = datetime.fromtimestamp(utc, UTC).strftime(_STAMP)
    return path.with_name(f"{path.stem}-{stamp}-{number:04d}{path.suffix}")


def outdated(paths: list[Path], config: OutputConfig, now: float) -> list[Path]:
    """Which files to remove, of all segments ever written under these names.

    Files of one moment go together, the oldest first: those older than `output.keep` seconds, and
    those beyond `output.keep_size` bytes, but never the newest for its size. now: UTC, seconds
    since 1970
    """
    moments: dict[str, list[Path]] = {}
    for path in paths:
        for stamp, found in _segments_of(path):
            moments.setdefault(stamp, []).append(found)
    sizes = {stamp: sum(map(_size, files)) for stamp, files in moments.items()}
    total, gone = sum(sizes.values()), []
    newest = max(moments, default="")
    for stamp in sorted(moments):
        old = config.keep is not None and now - _utc_of(stamp) > config.keep
        full = config.keep_size is not None and total > config.keep_size and stamp != newest
        if old or full:
            gone += moments[stamp]
            total -= sizes[stamp]
    return gone


def _utc_of(stamp: str) -> float:
    """The seconds since 1970 of a moment, 20260131T120000Z-0001; raises ValueError."""
    return datetime.strptime(stamp[:16], _STAMP).replace(tzinfo=UTC).timestamp()


def _is_moment(stamp: str) -> bool:
    try:
        _utc_of(stamp)
    except ValueError:  # digits, but of no day: no file of ours
        return False
    return True


def _segments_of(path: Path) -> list[tuple[str, Path]]:
    """Segments of this name on the disk, with their moment; what a killed run left, too."""
    suffix = re.escape(path.suffix)
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z-\d{{4,}})(\.part)?{suffix}")
    matches = ((pattern.fullmatch(found.name), found) for found in path.parent.iterdir())
    return [(match[1], found) for match, found in matches if match and _is_moment(match[1])]


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
