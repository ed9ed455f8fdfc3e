"""Going on with a run that was broken off.

    film.mp4 ── film.part.mp4   pieces: the first run's, cut where a key frame begins
                film.part2.mp4          the next run's, from that frame on
                film.part.csv   rows up to there, then the next run's
                film.part.json  the journal: of what all this is the beginning

Nothing that is kept is touched until the outputs are complete: then the pieces are joined, packet
by packet, the result takes its name, and the pieces go. The analysis begins at the last analysed
frame at or before the cut, so that masks tracked across the cut are those of an unbroken run.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import SinkError, SourceError, UsageError
from rustvid.journal import Journal, facts_of, journal_path, read_journal
from rustvid.method.models import find
from rustvid.preflight import Paths, paths_of
from rustvid.report.csv import KeptRow, kept_rows
from rustvid.report.summary import Fact, Summary
from rustvid.video import open_source
from rustvid.video.address import is_live
from rustvid.video.named import told_of
from rustvid.video.photos import PHOTOS
from rustvid.video.pieces import Piece, cuts
from rustvid.video.sink import part_of
from rustvid.video.source import Begin

_FEW = 2  # frames that a container's own count may be wrong by


@dataclass
class Work:
    """One run over a film, the first or a later one.

    first: number of the first frame that is written
    begin: where the source begins, if not at the film's beginning
    rows: those of the table that are kept, one for every frame before `first`
    """

    paths: Paths
    journal: Journal | None = None
    first: int = 0
    begin: Begin | None = None
    rows: list[KeptRow] = field(default_factory=list)

    def part(self, path: Path) -> Path:
        """The file that this run writes of an output."""
        return piece_of(path, len(self.journal.begins) if self.journal else 1)

    def start(self, time: Fraction) -> None:
        """Note that this run writes from here on; what an older one left would be mistaken.

        time: seconds, of the first frame that this run writes
        """
        if self.journal is None:
            return
        if not self.first:
            self.journal.origin = time
            remove_pieces(self.paths)
        self.journal.write()

    def check_precision(self, precision: str) -> None:
        """Raise UsageError where the network counts differently on this machine."""
        if self.journal is None:
            return
        before = self.journal.facts.setdefault("precision", precision)
        if before != precision:
            raise UsageError(
                f"{self.journal.path}: was begun in {before}, this machine counts in {precision}; "
                f"add --set model.precision={before}, or start again with --overwrite"
            )

    def pieces(self, path: Path) -> list[Piece]:
        """Of a film that was written in several runs, what is to be joined."""
        begins = self.journal.begins if self.journal else [0]
        ends = [after - begin for begin, after in pairwise(begins)]
        counts: list[int | None] = [*ends, None]
        return [Piece(piece_of(path, n), count) for n, count in enumerate(counts, 1)]

    def kept(self) -> list[Path]:
        """The files that hold what was done, where a run ends early."""
        number = len(self.journal.begins) if self.journal else 1
        files = [piece_of(p, n) for p in self.paths.all for n in range(1, number + 1)]
        return [file for file in dict.fromkeys(files) if file.exists()]


def piece_of(path: Path, number: int) -> Path:
    """film.mp4 → film.part.mp4, film.part2.mp4, … The table has one part, whatever the number."""
    if number == 1 or path.suffix.lower() == ".csv":
        return part_of(path)
    return path.with_name(f"{path.stem}.part{number}{path.suffix}")


def joined_part(path: Path) -> Path:
    """Where the pieces of a film are joined."""
    return path.with_name(f"{path.stem}.part-joined{path.suffix}")


def remove_pieces(paths: Paths) -> None:
    """Remove the pieces of films, and a join that was not finished."""
    for path in paths.films:
        number = 1
        while (piece := piece_of(path, number)).exists() or number <= 2:
            with suppress(OSError):
                piece.unlink()
            number += 1
        with suppress(OSError):
            joined_part(path).unlink()


def permitted(config: Config) -> Config:
    """What preflight is to check: a run that goes on may replace what the run before might."""
    paths = paths_of(config)
    if not config.output.resume or not paths.all or is_live(str(config.input), config.source):
        return config
    before = read_journal(journal_path(paths.all))
    if before is None or not before.overwrite:
        return config
    return replace(config, output=replace(config.output, resume=False, overwrite=True))


def completed(config: Config, paths: Paths, digest: str | None = None) -> Summary | None:
    """The result, where a run before has come to its end; None where there is something to do.

    digest: of the model, if it is loaded already. Raises UsageError where nothing says that it is
    the result of this input.
    """
    if not config.output.resume or not paths.all:
        return None
    if is_live(str(config.input), config.source):
        return None  # preflight has the word for it
    journal = read_journal(journal_path(paths.all))
    if journal and journal.complete:
        _check_same(journal, _journal_of(config, paths, digest))
        name_all(Work(paths, journal))  # it was killed between two names
    elif journal or not all(path.is_file() for path in paths.all):
        return None
    else:
        _check_as_long(config, paths)
    return recounted(config, paths)


def _check_as_long(config: Config, paths: Paths) -> None:
    """Of a complete result no journal is kept: it has to have the frames of the input, about."""
    rows = len(kept_rows(paths.csv)) if paths.csv else 0
    with open_source(str(config.input), (1, 1), config.source) as source:
        expected = source.info.expected_frames
    if expected is None or abs(rows - expected) > max(_FEW, expected // 100):
        raise UsageError(
            f"{paths.all[0]}: exists, and is not known to be of {config.input} ({rows} frames, not "
            f"{'known' if expected is None else expected}); choose another name or add --overwrite"
        )


def recounted(config: Config, paths: Paths) -> Summary:
    """The result of a run that was complete before, by its table."""
    summary = Summary(input=told_of(config), outputs=paths.all, was_complete=True)
    for row in kept_rows(paths.csv) if paths.csv else ():
        summary.count(fact_of(row))
    summary.resumed_at = summary.frames
    summary.warnings.append("was complete already, by name and length; nothing was done")
    return summary


def name_all(work: Work) -> None:
    """Give the complete outputs their names, then remove what they were made of."""
    several = work.journal is not None and len(work.journal.begins) > 1
    for path in work.paths.all:
        ready = joined_part(path) if several and path in work.paths.films else part_of(path)
        try:
            if ready.exists():
                ready.replace(path)
        except OSError as exc:
            reason = exc.strerror
            raise SinkError(f"{path}: cannot be written ({reason}); check the folder") from exc
    if work.journal:
        remove_pieces(work.paths)
        work.journal.remove()


def fact_of(row: KeptRow) -> Fact:
    """What is counted of a frame whose row was kept."""
    share = None if row.percent is None else row.percent / 100
    corroded = bool(row.area)
    time, confidence = float(row.time), row.confidence
    return Fact(time, row.status, row.analysed, share, corroded, confidence, row.flags)


def work_of(config: Config, paths: Paths, digest: str | None) -> Work:
    """What is to be done: all of it, or what a run that was broken off left undone.

    digest: of the model, if it is loaded already. Raises UsageError where the run that was broken
    off was another one, or nothing of it can be gone on with.
    """
    if not paths.all or any(path.suffix.lower() in PHOTOS for path in paths.films):
        return Work(paths)  # a photo is whole or not there
    if not Path(config.input or "").exists():  # a stream: what has passed does not come again
        if config.output.resume:
            raise UsageError(f"{config.input}: only files can be gone on with; leave out --resume")
        if not config.output.overwrite and not is_live(str(config.input), config.source):
            _check_none_left(paths)
        return Work(paths)
    journal = _journal_of(config, paths, digest)
    if not config.output.resume:
        if not config.output.overwrite:
            _check_none_left(paths)
        return Work(paths, journal)
    _check_possible(paths)
    before = read_journal(journal.path)
    if before is None:
        _check_unknown(paths)
        return Work(paths, journal)
    if config.output.hwaccel != "none" and paths.films:
        raise UsageError(
            f"{config.input}: output.hwaccel {config.output.hwaccel}: another encoder may be at "
            "hand than before, and their films do not join; start again with --overwrite"
        )
    _check_same(before, journal)
    return _rest(paths, before)


def _journal_of(config: Config, paths: Paths, digest: str | None) -> Journal:
    """Of a run that begins."""
    try:
        digest = digest or hashlib.sha256(find(config.model.name).read_bytes()).hexdigest()
        facts = facts_of(config, digest)
    except OSError as exc:
        raise SourceError(f"{config.input}: cannot be read ({exc.strerror})") from exc
    return Journal(journal_path(paths.all), facts, overwrite=config.output.overwrite)


def _check_same(before: Journal, now: Journal) -> None:
    now.facts["precision"] = before.facts.get("precision")  # compared when the model is there
    before.check_same(now)


def _check_possible(paths: Paths) -> None:
    if paths.csv is None:
        raise UsageError("--resume needs the table, which says where to go on: add --csv FILE")
    for path in paths.films:
        if path.suffix.lower() == ".avi":
            raise UsageError(f"{path}: .avi keeps no times, so it cannot be gone on with; use .mkv")


def _check_none_left(paths: Paths) -> None:
    """A run whose journal is not this one's may have left a part: it has another output besides,
    or none of the input's, which is no file."""
    for part in _parts_left(paths):
        raise UsageError(
            f"{part}: is there, of an earlier run perhaps; move it away or add --overwrite"
        )


def _check_unknown(paths: Paths) -> None:
    """A part without a journal: nobody knows what it is of."""
    for part in _parts_left(paths):
        raise UsageError(
            f"{part}: is there, but not the journal {journal_path(paths.all).name} that says "
            "what it is of; move it away, or start again with --overwrite"
        )


def _parts_left(paths: Paths) -> list[Path]:
    """Parts that hold something: a table without a row is of a run that was killed at its start."""
    parts = [part for part in map(part_of, paths.all) if part.exists()]
    return [part for part in parts if part.suffix.lower() != ".csv" or _has_rows(part)]


def _has_rows(table: Path) -> bool:
    with suppress(OSError), table.open("rb") as file:
        return len(list(islice(file, 2))) > 1
    return False  # who writes it will say what is wrong


def _rest(paths: Paths, journal: Journal) -> Work:
    """What a run is still to do: it goes on at the last cut that all outputs have."""
    part = part_of(paths.csv) if paths.csv else None
    rows = kept_rows(part) if part and part.exists() else []
    first = _cut(paths, journal, len(rows))
    while journal.begins and journal.begins[-1] >= first:
        journal.begins.pop()
    analysed = [n for n, row in enumerate(rows[: first + 1]) if _is_anchor(row)]
    if not first or not analysed:
        journal.begins = [0]
        return Work(paths, journal)
    journal.begins.append(first)
    anchor = analysed[-1]
    fine = all(row.status in ("ok", "failed") for row in rows[: anchor + 1])
    begin = Begin(anchor, rows[anchor].time, fine, journal.origin)
    return Work(paths, journal, first, begin, rows[:first])


def _is_anchor(row: KeptRow) -> bool:
    return row.analysed and row.status != "failed"


def _cut(paths: Paths, journal: Journal, rows: int) -> int:
    """The last frame that can be the first of a new piece, in every output."""
    possible: set[int] | None = None
    for path in paths.films:
        found: set[int] = set()
        for number, begin in enumerate(journal.begins, 1):
            found.add(begin)  # an earlier cut, where the piece is not there or holds nothing
            last = journal.begins[number] if number < len(journal.begins) else rows
            ends = (begin + count for count in cuts(piece_of(path, number)))
            found |= {end for end in ends if end <= last}
        possible = found if possible is None else possible & found
    if possible is None:
        return rows
    return max((cut for cut in possible if cut <= rows), default=0)
