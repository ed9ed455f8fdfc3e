"""The story: how a frame goes from the file to the annotated video and the table.

source ─► sample ─► classify ─► localise ─► refine ─► track ─► measure ─► render ─► sink
thread              one network pass        processes                     thread    │
                                                                                 report
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from rustvid.budget import plan_of, size_pool
from rustvid.config import Config, OutputConfig, RefineConfig
from rustvid.errors import RustVidError, SourceCutShort, UsageError
from rustvid.frames import Frame, Localised, Measured, Refined
from rustvid.limits import check_descriptors, check_shared_memory, disk_warnings
from rustvid.method.classify import Model, Network, classify
from rustvid.method.models import find, kind_of_file
from rustvid.method.refine import one_thread, refine
from rustvid.method.trust import trust
from rustvid.outputs import Outputs
from rustvid.preflight import paths_of, preflight
from rustvid.redact import redacted
from rustvid.report.area import measure
from rustvid.report.summary import Summary
from rustvid.resume import Work, completed, work_of
from rustvid.sampling import sampled
from rustvid.threads import ReadAhead, WriteBehind
from rustvid.tracking import track
from rustvid.video import open_source
from rustvid.video.address import is_live
from rustvid.video.source import Begin, Source
from rustvid.workers import Outcome, Pool, Task

T = TypeVar("T")
Progress = Callable[[Measured, "int | None"], None]

_AHEAD = 8  # decoded frames that wait for the network
_BEHIND = 8  # results that wait for the encoder
_USUAL_GAP = 8  # frames between two that are looked at, where that is found out on the way


def process(
    source: str | Path, config: Config | None = None, model: Network | None = None
) -> Iterator[Measured]:
    """Analyse a video, a photo or a folder of photos; yields every frame with its mask.

    model: one that is loaded already; None loads `config.model`
    Nothing is written. Raises UsageError or SourceError before the first frame, and
    SourceCutShort after the last one of a file that ends too early.
    """
    config = replace(config or Config(), input=str(source))
    preflight(replace(config, output=OutputConfig()))  # of a camera, nothing is opened
    with opened(config, Summary(), model) as line:
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
    if is_live(str(config.input), config.source):
        raise UsageError(f"{config.input}: is a live camera; use rustvid.watch")
    work = work_of(config, paths, model.digest if model else None)
    summary = Summary(input=redacted(str(config.input)), resumed_at=work.first)
    started = time.perf_counter()
    with opened(config, summary, model, begin=work.begin) as line:
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
    line: Line,
    config: Config,
    work: Work,
    summary: Summary,
    progress: Progress | None,
) -> None:
    """Drive the line and write its results behind it."""
    with ExitStack() as stack:
        summary.warnings += disk_warnings(work.paths.films, line.source.info)
        outputs = Outputs(line.source, config, work, summary, stack)
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
class Line:
    """The opened parts of the pipeline, from the source to the measured frame."""

    source: Source
    frames: Iterable[tuple[Frame, bool]]  # with whether to look at them
    model: Network
    pool: Pool
    config: Config
    summary: Summary
    seconds_before: float  # that a shared model was busy before this run
    live: bool  # a camera: no frame waits for the next one

    def results(self) -> Iterator[Measured]:
        """Every frame of the source, in order, with its mask and area."""
        localised = classify(self.frames, self.model, self.config.model.threshold)
        refined = self._refined(localised)
        for result in track(refined, ahead=not self.live):
            yield measure(result, trust(result, self.config.refine))

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
def opened(
    config: Config,
    summary: Summary,
    model: Network | None,
    asked_to_stop: Callable[[], bool] = lambda: False,
    begin: Begin | None = None,
) -> Iterator[Line]:
    """Open what holds a resource; the workers start while the network loads.

    asked_to_stop: ends a live source; begin: where a run goes on that was broken off
    """
    live = is_live(str(config.input), config.source)
    with ExitStack() as stack:
        stack.enter_context(_opencv_threads(1))
        config = replace(config, refine=refinement(config, model))
        if live:  # a batch would wait for frames to come
            config = replace(config, model=replace(config.model, batch=1))
        work = partial(refine, config=config.refine)
        threads = plan_of(config)
        workers = threads.workers
        check_descriptors(workers)
        summary.warnings += check_shared_memory(workers, config.refine.size)
        # enough frames in flight to keep two tasks at every worker, and no more
        every = config.sample.every if isinstance(config.sample.every, int) else _USUAL_GAP
        ahead = min(64, 2 * max(workers, 1) * every + config.model.batch)
        pool = stack.enter_context(Pool(work, workers=workers, ahead=ahead, initializer=one_thread))
        model = model or loaded(config)
        source = stack.enter_context(
            open_source(str(config.input), model.size, config.source, asked_to_stop)
        )
        source.begin, source.threads = begin, threads.decode
        origin = begin.origin if begin else None
        chosen = sampled(source.frames(), config.sample, time.perf_counter, live, origin)
        chosen = chosen if live else timed(chosen, summary.stages, "decode")
        ahead = 1 if live else _AHEAD
        frames = stack.enter_context(ReadAhead(chosen, ahead, "rustvid-decode"))
        stack.callback(source.stop)  # before its reader is joined
        summary.model, summary.model_sha256 = model.name, model.digest
        summary.precision = model.precision
        line = Line(source, frames, model, pool, config, summary, model.seconds, live)
        try:
            yield line
        finally:
            line.note_work()


def loaded(config: Config) -> Network:
    """The network of a configuration, ready to be shared by several runs."""
    size_pool(plan_of(config).network)
    return Model(config.model, config.localise.score)


def refinement(config: Config, model: Network | None) -> RefineConfig:
    """The refinement with its method settled: "auto" goes by what the evidence will be."""
    if config.refine.method != "auto":
        return config.refine
    kind = model.kind if model else kind_of_file(find(config.model.name))
    return replace(config.refine, method="student" if kind == "student" else "advanced")


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


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    """The steps of the pipeline share the cores already: a step split up cost twice the time."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
