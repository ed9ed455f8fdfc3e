"""Many files, one after another, with one network: what is found, what it is called, how it went.

A file that fails does not stop the others. The table of all is written anew after every file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import Interrupted, ModelError, RustVidError, SinkError, SourceError, UsageError
from rustvid.journal import Journal, read_journal, settings_of
from rustvid.method.classify import Network
from rustvid.method.models import find
from rustvid.pipeline import Progress, loaded, run
from rustvid.report.csv import write_table
from rustvid.report.summary import SOME_FRAMES_FAILED, Summary
from rustvid.video.encoders import CONTAINERS, check_codec
from rustvid.video.named import meant

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
TABLE, SETTINGS = "summary.csv", "settings.json"


@dataclass(frozen=True)
class Job:
    """One file and where its result goes."""

    input: Path
    output: Path


def jobs_of(names: Sequence[str], config: Config) -> list[Job]:
    """The files that names, patterns and folders mean, each once, with an output of its own.

    A folder means every video in it and below. Results lie as the inputs do below the folder that
    was named. Raises SourceError where a name means nothing.
    """
    folder = Path(config.output.folder or ".")
    found: dict[Path, Path] = {}  # input → where below the folder of results
    for name in names:
        for path, below in meant(name):
            if folder.resolve() not in path.resolve().parents:
                found.setdefault(path, below)
    if not found:
        raise SourceError(f"{', '.join(names)}: no videos there; check the path")
    jobs: list[Job] = []
    taken: set[Path] = set()
    for path, below in found.items():
        output = _suffixed(folder / below, config)
        if output in taken:  # a.mov beside a.mp4, or the same name from two folders
            output = output.with_name(f"{output.stem}-{path.suffix.lstrip('.')}{output.suffix}")
        number = 2
        while output in taken:
            output = output.with_name(f"{output.stem}-{number}{output.suffix}")
            number += 1
        taken.add(output)
        jobs.append(Job(path, output))
    return jobs


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
    _check_settings(config, folder, model)
    summaries: list[Summary] = []
    for job in jobs:
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            model = model or loaded(config)
            output = replace(config.output, path=str(job.output))
            one = replace(config, input=str(job.input), output=output)
            summary = run(one, progress(job), model)
        except (ModelError, Interrupted):
            raise
        except RustVidError as exc:
            summary = Summary(input=str(job.input), error=exc)
        except OSError as exc:
            error = SinkError(f"{job.output.parent}: cannot be made ({exc.strerror})")
            summary = Summary(input=str(job.input), error=error)
        summaries.append(summary)
        done(job, summary)
        write_table(folder / TABLE, COLUMNS, map(_row, jobs, summaries))
        if isinstance(summary.error, Interrupted):
            break
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
    for suffix in (path.suffix.lower(), ".mp4"):
        if suffix in CONTAINERS and suffix != ".avi":
            wanted = path.with_suffix(suffix)
            try:
                check_codec(wanted, config.output)
            except UsageError:
                continue
            return wanted
    return path.with_suffix(".mkv")


def _check_settings(config: Config, folder: Path, model: Network | None) -> None:
    """Results of two configurations do not belong in one table."""
    if config.output.path or config.output.csv or config.output.mask:
        raise UsageError("--out-dir names every output itself; leave out --out, --csv and --mask")
    digest = model.digest if model else hashlib.sha256(find(config.model.name).read_bytes())
    told = digest if isinstance(digest, str) else digest.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SinkError(f"{folder}: cannot be made ({exc.strerror}); choose another") from exc
    settings = Journal(folder / SETTINGS, settings_of(config, told))
    before = read_journal(settings.path)
    if before and config.output.resume:
        before.check_same(settings)
    settings.write()


def _row(job: Job, summary: Summary) -> tuple[str, ...]:
    facts = summary.as_dict()
    own = {"input": str(job.input), "output": str(job.output) if summary.outputs else ""}
    return tuple(str({**facts, **own}[column]) for column in COLUMNS)
