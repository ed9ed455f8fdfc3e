"""The story: how a frame goes from the file to the annotated video and the table.

source ─► sample ─► classify ─► localise ─► refine ─► track ─► measure ─► render ─► sink
thread              one network pass        processes                     thread    │
                                                                                 report
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from rustvid.config import Config, OutputConfig, RefineConfig
from rustvid.errors import RustVidError, SourceCutShort
from rustvid.frames import Frame, Localised, Measured, Refined
from rustvid.limits import check_descriptors, check_shared_memory, disk_warnings
from rustvid.method.classify import Model, Network, classify
from rustvid.method.models import find, kind_of_file
from rustvid.method.refine import one_thread, refine
from rustvid.preflight import paths_of, preflight
from rustvid.render import render
from rustvid.report.area import measure
from rustvid.report.caption import caption
from rustvid.report.csv import CsvReport, line_of
from rustvid.report.summary import Fact, Summary
from rustvid.resume import Work, completed, fact_of, joined_part, name_all, work_of
from rustvid.threads import ReadAhead, WriteBehind
from rustvid.tracking import track
from rustvid.video import open_sink, open_source
from rustvid.video.pieces import Join, join
from rustvid.video.sink import Sink, Template, mask_picture
from rustvid.video.source import Begin, Source
from rustvid.workers import Outcome, Pool, Task

T = TypeVar("T")
Progress = Callable[[Measured, "int | None"], None]

_AHEAD = 8  # decoded frames that wait for the network
_BEHIND = 8  # results that wait for the encoder


def process(
    source: str | Path, config: Config | None = None, model: Network | None = None
) -> Iterator[Measured]:
    """Analyse a video, a photo or a folder of photos; yields every frame with its mask.

    model: one that is loaded already; None loads `config.model`
    Nothing is written. Raises UsageError or SourceError before the first frame, and
    SourceCutShort after the last one of a file that ends too early.
    """
    config = replace(config or Config(), input=str(source))
    preflight(replace(config, output=OutputConfig()))
    with _opened(config, Summary(), model) as line:
        yield from line.results()


def run(config: Config, progress: Progress | None = None, model: Network | None = None) -> Summary:
    """Analyse `config.input` and write the outputs that `config.output` names.

    progress: called with every result, in order, before it is written, and with how many there
        will be (an estimate, or None); it may raise RustVidError to stop the run there
    model: one that is loaded already, to be shared by runs; None loads `config.model`
    Errors before the first frame are raised. What ends the run later is in `summary.error`
    (see `Summary.raise_for_error`): the parts then hold what was done until there, and a run with
    `output.resume` goes on with them.
    """
    if done := completed(config, paths_of(config)):
        return done
    paths = preflight(config)
    work = work_of(config, paths, model.digest if model else None)
    summary = Summary(input=str(config.input), resumed_at=work.first)
    started = time.perf_counter()
    with _opened(config, summary, model, work.begin) as line:
        work.check_precision(line.model.precision)
        try:
            _write(line, config, work, summary, progress)
        except RustVidError as exc:
            summary.error = exc
            if summary.frames:  # else a part that is there is from an earlier run
                summary.kept = work.kept()
    summary.elapsed = time.perf_counter() - started
    return summary


def _write(
    line: _Line,
    config: Config,
    work: Work,
    summary: Summary,
    progress: Progress | None,
) -> None:
    """Drive the line and write its results behind it."""
    with ExitStack() as stack:
        summary.warnings += disk_warnings(work.paths.films, line.source.info)
        outputs = _Outputs(line, config, work, summary, stack)
        writer = stack.enter_context(WriteBehind(outputs.write, _BEHIND, "rustvid-encode"))
        try:
            for result in line.results():
                if result.frame.index < work.first:
                    continue  # is kept, and was only analysed for the masks that follow
                if progress:
                    progress(result, line.source.info.expected_frames)
                writer.put(result)
        except SourceCutShort as exc:
            summary.error = exc  # all there was is done: the outputs are complete
        writer.finish()
        summary.warnings += line.source.notes
        if line.source.damaged_packets:
            summary.warnings.append(f"{line.source.damaged_packets} damaged places in the input")
        outputs.finish(line.source.rest())


@dataclass(frozen=True)
class _Line:
    """The opened parts of the pipeline, from the source to the measured frame."""

    source: Source
    frames: Iterable[Frame]
    model: Network
    pool: Pool
    config: Config
    summary: Summary
    seconds_before: float  # that a shared model was busy before this run

    def results(self) -> Iterator[Measured]:
        """Every frame of the source, in order, with its mask and area."""
        chosen = sample(self.frames, self.config.sample.every)
        localised = classify(chosen, self.model, self.config.model.threshold)
        refined = self._refined(localised)
        for result in track(refined):
            yield measure(result)

    def _refined(self, localised: Iterable[Localised]) -> Iterator[Refined | Localised]:
        for outcome in self.pool.map(map(_task, localised)):
            if outcome.error and not self.summary.first_failure:
                frame = outcome.item.frame
                self.summary.first_failure = f"frame {frame.index}: {outcome.error}"
            yield refined_from(outcome, self.config.refine.size)

    def note_work(self) -> None:
        """Tell the summary what the network and the workers did."""
        self.summary.stages["network"] = self.model.seconds - self.seconds_before
        self.summary.stages["refine"] = self.pool.seconds
        self.summary.worker_restarts = self.pool.restarts


@contextmanager
def _opened(
    config: Config, summary: Summary, model: Network | None, begin: Begin | None = None
) -> Iterator[_Line]:
    """Open what holds a resource; the workers start while the network loads."""
    with ExitStack() as stack:
        config = replace(config, refine=refinement(config, model))
        check_descriptors(worker_count(config))
        summary.warnings += check_shared_memory(worker_count(config), config.refine.size)
        work = partial(refine, config=config.refine)
        workers = worker_count(config)
        # enough frames in flight to keep two tasks at every worker, and no more
        ahead = min(64, 2 * max(workers, 1) * config.sample.every + config.model.batch)
        pool = stack.enter_context(Pool(work, workers=workers, ahead=ahead, initializer=one_thread))
        model = model or loaded(config)
        source = stack.enter_context(open_source(str(config.input), model.size, config.source))
        source.begin = begin
        decoded = timed(source.frames(), summary.stages, "decode")
        frames = stack.enter_context(ReadAhead(decoded, _AHEAD, "rustvid-decode"))
        summary.model, summary.model_sha256 = model.name, model.digest
        summary.precision = model.precision
        line = _Line(source, frames, model, pool, config, summary, model.seconds)
        try:
            yield line
        finally:
            line.note_work()


def loaded(config: Config) -> Network:
    """The network of a configuration, ready to be shared by several runs."""
    return Model(config.model, config.localise.score)


def refinement(config: Config, model: Network | None) -> RefineConfig:
    """The refinement with its method settled: "auto" goes by what the evidence will be."""
    if config.refine.method != "auto":
        return config.refine
    kind = model.kind if model else kind_of_file(find(config.model.name))
    return replace(config.refine, method="student" if kind == "student" else "advanced")


def sample(frames: Iterable[Frame], every: int) -> Iterator[tuple[Frame, bool]]:
    """Which frames are looked at: the first and every Nth after it."""
    for position, frame in enumerate(frames):
        yield frame, position % every == 0


def refined_from(outcome: Outcome[Localised], size: int) -> Refined | Localised:
    """A localised frame with its mask; as it came where it was not looked at."""
    localised = outcome.item
    if not localised.classified.analysed:
        return localised
    if outcome.array is not None:
        return Refined(localised, outcome.array)
    empty = np.zeros((size, size), np.uint8)
    return Refined(localised, empty, mask_from="failed" if outcome.error else "analysed")


def _task(localised: Localised) -> Task[Localised]:
    if localised.evidence is None:
        return Task(localised, None)
    return Task(localised, (localised.frame.image, localised.evidence))


def worker_count(config: Config) -> int:
    """Worker processes: as asked; else one per core where there is a CRF to compute."""
    if config.workers is not None:
        return config.workers
    if config.refine.method in ("threshold", "student"):
        return 0  # a millisecond's work: not worth a process
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(items: Iterable[T], busy: dict[str, float], stage: str) -> Iterator[T]:
    """Pass items on, adding the seconds that each took to make."""
    iterator = iter(items)
    busy.setdefault(stage, 0.0)
    while True:
        started = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            busy[stage] += time.perf_counter() - started
        yield item


class _Outputs:
    """Everything that is written: annotated video, masks, table.

    A row is written when its frame is in the films for good, so that they match after a crash.
    """

    def __init__(
        self, line: _Line, config: Config, work: Work, summary: Summary, stack: ExitStack
    ) -> None:
        source, paths = line.source, work.paths
        self._template = Template(source.info, source.container, source.companions)
        self._masks = Template(source.info, None, ())
        self._lossless = replace(config.output, codec="ffv1", preset=None, crf=None)
        self._config, self._work, self._summary = config, work, summary
        self._precision = line.model.precision
        self._started = False
        self._waiting: deque[tuple[bytes, Fact]] = deque()  # rows of frames that are not settled
        self._written = self._settled = 0
        self._second = 0  # of the film, that the table was last put on the disk at
        keep = work.rows[-1].end if work.rows else 0
        self._csv = (
            stack.enter_context(CsvReport(paths.csv, work.part(paths.csv), keep))
            if paths.csv
            else None
        )
        for row in work.rows:
            summary.count(fact_of(row, row.area / (source.info.width * source.info.height)))
        stack.push(self._leave)  # after the films are closed, before the table is
        self._video = self._entered(stack, paths.video, self._template, config.output)
        self._mask = self._entered(stack, paths.mask, self._masks, self._lossless)
        self._films = [film for film in (self._video, self._mask) if film]

    def write(self, result: Measured) -> None:
        """Render and encode one frame; its row is written, and it is counted, once it is safe."""
        if not self._started:
            self._work.start(self._precision)
            self._started = True
        picture = result.frame.picture
        stored = np.ascontiguousarray(picture.stored(result.mask))
        if self._video:
            with _stopwatch(self._summary.stages, "render"):
                text = caption(result)
                drawn = render(picture, stored, result.evidence, text, self._config.render)
            with _stopwatch(self._summary.stages, "encode"):
                self._video.write(drawn, result.frame)
        if self._mask:
            with _stopwatch(self._summary.stages, "mask"):
                self._mask.write(mask_picture(stored, picture), result.frame)
        self._waiting.append((line_of(result) if self._csv else b"", Fact.of(result)))
        self._written += 1
        self._settle()

    def finish(self, rest: tuple[object, ...]) -> None:
        """All frames are there: complete the files and give them their names."""
        for film in self._films:
            film.complete(rest if film is self._video else ())
            self._summary.warnings += film.warnings
        self._settle()
        if self._csv:
            self._csv.complete()
        if self._work.journal:
            if len(self._work.journal.begins) > 1:
                with _stopwatch(self._summary.stages, "join"):
                    self._join()
            self._work.journal.complete = True
            self._work.journal.write()
        name_all(self._work)
        paths = self._work.paths
        self._summary.outputs += [p for p in (paths.video, paths.csv, paths.mask) if p]

    def _settle(self) -> None:
        """Write the rows of the frames that every film holds for good by now."""
        settled = min((film.settled for film in self._films), default=self._written)
        if settled <= self._settled:
            return
        second = int(self._waiting[0][1].time)
        sync = self._config.output.fsync and (bool(self._films) or second != self._second)
        self._second = second
        for film in self._films if sync else ():
            film.sync()
        while self._settled < settled:
            line, fact = self._waiting.popleft()
            if self._csv:
                self._csv.write_line(line)
            self._summary.count(fact)
            self._settled += 1
        if self._csv and sync:
            self._csv.sync()

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """The films are closed, if they can be: what they hold is settled."""
        with suppress(RustVidError) if kind else nullcontext():
            self._settle()
        journal = self._work.journal
        nothing = not self._summary.frames and not any(f.part.exists() for f in self._films)
        if kind and journal and self._started and nothing:
            journal.remove()  # of nothing that could be gone on with

    def _join(self) -> None:
        """Make one film of the pieces that several runs wrote."""
        config, info = self._config, self._template.info
        for path in self._work.paths.films:
            pieces = self._work.pieces(path)
            is_mask = path == self._work.paths.mask
            with open_source(str(config.input), (1, 1), config.source) as again:
                whole = Template(again.info, again.container, again.companions)
                template = self._masks if is_mask else whole
                output = self._lossless if is_mask else config.output
                packets = iter(()) if is_mask else again.companion_packets()
                film = Join(path, template, output, joined_part(path), pieces[0].path)
                with film:
                    join(film, pieces, packets, info.start)
                self._summary.warnings += film.warnings
                if config.output.fsync:
                    film.sync()

    def _entered(
        self, stack: ExitStack, path: Path | None, template: Template, config: OutputConfig
    ) -> Sink | None:
        if path is None:
            return None
        return stack.enter_context(open_sink(path, template, config, self._work.part(path)))


@contextmanager
def _stopwatch(busy: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        busy[stage] = busy.get(stage, 0.0) + time.perf_counter() - started
