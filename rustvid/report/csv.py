"""The table: a row for every frame, written as it goes."""

from __future__ import annotations

import csv
import errno
import io
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from rustvid.errors import SinkError
from rustvid.frames import Measured

COLUMNS = (
    "frame",
    "time_s",
    "status",
    "analysed",
    "probability",
    "area_px",
    "area_pct",
    "regions",
    "largest_region_px",
    "unknown_pct",
    "confidence",
    "flags",
)
LIVE_COLUMNS = (*COLUMNS, "utc")


def row(result: Measured) -> tuple[str, ...]:
    """One frame's row; probability, confidence and flags are empty where the frame was tracked,
    not looked at."""
    probability, area, trust = result.probability, result.area, result.trust
    return (  # of a live frame there is one cell more
        str(result.frame.index),
        f"{float(result.frame.time):.6f}",
        result.status,
        str(int(result.analysed)),
        "" if probability is None else f"{probability:.4f}",
        str(area.pixels),
        f"{100 * area.share:.4f}",
        str(area.regions),
        str(area.largest),
        f"{100 * result.refined.unknown_share:.2f}",
        f"{trust.confidence:.4f}" if trust else "",
        ";".join(trust.flags) if trust else "",
        *([] if result.frame.utc is None else [utc_text(result.frame.utc)]),
    )


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as 2026-01-31T12:00:00.000Z."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class CsvReport:
    """Writes to `part`, a line at a time; `finish` gives it the name `path`.

    One line is one write, and what fails in the middle of one is taken back: whatever happens,
    the file ends with a whole row. Left unfinished it stays as `part`, if it has a row at all.
    """

    def __init__(self, path: Path, part: Path, columns: tuple[str, ...] = COLUMNS) -> None:
        self.path = path
        self._part = part
        self._rows = self._size = 0
        try:
            self._file = part.open("wb", buffering=0)
        except OSError as exc:
            raise self._error(exc) from exc
        try:
            self._write(columns)
        except SinkError:
            self._file.close()
            raise

    def __enter__(self) -> CsvReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._file.closed:
            self._file.close()
            if not self._rows:
                self._part.unlink(missing_ok=True)

    def write(self, result: Measured) -> None:
        """Add a frame's row."""
        self._write(row(result))
        self._rows += 1

    def finish(self) -> None:
        """The table is complete: give it its name."""
        self._file.close()
        try:
            self._part.replace(self.path)
        except OSError as exc:
            raise self._error(exc) from exc

    def _write(self, cells: tuple[str, ...]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        line = rest = text.getvalue().encode()
        try:
            while rest:  # a disk that fills up may take the beginning of it
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as exc:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise self._error(exc) from exc
        self._size += len(line)

    def _error(self, exc: OSError) -> SinkError:
        remedy = "free some space" if exc.errno == errno.ENOSPC else "check the folder"
        return SinkError(f"{self.path}: cannot be written ({exc.strerror}); {remedy}")
