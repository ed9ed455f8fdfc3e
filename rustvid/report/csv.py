"""The table: a row for every frame, written as it goes."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import IO

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
)


def row(result: Measured) -> tuple[str, ...]:
    """One frame's row; probability is empty where the frame was tracked, not looked at."""
    probability, area = result.probability, result.area
    return (
        str(result.frame.index),
        f"{float(result.frame.time):.6f}",
        result.status,
        str(int(result.analysed)),
        "" if probability is None else f"{probability:.4f}",
        str(area.pixels),
        f"{100 * area.share:.4f}",
        str(area.regions),
        str(area.largest),
    )


class CsvReport:
    """Writes to `part`, a line at a time; `finish` gives it the name `path`."""

    def __init__(self, path: Path, part: Path) -> None:
        self.path = path
        self._part = part
        try:
            # one line is one write: after a crash the file ends with a whole row
            self._file: IO[str] = part.open("w", encoding="utf-8", newline="", buffering=1)
        except OSError as exc:
            raise SinkError(f"{path}: cannot be written ({exc.strerror})") from exc
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._write(COLUMNS)

    def __enter__(self) -> CsvReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, result: Measured) -> None:
        """Add a frame's row."""
        self._write(row(result))

    def finish(self) -> None:
        """The table is complete: give it its name."""
        self._file.close()
        self._part.replace(self.path)

    def _write(self, cells: tuple[str, ...]) -> None:
        try:
            self._writer.writerow(cells)
        except OSError as exc:
            raise SinkError(f"{self.path}: cannot be written ({exc.strerror})") from exc
