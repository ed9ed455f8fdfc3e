"""Many files, one after another, with one network: what is found, what it is called, how it went.

A file that fails does not stop the others. The table of all is written anew after every file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import (
    Interrupted,
    ModelError,
    RustVidError,
    SinkError,
    SourceCutShort,
    SourceError,
    UsageError,
)
from rustvid.files import made_folder
from rustvid.journal import Journal, journal_path, read_journal, settings_of
from rustvid.method.classify import Network
from rustvid.method.models import find
from rustvid.pipeline import Progress, loaded, run
from rustvid.preflight import Paths, paths_of
from rustvid.redact import redacted
from rustvid.report.csv import read_table, write_table
from rustvid.report.summary import SOME_FRAMES_FAILED, Summary
from rustvid.resume import recounted
from rustvid.video.encoders import CONTAINERS, check_codec
from rustvid.video.named import VIDEOS, meant
from rustvid.video.photos import PHOTOS
from rustvid.video.sink import part_of

COLUMNS = (
    "input",
    "output",
    "exit_code",
    "frames",
    "analysed",
    "corroded_frames",
    "mean_area_pct",
    "peak_area_pct",
    "peak_time_s",
    "elapsed_s",
    "exit_reason",
)
_OUTPUT, _CODE, _REASON = map(COLUMNS.index, ("output", "exit_code", "exit_reason"))
TABLE, SETTINGS = "summary.csv", "settings.json"
Row = tuple[str, ...]  # of COLUMNS


@dataclass(frozen=True)
class Job:
    """One file and where its result goes; `error`: why there can be none, known beforehand."""

    input: Path
    output: Path
    error: RustVidError | None = None

    @property
    def place(self) -> Path:
        """What its row of the table is known by."""
        return self.input if self.error else self.output.resolve()


def jobs_of(
    names: Sequence[str], config: Config, tell: Callable[[str], None] = lambda line: None
) -> list[Job]:
    """The files that names, patterns and folders mean, each once, with an output of its own.

    A folder means every video and photo in it and below. Results lie as the inputs do below the
    folder that was named. What a pattern or a folder means of the folder of results itself is left
    out, for it may be such a result. A name that means nothing is a job with an error, but
    SourceError where none means anything. Raises UsageError where a result would be written over an
    input.

    tell: called with a line about what is left out
    """
    folder = Path(config.output.folder or ".")
    found: dict[Path, Path] = {}  # input → where below the folder of results
    inside: list[Path] = []
    errors: dict[Path, RustVidError] = {}
    for name in names:
        try:
            pairs = _files(name)
        except SourceError as exc:
            nothing = Path(redacted(name))
            errors[nothing], pairs = exc, [(nothing, Path(nothing.name))]
        for path, below in pairs:
            if path != Path(name) and folder.resolve() in path.resolve().parents:
                inside.append(path)
            else:
                found.setdefault(path, below)
    if left := [path for path in dict.fromkeys(inside) if path not in found]:
        line = f"{folder}: the folder of results; what it holds is left out ({_counted(left)})"
        if not found:
            raise UsageError(f"{line}; choose another --out-dir, or name files one by one")
        tell(line)
    if len(errors) == len(found):
        raise next(iter(errors.values()))
    jobs = [
        replace(job, error=errors.get(job.input)) for job in _with_outputs(found, folder, config)
    ]
    inputs = {path.resolve() for path in found}
    for job in jobs:
        if not job.error and job.output.resolve() in inputs:
            raise UsageError(
                f"{job.output}: the result of {job.input} would be written over an input; choose "
                "another --out-dir"
            )
    return jobs


def _files(name: str) -> list[tuple[Path, Path]]:
    """What a name means, at least one; see `meant`."""
    if pairs := meant(name, VIDEOS | PHOTOS):
        return pairs
    raise SourceError(f"{name}: no videos or photos there; check the path")


def _counted(files: Sequence[Path]) -> str:
    return f"{files[0].name} and {len(files) - 1} more" if files[1:] else files[0].name


def _with_outputs(found: Mapping[Path, Path], folder: Path, config: Config) -> list[Job]:
    """No two of them have an output, its table or a part of either in common."""
    jobs: list[Job] = []
    taken = {(folder / TABLE).with_suffix("")}
    for path, below in found.items():
        output = _suffixed(folder / below, config)
        if taken & _stems(output):  # a.mov beside a.mp4, or one name from two folders
            output = output.with_name(f"{output.stem}-{path.suffix.lstrip('.')}{output.suffix}")
        number, stem = 2, output.stem
        while taken & _stems(output):
            output = output.with_name(f"{stem}-{number}{output.suffix}")
            number += 1
        taken |= _stems(output)
        jobs.append(Job(path, output))
    return jobs


def _stems(output: Path) -> set[Path]:
    """What the files of a job are called, but for their suffixes: first as parts, then complete."""
    return {output.with_suffix(""), part_of(output).with_suffix("")}


def run_all(
    config: Config,
    jobs: Sequence[Job],
    progress: Callable[[Job], Progress],
    done: Callable[[Job, Summary], None],
    model: Network | None = None,
) -> list[Summary]:
    """Run every job with one network; a summary for each, up to an interruption.

    progress: makes the callback that `run` calls after each frame of a job
    done: called after each job
    """
    folder = Path(config.output.folder or ".")
    settings = _settings(config, folder, model)
    made_folder(folder)
    earlier = _read(settings.path, config.output.overwrite)
    rows = _rows_that_stay(config, jobs, settings, earlier)
    if config.output.resume and earlier:  # what that run might replace and has not reached
        settings.overwrite = earlier.overwrite
    model = model or loaded(config)
    write_table(folder / TABLE, COLUMNS, rows.values())  # never rows of other settings than those
    settings.write()
    summaries: list[Summary] = []
    for job in jobs:
        before = None
        try:
            if job.error:
                raise job.error
            job.output.parent.mkdir(parents=True, exist_ok=True)
            one = _alone(config, job)
            if settings.overwrite and job.place not in rows:
                one = _replacing(one)
            before = _complete_before(one, rows.get(job.place))
            summary = before or run(one, progress(job), model)
        except (ModelError, Interrupted):
            raise
        except RustVidError as exc:
            summary = Summary(input=str(job.input), error=exc)
        except OSError as exc:
            error = SinkError(f"{job.output.parent}: cannot be made ({exc.strerror})")
            summary = Summary(input=str(job.input), error=error)
        summaries.append(summary)
        done(job, summary)
        if not before:
            rows[job.place] = _row(job, summary)
        write_table(folder / TABLE, COLUMNS, rows.values())
        if isinstance(summary.error, Interrupted):
            return summaries
    settings.overwrite = False  # there is nothing left of what it might replace
    settings.write()
    return summaries


def exit_code(summaries: Sequence[Summary]) -> int:
    """0, the interruption's own, or 6 where a file failed."""
    for summary in summaries:
        if isinstance(summary.error, Interrupted):
            return summary.exit_code
    return SOME_FRAMES_FAILED if any(summary.exit_code for summary in summaries) else 0


def lines(jobs: Sequence[Job], summaries: Sequence[Summary]) -> list[str]:
    """The table of all, as a person reads it."""
    width = max(len(job.input.name) for job in jobs)
    told = [f"{'file':{width}}  frames  corroded   mean %   peak %  "]
    for job, summary in zip(jobs, summaries, strict=False):
        state = str(summary.error) if summary.error else "; ".join(summary.warnings)
        told.append(
            f"{job.input.name:{width}}  {summary.frames:6}  {summary.corroded:8}  "
            f"{100 * summary.mean_area:7.2f}  {100 * summary.peak_area:7.2f}  {state}".rstrip()
        )
    failed = sum(bool(summary.exit_code) for summary in summaries)
    rest = len(jobs) - len(summaries)
    left = f", {rest} not begun" if rest else ""
    return [*told, f"{len(summaries)} files, {failed} failed{left}"]


def _suffixed(path: Path, config: Config) -> Path:
    """With the input's own suffix where that can be written, else .mp4 or .mkv."""
    if path.suffix.lower() in PHOTOS:
        return path.with_suffix(path.suffix.lower())
    for suffix in (path.suffix.lower(), ".mp4"):
        if suffix in CONTAINERS and suffix != ".avi":
            wanted = path.with_suffix(suffix)
            try:
                check_codec(wanted, config.output)
            except UsageError:
                continue
            return wanted
    return path.with_suffix(".mkv")


def _alone(config: Config, job: Job) -> Config:
    """The configuration of one job."""
    output = replace(config.output, path=str(job.output))
    return replace(config, input=str(job.input), output=output)


def _settings(config: Config, folder: Path, model: Network | None) -> Journal:
    """What all results in the folder are made by."""
    if config.output.path or config.output.csv or config.output.mask:
        raise UsageError("--out-dir names every output itself; leave out --out, --csv and --mask")
    digest = model.digest if model else hashlib.sha256(find(config.model.name).read_bytes())
    told = digest if isinstance(digest, str) else digest.hexdigest()
    facts = settings_of(config, told)
    return Journal(folder / SETTINGS, facts, overwrite=config.output.overwrite)


def _replacing(config: Config) -> Config:
    """From the start, in place of what is there, unless a run was broken off in the middle."""
    if journal_path(paths_of(config).all).exists():
        return config
    return replace(config, output=replace(config.output, resume=False, overwrite=True))


def _rows_that_stay(
    config: Config, jobs: Sequence[Job], settings: Journal, before: Journal | None
) -> dict[Path, Row]:
    """The rows of the table so far, each by its result, or by its input if it has none.

    before: the settings of the results that are there
    Raises UsageError, before anything is written, where this run would write over results that it
    may not touch, or put results of two configurations in one table.
    """
    overwrite, resume = config.output.overwrite, config.output.resume
    there = [job for job in jobs if not job.error and _is_there(paths_of(_alone(config, job)))]
    if there and not (overwrite or resume):
        more = f", and {len(there) - 1} more results" if there[1:] else ""
        raise UsageError(
            f"{there[0].output}: exists{more}; add --resume to leave out what is complete, "
            "--overwrite to do all again, or choose another --out-dir"
        )
    replaced = {job.place for job in jobs} if overwrite else set()
    rows = _rows(settings.path.parent, jobs)
    rows = {place: row for place, row in rows.items() if place not in replaced}
    if before and before.facts == settings.facts:
        return rows
    if before and resume:
        before.check_same(settings)
    if left := [place for place, row in rows.items() if row[_OUTPUT]]:
        raise UsageError(
            f"{settings.path}: is not of this run's settings, and {len(left)} results there that "
            f"it does not replace are ({left[0].name}); use the same settings, another --out-dir, "
            "or --overwrite with the inputs of all"
        )
    return rows


def _is_there(paths: Paths) -> bool:
    """Is any of it written, or begun?"""
    with suppress(OSError):  # a name that is too long: its own run says so
        return any(path.exists() for path in (*paths.all, journal_path(paths.all)))
    return False


def _read(settings: Path, overwrite: bool) -> Journal | None:
    try:
        return read_journal(settings)
    except UsageError:
        if overwrite:
            return None
        raise


def _rows(folder: Path, jobs: Sequence[Job]) -> dict[Path, Row]:
    """Without those of results that are gone, and of inputs that failed and are tried again."""
    again = {_told(job.input) for job in jobs}
    own = {_told(job.output): job.place for job in jobs if not job.error}
    rows: dict[Path, Row] = {}
    for row in read_table(folder / TABLE, COLUMNS):
        if place := _place(folder, row[_OUTPUT], own):
            rows[place] = row
        elif not row[_OUTPUT] and row[0] not in again:
            rows[Path(row[0])] = row
    return rows


def _told(path: Path) -> str:
    """A name as the table has it, where one that is no UTF-8 cannot be."""
    return str(path).encode("utf-8", "replace").decode()


def _place(folder: Path, output: str, own: Mapping[str, Path]) -> Path | None:
    """Where a result lies, whatever folder the table was written from.

    own: by how the table names them, the results of this run
    """
    parts = Path(output).parts
    places = [folder.joinpath(*parts[n:]) for n in range(len(parts))]
    places += [own[output]] if output in own else []
    return next((place.resolve() for place in places if place.is_file()), None)


def _complete_before(config: Config, row: Row | None) -> Summary | None:
    """Of a job that is complete; raises UsageError where nobody knows what its output is of."""
    paths = paths_of(config)
    begun = journal_path(paths.all).exists()
    if not config.output.resume or begun or not all(path.exists() for path in paths.all):
        return None
    if row is None:
        raise UsageError(
            f"{config.output.path}: exists, but is not in {TABLE}; move it away, or start again "
            "with --overwrite"
        )
    summary = recounted(config, paths)
    if row[_CODE] == str(SourceCutShort.exit_code):
        summary.error = SourceCutShort(row[_REASON])
    return summary


def _row(job: Job, summary: Summary) -> Row:
    facts = summary.as_dict()
    own = {"input": str(job.input), "output": str(job.output) if summary.outputs else ""}
    cells = ({**facts, **own}[column] for column in COLUMNS)
    return tuple("" if cell is None else str(cell) for cell in cells)
