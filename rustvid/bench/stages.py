"""Seconds per frame of every stage, each alone, as in the paper's Table 2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rustvid.bench.contestants import loaded
from rustvid.bench.measurement import IMAGE_SIZE
from rustvid.config import Config, RefineConfig, apply
from rustvid.frames import Classified, Frame, Localised, Measured, Refined
from rustvid.method.refine import refine
from rustvid.method.trust import trust
from rustvid.render import render
from rustvid.report.area import measure
from rustvid.report.caption import caption
from rustvid.video import open_sink, open_source
from rustvid.video.sink import Template
from rustvid.video.source import SourceInfo

CHUNK = 12  # frames that are decoded, or encoded, in one run: a single one would measure a queue

# a refinement's name in the table → the kind of model whose evidence it takes, its configuration
REFINEMENTS = {
    "Refine (CRF: 25)": ("classifier", ("refine.method=crf", "refine.iterations=25")),
    "Refine (advanced: 10)": ("classifier", ("refine.method=advanced", "refine.iterations=10")),
    "Refine (student)": ("student", ("refine.method=student",)),
    "Refine (student, CRF: 10)": ("student", ("refine.method=student-crf",)),
}
LOOK = "Classify + Localise"
Runs = dict[str, list[float]]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Stages:
    """seconds: of one frame, of every run; precision: of every model's arithmetic

    empty: of every refinement, on how many of the runs nothing was left to refine
    """

    seconds: Runs
    precision: dict[str, str]
    empty: dict[str, int]


def stages(config: Config, models: Sequence[str], runs: int, folder: Path) -> Stages:
    """Measure every stage `runs` times on frames of `config.input`, in this process.

    models: names or paths of weights; the refinements get the first classifier's evidence, or
        the first student's
    folder: for what the encoder writes
    Each stage is done once more before, uncounted. A refinement for which there is no model of
    its kind is left out.
    """
    seconds: Runs = {}
    seconds["Decode"], frames, info = _decoded(config, runs)
    pictures = [chunk[0] for chunk in [frames[0], *frames]]  # the first one warms up
    seconds["Convert for the network"], _ = _timed(_image_of, _fresh(config, runs))
    evidence: dict[str, list[NDArray[np.float32]]] = {}
    precision: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for name in models:
        model = loaded(replace(config, model=replace(config.model, name=name)))
        stem = Path(name).stem
        precision[stem], kinds[stem] = model.precision, model.kind
        took, answers = _timed(model.look, _batches(config, model.size, runs, model.batch))
        seconds[f"{LOOK} ({stem})"] = [one / model.batch for one in took]
        evidence.setdefault(model.kind, [answer.evidence[0] for answer in answers])
    empty: dict[str, int] = {}
    masks: list[NDArray[np.uint8]] = []
    for label, (kind, assignments) in REFINEMENTS.items():
        if kind not in evidence:
            continue
        work = partial(_refined, config=_refinement(config, assignments))
        pairs = [(_image_of(f), e) for f, e in zip(pictures, evidence[kind], strict=True)]
        seconds[label], masks = _timed(work, pairs)
        empty[label] = sum(not mask.any() for mask in masks[1:])
    for stem, kind in kinds.items():
        for label, (of, _) in REFINEMENTS.items():
            if of == kind:
                both = zip(seconds[f"{LOOK} ({stem})"], seconds[label], strict=True)
                seconds[f"End-to-End ({stem}, {label})"] = [sum(pair) for pair in both]
    refined = [
        Refined(Localised(Classified(frame, 1.0), proof), mask)
        for frame, proof, mask in zip(pictures, list(evidence.values())[-1], masks, strict=True)
    ]
    seconds["Measure"], measured = _timed(lambda r: measure(r, trust(r, config.refine)), refined)
    seconds["Render"], _ = _timed(partial(_rendered, config=config), measured)
    seconds["Encode"] = _encoded(config, frames[0], info, runs, folder)
    return Stages(seconds, precision, empty)


def _timed(work: Callable[[A], B], items: Sequence[A]) -> tuple[list[float], list[B]]:
    """Seconds that the work took on each but the first, which only warms up; and all results."""
    took, results = [], []
    for item in items:
        began = time.perf_counter()
        results.append(work(item))
        took.append(time.perf_counter() - began)
    return took[1:], results


def _decoded(config: Config, runs: int) -> tuple[list[float], list[list[Frame]], SourceInfo]:
    """Seconds per frame of each run, the frames of the runs, and what the film is."""
    took: list[float] = []
    kept: list[list[Frame]] = []
    chunks = _chunks(config)
    for number in range(runs + 1):
        began = time.perf_counter()
        chunk = next(chunks)
        took.append((time.perf_counter() - began) / len(chunk))
        if number:
            kept.append(chunk if number == 1 else chunk[:1])  # enough: memory is finite
    with open_source(str(config.input), (1, 1), config.source) as source:
        info = source.info
    return took[1:], kept, info


def _chunks(config: Config, size: tuple[int, int] = IMAGE_SIZE) -> Iterator[list[Frame]]:
    """The film's frames, CHUNK at a time, over and over."""
    while True:
        chunk: list[Frame] = []
        short = True
        with open_source(str(config.input), size, config.source) as source:
            for frame in source.frames():
                chunk.append(frame)
                if len(chunk) == CHUNK:
                    yield chunk
                    chunk, short = [], False
        if short:  # the whole film has fewer
            yield chunk


def _fresh(config: Config, runs: int) -> list[Frame]:
    """One frame a run, whose image for the network has not been made; one more to begin with."""
    chunks = _chunks(config)
    return [next(chunks)[0] for _ in range(runs + 1)]


def _batches(
    config: Config, size: tuple[int, int], runs: int, batch: int
) -> list[list[NDArray[np.uint8]]]:
    """Different images for every run, as many as the network takes at once."""
    chunks = _chunks(config, size)
    next(chunks)  # as _decoded: the first one warms up
    found = []
    for _ in range(runs):
        chunk = next(chunks)
        found.append([chunk[i % len(chunk)].image for i in range(batch)])
    return [found[0], *found]


def _image_of(frame: Frame) -> NDArray[np.uint8]:
    return frame.image


def _refinement(config: Config, assignments: Sequence[str]) -> RefineConfig:
    for assignment in assignments:
        config = apply(config, assignment)
    return config.refine


def _refined(
    pair: tuple[NDArray[np.uint8], NDArray[np.float32]], config: RefineConfig
) -> NDArray[np.uint8]:
    return refine(*pair, config)


def _rendered(measured: Measured, config: Config) -> None:
    picture = measured.frame.picture
    stored = np.ascontiguousarray(picture.stored(measured.mask))
    render(picture, stored, measured.evidence, caption(measured), config.render)


def _encoded(
    config: Config, chunk: list[Frame], info: SourceInfo, runs: int, folder: Path
) -> list[float]:
    """Seconds per frame of files of a chunk, opened, written and closed."""
    path = folder / "stage.mp4"

    def write(frames: list[Frame]) -> None:
        with open_sink(path, Template(info, None, ()), config.output) as sink:
            for frame in frames:
                sink.write(frame.picture, frame)
            sink.finish(())

    took, _ = _timed(write, [[replace(frame, companions=()) for frame in chunk]] * (runs + 1))
    return [one / len(chunk) for one in took]
