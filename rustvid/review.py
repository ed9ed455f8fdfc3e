"""A report of a run that is done, made of its table and its annotated film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rustvid.errors import UsageError
from rustvid.files import check_new, replacing
from rustvid.report import html
from rustvid.report.findings import Finding, findings
from rustvid.report.readings import Reading, readings
from rustvid.video.encoders import CONTAINERS
from rustvid.video.stills import stills

PICTURES = 24  # of a report, at most
_LONGEST = 640  # pixels


def write(done: Path, out: Path, pictures: int = PICTURES, *, overwrite: bool = False) -> str:
    """Write the report of an annotated film, or of its table, and return what is in it.

    done: either; the other one lies beside it, with the same name; without a film there are no
        pictures
    Raises UsageError, SourceError where the film cannot be read, and SinkError.
    """
    check_new(out, (".html", ".htm"), overwrite=overwrite)
    if pictures < 0:
        raise UsageError(f"--pictures must be 0 or more, received {pictures}")
    table, film = _pair(done)
    rows = readings(table)
    found = findings(rows)
    shown = _pictured(film, rows, found, pictures) if film else {}
    text = html.document((film or table).name, rows, found, shown)
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8", errors="replace")  # a name need be no UTF-8
    told = f"{len(found)} stretches with corrosion, {len(shown)} pictures"
    if not film:
        return f"{told}; no film beside {table.name}, so no pictures"
    lost = min(pictures, len(found)) - len(shown)
    return f"{told}; {lost} more are not in the film" if lost else told


def _pair(done: Path) -> tuple[Path, Path | None]:
    """The table and the film that belong together."""
    if done.suffix.lower() != ".csv":
        table = done.with_suffix(".csv")
        if not table.is_file():
            raise UsageError(f"{done}: there is no table {table.name} beside it; name the table")
        return table, done
    films = (done.with_suffix(suffix) for suffix in CONTAINERS)
    return done, next((film for film in films if film.is_file()), None)


def _pictured(
    film: Path, rows: Sequence[Reading], found: Sequence[Finding], most: int
) -> dict[Finding, bytes]:
    """The peaks of the largest stretches."""
    largest = sorted(found, key=lambda finding: -(finding.peak.percent or 0))[:most]
    times = [finding.peak.time - rows[0].time for finding in largest]
    taken = zip(largest, stills(film, times, _LONGEST), strict=True)
    return {finding: jpeg for finding, jpeg in taken if jpeg}
