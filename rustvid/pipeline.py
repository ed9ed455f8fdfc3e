"""The story: how a frame goes from the file to the annotated video and the table.

source ─► sample ─► classify ─► localise ─► refine ─► track ─► measure ─► render ─► sink
thread              one network pass        processes                     thread    │
                                                                                 report
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from rustvid.budget import size_pool, threads_of
from rustvid.config import Config, OutputConfig, RefineConfig
from rustvid.errors import OutOfMemory, RustVidError, SourceCutShort, UsageError
from rustvid.frames import Frame, Localised, Measured, Refined
from rustvid.limits import check_descriptors, check_shared_memory, disk_warnings
from rustvid.memory import Demand, Plan, check_compiling, limit_of, plan_of, planned
from rustvid.method.classify import Network, classify
from rustvid.method.model import Model, compiles, loads_tensorflow
from rustvid.method.models import find, kind_of_file
from rustvid.method.refine import SETTLED, one_thread, refine
from rustvid.method.sizes import grid_of
from rustvid.method.trust import trust
from rustvid.outputs import Outputs
from rustvid.preflight import paths_of, preflight
from rustvid.redact import redacted
from rustvid.report.area import measure
from rustvid.report.summary import Summary
from rustvid.resume import Work, completed, permitted, work_of
from rustvid.sampling import sampled
from rustvid.threads import ReadAhead, WriteBehind
from rustvid.tracking import track
from rustvid.video import open_source
from rustvid.video.address import is_live
from rustvid.video.named import told_of
from rustvid.video.source import Begin, Source, SourceInfo
from rustvid.workers import Outcome, Pool, Task

T = TypeVar("T")
Progress = Callable[[Measured, "int | None"], None]

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
    summary = Summary()
    plan = plan_for(config, model, summary)
    with opened(plan.applied(config), summary, model, plan=plan) as line:
        yield from line.results()


def run(config: Config, progress: Progress | None = None, model: Network | None = None) -> Summary:
    """Analyse `config.input` and write the outputs that `config.output` names.

    progress: called with every result, in order, before it is written (where a run goes on, also
        with those that are needed again for the masks that follow), and with how many there will
        be (an estimate, or None); it may raise RustVidError to stop the run there
    model: one that is loaded already, to be shared by runs; None loads `config.model`
    Errors before the first frame are raised. What ends the run later is in `summary.error`
    (see `Summary.raise_for_error`): the parts then hold what was done until there, and a run with
    `output.resume` goes on with them.
    """
    digest = model.digest if model else None
    if done := completed(config, paths_of(config), digest):
        return done
    paths = preflight(permitted(config))
    if is_live(str(config.input), config.source):
        raise UsageError(f"{config.input}: is a live camera; use rustvid.watch")
    summary = Summary(input=told_of(config))
    plan = plan_for(config, model, summary)
    config = plan.applied(config)
    work = work_of(config, paths, digest)
    summary.resumed_at = work.first
    started = time.perf_counter()
    with opened(config, summary, model, begin=work.begin, plan=plan) as line:
        work.check_precision(line.model.precision)
        try:
            _write(line, config, work, summary, progress, plan.deep)
        except (RustVidError, MemoryError) as exc:
            summary.error = exc if isinstance(exc, RustVidError) else OutOfMemory()
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
    deep: int,
) -> None:
    """Drive the line and write its results behind it."""
    with ExitStack() as stack:
        summary.warnings += disk_warnings(work.paths.films, line.source.info)
        outputs = Outputs(line.source, config, work, summary, stack)
        writer = stack.enter_context(WriteBehind(outputs.write, deep, "rustvid-encode"))
        try:
            for result in line.results():
                if progress:
                    progress(result, line.source.info.expected_frames)
                if result.frame.index >= work.first:  # else it is kept: only its mask was needed
                    writer.put(result)
        except SourceCutShort as exc:
            summary.error = exc  # all there was is done: the outputs are complete
        writer.finish()
        summary.warnings += map(redacted, line.source.notes)
        if line.source.damaged_packets:
            summary.warnings.append(f"{line.source.damaged_packets} damaged places in the input")
        outputs.finish(line.source.rest())


class Refiner(Protocol):
    """What the pipeline asks of the workers: see workers.Pool."""

    @property
    def seconds(self) -> float: ...
    @property
    def restarts(self) -> int: ...

    def map(self, tasks: Iterable[Task[Localised]]) -> Iterator[Outcome[Localised]]: ...


@dataclass(frozen=True)
class Engine:
    """What analyses frames: of one run, or shared by those of several cameras."""

    model: Network
    pool: Refiner


@dataclass(frozen=True)
class Line:
    """The opened parts of the pipeline, from the source to the measured frame."""

    source: Source
    frames: Iterable[tuple[Frame, bool]]  # with whether to look at them
    model: Network
    pool: Refiner
    config: Config
    summary: Summary
    seconds_before: float  # that a shared model was busy before this run
    live: bool  # a camera: no frame waits for the next one

    def results(self) -> Iterator[Measured]:
        """Every frame of the source, in order, with its mask and area."""
        batch = 1 if self.live else self.model.batch
        localised = classify(self.frames, self.model, self.config.model.threshold, batch)
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
    engine: Engine | None = None,
    plan: Plan | None = None,
) -> Iterator[Line]:
    """Open what holds a resource.

    asked_to_stop: ends a live source; begin: where a run goes on that was broken off
    engine: one that is running already, of `config`; None starts one for this run
    plan: how much may be in flight; None of a camera, whose pictures nobody knows before
    """
    live = is_live(str(config.input), config.source)
    if live:  # a batch would wait for frames to come
        config = replace(config, model=replace(config.model, batch=1))
    config = replace(config, refine=refinement(config, engine.model if engine else model))
    with ExitStack() as stack:
        engine = engine or stack.enter_context(engine_of(config, summary, model, plan=plan))
        model = engine.model
        source = stack.enter_context(
            open_source(str(config.input), model.size, config.source, asked_to_stop)
        )
        source.begin, source.threads = begin, threads_of(config).decode
        origin = begin.origin if begin else None
        chosen = sampled(
            source.frames(),
            config.sample,
            time.perf_counter,
            live,
            origin,
            lambda: source.behind,
        )
        chosen = chosen if live else timed(with_owed(chosen), summary.stages, "decode")
        deep = plan.deep if plan and not live else 1
        frames = stack.enter_context(ReadAhead(chosen, deep, "rustvid-decode"))
        stack.callback(source.stop)  # before its reader is joined
        summary.model, summary.model_sha256 = model.name, model.digest
        summary.precision = model.precision
        line = Line(source, frames, model, engine.pool, config, summary, model.seconds, live)
        try:
            yield line
        finally:
            line.note_work()


@contextmanager
def engine_of(
    config: Config,
    summary: Summary,
    model: Network | None,
    shapes: Sequence[int] = (),
    plan: Plan | None = None,
) -> Iterator[Engine]:
    """The network and the workers of a configuration.

    These start when that one is there: what a first run compiles it with is gone by then.
    shapes: numbers of pictures in a pass, besides `config.model.batch`, that are wanted quickly
    plan: how much may be in flight
    """
    with ExitStack() as stack:
        stack.enter_context(_opencv_threads(1))
        config = replace(config, refine=refinement(config, model))
        work = partial(refine, config=config.refine)
        workers = threads_of(config).workers
        check_descriptors(workers)
        summary.warnings += check_shared_memory(workers, config.refine.size)
        plan = plan or plan_of(_demand(config, model, None), workers, config.model.batch)
        model = model or loaded(config, shapes)
        pool = stack.enter_context(
            Pool(work, workers=workers, ahead=plan.ahead, initializer=one_thread)
        )
        yield Engine(model, pool)


def plan_for(config: Config, model: Network | None, summary: Summary) -> Plan:
    """How much may be in flight, by the film's pictures and the memory there is."""
    if is_live(str(config.input), config.source):  # it is opened once, and not to look
        return plan_of(_demand(config, model, None), threads_of(config).workers, config.model.batch)
    with open_source(str(config.input), (1, 1), config.source) as source:
        demand = _demand(config, model, source.info)
    plan, warnings = planned(demand, limit_of(config.max_memory))
    summary.warnings += warnings
    return plan


def _demand(config: Config, model: Network | None, info: SourceInfo | None) -> Demand:
    kind = model.kind if model else kind_of_file(find(config.model.name))
    width, height = model.size if model else grid_of(config.model, kind).size
    every = config.sample.every if isinstance(config.sample.every, int) else _USUAL_GAP
    if config.sample.rate is not None:
        every = math.ceil(info.rate / config.sample.rate) if info and info.rate else _USUAL_GAP
    return Demand(
        picture=int(info.width * info.height * info.pixel_bytes) if info else 0,
        pixels=info.width * info.height if info else 0,
        seen=width * height,
        every=max(1, every),
        workers=threads_of(replace(config, refine=refinement(config, model))).workers,
        batch=model.batch if model else config.model.batch,
        batch_fixed=model is not None,
        lean=_is_lean(config, model),
        any_size=model is None and kind == "student",
    )


def _is_lean(config: Config, model: Network | None) -> bool:
    if model is not None:
        return getattr(model, "engine", "") == "litert" and "tensorflow" not in sys.modules
    size_pool(threads_of(config).network)  # before TensorFlow loads, to look for a GPU perhaps
    return not loads_tensorflow(config.model, config.localise.score)


def loaded(config: Config, shapes: Sequence[int] = ()) -> Network:
    """The network of a configuration, ready to be shared by several runs.

    Raises RustVidError where a limit of memory does not hold what its first run takes.
    """
    threads = threads_of(config).network
    size_pool(threads)
    if weights := compiles(config.model, config.localise.score):
        check_compiling(weights.stat().st_size, limit_of(config.max_memory))
    return Model(config.model, config.localise, shapes, threads)


def refinement(config: Config, model: Network | None) -> RefineConfig:
    """The refinement with its method settled: "auto" goes by what the evidence will be."""
    if config.refine.method != "auto":
        return config.refine
    kind = model.kind if model else kind_of_file(find(config.model.name))
    return replace(config.refine, method=SETTLED[kind])


def with_owed(chosen: Iterable[tuple[Frame, bool]]) -> Iterator[tuple[Frame, bool]]:
    """What was chosen, and what has to be looked at besides.

    The look at a frame that cannot be read goes to the next that can. From a photo of another shape
    than the film no mask is carried, nor to it: it is looked at, and so is the one after it.
    """
    owed = odd = False
    for frame, look in chosen:
        before, odd = odd, frame.window is not None
        owed |= look or before or odd
        yield frame, owed and frame.readable
        owed &= not frame.readable


def refined_from(outcome: Outcome[Localised], size: int) -> Refined | Localised:
    """A localised frame with its mask; as it came where its mask is to be tracked."""
    localised = outcome.item
    if localised.frame.readable and not localised.classified.analysed:
        return localised
    if outcome.array is not None:
        return Refined(localised, outcome.array)
    failed = outcome.error or not localised.frame.readable
    empty = np.zeros((size, size), np.uint8)
    return Refined(localised, empty, mask_from="failed" if failed else "analysed")


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
