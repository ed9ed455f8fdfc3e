"""The files of a live run: one, or one after another, each with its table; old ones are removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from rustvid.config import Config, OutputConfig
from rustvid.frames import Measured, Picture
from rustvid.outputs import Outputs
from rustvid.preflight import Paths
from rustvid.report.summary import Summary
from rustvid.resume import Work
from rustvid.video.encoded import Tap
from rustvid.video.source import Source
from rustvid.video.times import exact

_STAMP = "%Y%m%dT%H%M%SZ"
Show = Callable[[Measured, Picture], None]


class Segments:
    """Writes results to the files that `paths` names; a context manager.

    With `output.segment` a new file, which begins with a key frame, follows after so long. The
    names are then like live-20260131T120000Z-0001.mp4: the UTC of the first frame, and a number.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        paths: Paths,
        summary: Summary,
        show: Show,
        taps: Sequence[Tap] = (),
    ) -> None:
        self.number = 0
        self.current = paths  # the files that are being written
        self._source, self._config, self._paths = source, config, paths
        self._summary, self._show, self._taps = summary, show, taps
        self._length = exact(config.output.segment)
        self._until: Fraction | None = None  # time at which the next file begins
        self._outputs: Outputs | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Segments:
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
        """Counts of its own: none."""
        return {}

    def write(self, result: Measured) -> None:
        """Write one result, to a new file if it is time for one."""
        time = result.frame.time
        if self._outputs and self._until is not None and time >= self._until:
            self.finish()
            prune(self._paths, self._config.output, result.frame.utc or 0.0)
        if self._outputs is None:
            self._begin(result)
        assert self._outputs is not None
        self._outputs.write(result)

    def finish(self) -> None:
        """Complete the files that are open, and give them their names."""
        if self._outputs is None:
            return
        outputs, self._outputs = self._outputs, None
        outputs.finish(())
        self._stack.close()

    def _begin(self, result: Measured) -> None:
        time = result.frame.time
        if self._length is not None:
            self.number += 1
            self._until = time + self._length
            self.current = named(self._paths, result.frame.utc or 0.0, self.number)
        self._outputs = Outputs(
            self._source,
            self._config,
            Work(self.current),
            self._summary,
            self._stack,
            start=time,
            show=self._show,
            taps=self._taps,
        )


def named(paths: Paths, utc: float, number: int) -> Paths:
    """Where a segment or a clip goes."""

    def moved(path: Path | None) -> Path | None:
        return path and segment_path(path, utc, number)

    return Paths(moved(paths.video), moved(paths.csv), moved(paths.mask))


def prune(paths: Paths, config: OutputConfig, now: float) -> None:
    """Remove what is outdated of the files of these names."""
    for path in outdated(paths.all, config, now):
        with suppress(OSError):  # somebody else removed it, or may not let us: try again later
            path.unlink()


def segment_path(path: Path, utc: float, number: int) -> Path:
    """live.mp4 → live-20260131T120000Z-0001.mp4"""
    stamp = datetime.fromtimestamp(utc, UTC).strftime(_STAMP)
    return path.with_name(f"{path.stem}-{stamp}-{number:04d}{path.suffix}")


def outdated(paths: list[Path], config: OutputConfig, now: float) -> list[Path]:
    """Which files to remove, of all segments ever written under these names.

    Files of one moment go together, the oldest first: those older than `output.keep` seconds, and
    those beyond `output.keep_size` bytes. now: UTC, seconds since 1970
    """
    moments: dict[str, list[Path]] = {}
    for path in paths:
        for stamp, found in _segments_of(path):
            moments.setdefault(stamp, []).append(found)
    sizes = {stamp: sum(map(_size, files)) for stamp, files in moments.items()}
    total, gone = sum(sizes.values()), []
    for stamp in sorted(moments):
        age = now - datetime.strptime(stamp[:16], _STAMP).replace(tzinfo=UTC).timestamp()
        old = config.keep is not None and age > config.keep
        if old or (config.keep_size is not None and total > config.keep_size):
            gone += moments[stamp]
            total -= sizes[stamp]
    return gone


def _segments_of(path: Path) -> list[tuple[str, Path]]:
    """Segments of this name on the disk, with their moment; what a killed run left, too."""
    suffix = re.escape(path.suffix)
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z-\d{{4,}})(\.part)?{suffix}")
    matches = ((pattern.fullmatch(found.name), found) for found in path.parent.iterdir())
    return [(match[1], found) for match, found in matches if match]


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
