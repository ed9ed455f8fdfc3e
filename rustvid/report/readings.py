"""A table read back, for what is made of tables: a map, a report."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rustvid.errors import UsageError
from rustvid.frames import NOWHERE, Position
from rustvid.report.csv import COLUMNS

LOCATED = "latitude"  # the column that only a film with positions has
WHY_NOT = (
    "they are in the table where DJI's .SRT lay beside the film, or in it, when it was annotated"
)


class Reading(NamedTuple):
    """What a row says. `percent`: of the frame that is corroded."""

    time: float  # seconds
    percent: float | None  # None where the frame has no area
    confidence: float | None  # None where it was tracked
    flags: tuple[str, ...] = ()
    position: Position = NOWHERE


def readings(table: Path, *, located: bool = False) -> list[Reading]:
    """The rows of a table of a run; raises UsageError where it is none.

    located: it must have positions
    """
    try:
        with table.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.DictReader(file)
            columns = tuple(rows.fieldnames or ())
            if columns[: len(COLUMNS)] != COLUMNS:
                raise UsageError(f"{table}: is no table of a run of this version")
            if located and LOCATED not in columns:
                raise UsageError(f"{table}: has no positions; {WHY_NOT}")
            return [_reading(row) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as exc:
        raise UsageError(f"{table}: cannot be read as a table of a run ({exc})") from exc


def is_located(table: Path) -> bool:
    """Is it a table with positions?"""
    with suppress(UsageError, OSError), table.open(encoding="utf-8", errors="replace") as file:
        columns = tuple(file.readline(4096).rstrip("\r\n").split(","))
        return columns[: len(COLUMNS)] == COLUMNS and LOCATED in columns
    return False


def _reading(cells: Mapping[str, str | None]) -> Reading:
    def number(column: str) -> float | None:
        return float(text) if (text := cells.get(column)) else None

    return Reading(
        time=float(cells["time_s"] or ""),
        percent=number("area_pct"),
        confidence=number("confidence"),
        flags=tuple((cells["flags"] or "").split(";")) if cells["flags"] else (),
        position=Position(number("latitude"), number("longitude"), number("height_m")),
    )
