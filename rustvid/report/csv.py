"""The table: a row for every frame, written as it goes."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rustvid.errors import SinkError, UsageError
from rustvid.files import replacing
from rustvid.frames import Measured, Position

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
LOCATED_COLUMNS = (*COLUMNS, "latitude", "longitude", "height_m")  # of a film with positions
LIVE_COLUMNS = (*COLUMNS, "utc")
PHOTO_COLUMNS = (*COLUMNS, "file")  # of a folder of them


def row(result: Measured) -> tuple[str, ...]:
    """One frame's row; probability, confidence and flags are empty where the frame was tracked,
    not looked at, and the area too where it could not be read or refined."""
    probability, area, trust = result.probability, result.area, result.trust
    file, utc, position = result.frame.file, result.frame.utc, result.frame.position
    measured = (
        str(area.pixels),
        f"{100 * area.share:.4f}",
        str(area.regions),
        str(area.largest),
    )
    return (  # of a live frame, of a photo in a folder and of a drone's film there are more cells
        str(result.frame.index),
        f"{float(result.frame.time):.6f}",
        result.status,
        str(int(result.analysed)),
        "" if probability is None else f"{probability:.4f}",
        *(measured if result.is_measured else [""] * len(measured)),
        f"{100 * result.refined.unknown_share:.2f}",
        f"{trust.confidence:.4f}" if trust else "",
        ";".join(trust.flags) if trust else "",
        *([] if position is None else _located(position)),
        *([] if utc is None else [utc_text(utc)]),
        *([] if file is None else [" ".join(file.splitlines())]),  # a row is a line
    )


def _located(position: Position) -> list[str]:
    """Degrees to a decimetre or so, and metres; empty where they are not known."""
    degrees = [position.latitude, position.longitude]
    height = "" if position.height is None else f"{position.height:.1f}"
    return [*("" if value is None else f"{value:.6f}" for value in degrees), height]


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as 2026-01-31T12:00:00.000Z."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def cells_of(cells: tuple[str, ...]) -> bytes:
    """A line of the table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "replace")


def line_of(result: Measured) -> bytes:
    """A frame's row as it is in the file."""
    return cells_of(row(result))


class KeptRow(NamedTuple):
    """A row of a part, read back. `end`: bytes of the file up to its end."""

    time: str
    status: str
    analysed: bool
    area: int | None  # pixels; None where the frame could not be read
    percent: float | None  # of the frame, likewise
    confidence: float | None
    flags: tuple[str, ...]
    end: int


def kept_rows(part: Path) -> list[KeptRow]:
    """The whole rows of a part, in order; raises UsageError where it is not such a table."""
    rows: list[KeptRow] = []
    with part.open("rb") as file:
        header = file.readline()
        columns, end = tuple(_cells(header)), len(header)
        if header and columns not in (COLUMNS, LOCATED_COLUMNS, PHOTO_COLUMNS):
            raise UsageError(f"{part}: is not a table of this version; start again")
        for line in file:
            cells = _cells(line)
            end += len(line)
            if not line.endswith(b"\n") or len(cells) != len(columns) or cells[0] != str(len(rows)):
                break  # cut off in the middle, or what a power failure left
            try:
                rows.append(_kept(dict(zip(columns, cells, strict=True)), end))
            except ValueError:
                break
    return rows


def _cells(line: bytes) -> list[str]:
    """Of a line of the table; none where it is no such line."""
    with suppress(csv.Error):
        return next(csv.reader([line.decode("utf-8", "replace").rstrip("\n")]), [])
    return []


def _kept(cells: dict[str, str], end: int) -> KeptRow:
    float(cells["time_s"])
    return KeptRow(
        time=cells["time_s"],
        status=cells["status"],
        analysed=cells["analysed"] == "1",
        area=int(cells["area_px"]) if cells["area_px"] else None,
        percent=float(cells["area_pct"]) if cells["area_pct"] else None,
        confidence=float(cells["confidence"]) if cells["confidence"] else None,
        flags=tuple(cells["flags"].split(";")) if cells["flags"] else (),
        end=end,
    )


def read_table(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The rows of a small table, none where it is not there; UsageError if it has other columns."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            header, *rows = map(tuple, csv.reader(file))
    except (OSError, ValueError, csv.Error):
        header, rows = (), []
    if header != columns or any(len(row) != len(columns) for row in rows):
        raise UsageError(f"{path}: is not such a table as is written here; move it away")
    return rows


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Write a small table whole, in place of one that is there; raises SinkError."""
    with replacing(path) as part:
        part.write_bytes(b"".join(map(cells_of, [columns, *rows])))


class CsvReport:
    """Writes to `part`, a line at a time; `finish` gives it the name `path`.

    keep: bytes of the part that stay, of an earlier run; what is behind them goes when the first
        row is written

    One line is one write, and what fails in the middle of one is taken back: whatever happens,
    the file ends with a whole row. Left unfinished it stays as `part`, if it has a row at all.
    """

    def __init__(
        self, path: Path, part: Path, columns: tuple[str, ...] = COLUMNS, keep: int = 0
    ) -> None:
        self.path = path
        self.part = part
        self._size = keep
        self._has_rows = bool(keep)
        self._cut = not keep  # is there nothing behind the rows that stay?
        try:
            self._file = part.open("r+b" if keep else "wb", buffering=0)
        except OSError as exc:
            raise self._error(exc) from exc
        if keep:
            return
        try:
            self._write(cells_of(columns))
        except SinkError:
            self._file.close()
            if part.is_file() and not part.stat().st_size:  # and no device
                part.unlink()
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
            if not self._has_rows:
                self.part.unlink(missing_ok=True)

    def write(self, result: Measured) -> None:
        """Add a frame's row."""
        self.write_line(line_of(result))

    def write_line(self, line: bytes) -> None:
        """Add a row that was made before; what is behind the kept rows is cut off first."""
        self._cut_off()
        self._write(line)
        self._has_rows = True

    def sync(self) -> None:
        """Have the system write to the disk what is in the file so far."""
        try:
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise self._error(exc) from exc

    def finish(self) -> None:
        """The table is complete: give it its name."""
        self.complete()
        self.name()

    def complete(self) -> None:
        """Close it, without what an earlier run wrote behind the last row."""
        self._cut_off()
        self._file.close()

    def name(self) -> None:
        """Give the complete part its name."""
        try:
            self.part.replace(self.path)
        except OSError as exc:
            raise self._error(exc) from exc

    def _cut_off(self) -> None:
        if self._cut:
            return
        try:
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError as exc:
            raise self._error(exc) from exc
        self._cut = True

    def _write(self, line: bytes) -> None:
        rest = line
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
