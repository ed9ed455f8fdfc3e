"""`rustvid bench`: what is measured on which film, and the result as one dictionary, for JSON."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rustvid import demo
from rustvid.bench import machine
from rustvid.bench.measurement import Measurement
from rustvid.bench.rounds import Contestant, Said, compete, measured_stages, sigterm_unwinds
from rustvid.budget import available
from rustvid.config import Config, SourceConfig
from rustvid.errors import SourceError, UsageError
from rustvid.method.models import find, kind_of_file
from rustvid.video import open_source
from rustvid.video.source import SourceInfo

HOUSE = "1080p"  # the size of which everything is measured
SIZES = {"720p": (1280, 720), HOUSE: (1920, 1080), "4K": (3840, 2160)}
_NOTES = {
    "transcode": "decode, encode with the same encoder, copy the sound; × transcode is the median "
    "of the ratios within each round",
    "null": "the pipeline with a network and a refinement that cost nothing",
    "refine": "the advanced refinement alone: a network that costs nothing, no film is written; "
    "per worker is the speed over that of one worker and the number of workers",
    "threshold": "model.threshold=0, so that every frame that is looked at is refined",
    "load": "load_s (import, weights, first pass) is not part of the speed",
    "peak": "peak_mb: resident memory of the process and its workers together, read every 0.1 s",
    "stages": "each stage alone, in one process; Classify + Localise in full batches, Decode and "
    "Encode 12 frames a run, all per frame; End-to-End is the sum for one picture, as the paper's "
    "without reading it",
}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    presets: configurations by name; models: names of weights beside each preset's own
    stage_models: of which networks the stages are measured
    rounds: of everything on the first film but the presets with other models than their own;
        those, and other sizes, take part in the first round alone
    seconds: of synthetic film; slow_seconds: what a network of every frame with a CRF gets of it
    sizes: of synthetic film, by name; the first one is measured wholly, of the others a quarter
    tries: for a measurement that other processes disturbed
    minutes: after which nothing is begun any more; what was begun ends within two
    workers: of the refinement alone, how many; () for none
    """

    presets: Mapping[str, Config]
    models: Sequence[str] = ("rustvid-student", "rustseg-lite", "rustseg")
    stage_models: Sequence[str] = ("rustvid-student", "rustseg-lite", "rustseg")
    runs: int = 10
    rounds: int = 3
    seconds: float = 8.0
    slow_seconds: float = 1.0
    sizes: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {name: SIZES[name] for name in (HOUSE, "720p", "4K")}
    )
    tries: int = 3
    minutes: float = 10.0
    workers: Sequence[int] = ()


def plan_for(
    presets: Mapping[str, Config],
    quick: bool,
    rounds: int | None = None,
    minutes: float | None = None,
) -> Plan:
    """The whole plan, or one round of each preset with its own model, one size, no 64 filters.

    rounds, minutes: None leaves the plan's own; raises UsageError for less than one
    """
    for flag, value in (("--rounds", rounds), ("--minutes", minutes)):
        if value is not None and value < 1:
            raise UsageError(f"{flag} must be at least 1, received {value:g}")
    plan = Plan(presets, workers=crews(available()))
    if quick:
        plan = Plan(
            presets,
            models=(),
            stage_models=("rustvid-student", "rustseg-lite"),
            rounds=1,
            seconds=4.0,
            slow_seconds=1.0,
            sizes={HOUSE: SIZES[HOUSE]},
            tries=1,
        )
    return replace(plan, rounds=rounds or plan.rounds, minutes=minutes or plan.minutes)


def crews(cores: int) -> tuple[int, ...]:
    """1, 2, 4, … and all cores: the numbers of workers that are tried."""
    return (*(2**power for power in range(10) if 2**power < cores), cores)


def bench(film: Path | None, plan: Plan, say: Said) -> dict[str, Any]:
    """Measure; say: told of every step.

    film: a video file; None: synthetic ones
    Raises SourceError for a film that cannot be read, ChildFailed where a measurement fails.
    """
    until = time.monotonic() + 60 * plan.minutes
    temporary = tempfile.TemporaryDirectory(prefix="rustvid-bench-")
    with sigterm_unwinds(), temporary as name:
        folder = Path(name)
        films = {film.name: film} if film else dict(_synthetic(plan, folder, say))
        told = {size: described(path) for size, path in films.items()}
        first = next(iter(films))
        contestants = [
            one
            for size, path in films.items()
            for one in _contestants(plan, path, size, "" if size == first else size)
        ]
        say("stages")
        base = replace(Config(), input=str(films[first]))
        found = measured_stages(base, plan.stage_models, plan.runs, folder)
        results = compete(contestants, plan.rounds, plan.tries, folder, say, until)
    return {
        "machine": machine.facts(),
        "films": told,
        "notes": _NOTES,
        "precision": found["precision"],
        "stages": {
            label: _stage(runs, found["empty"].get(label))
            for label, runs in found["seconds"].items()
        },
        "contestants": {
            one.name: summarised(one, results, told) for one in contestants if results[one.name]
        },
        "left_out": [one.name for one in contestants if not results[one.name]],
    }


def summarised(
    one: Contestant, results: Mapping[str, list[Measurement]], films: Mapping[str, Any]
) -> dict[str, Any]:
    """What the JSON says of one contestant."""
    runs = results[one.name]
    facts: dict[str, Any] = {
        **dict(one.facts),
        "frames": runs[0].frames,
        "analysed_frames": runs[0].analysed,
        "refined_frames": runs[0].refined,
        "fps": spread([run.fps for run in runs]),
        "cpu_ms_per_frame": spread([1000 * run.cpu_s / run.frames for run in runs], 1),
        "load_s": spread([run.load_s for run in runs], 1),
    }
    if all(run.peak_mb for run in runs):
        facts["peak_mb"] = max(run.peak_mb or 0 for run in runs)
    if ceiling := results.get(one.encoder):
        # the last round may have been cut short
        ratios = [run.fps / top.fps for run, top in zip(runs, ceiling, strict=False)]
        facts["of_transcode"] = spread(ratios, 3)
    if one.kind in ("pipeline", "null"):
        rate = films[facts["film"]]["frames_per_second"]
        facts["real_time"] = facts["fps"]["median"] >= rate
    facts["rounds"] = [{**asdict(run), "fps": round(run.fps, 2)} for run in runs]
    return facts


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median and extremes."""
    named = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in named.items()}


def ninety(values: Sequence[float]) -> float:
    """The value that nine in ten do not exceed; between two, on the line."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=10, method="inclusive")[-1]


def _stage(runs: list[float], empty: int | None) -> dict[str, Any]:
    facts = {"median": round(statistics.median(runs), 6), "p90": round(ninety(runs), 6)}
    told = {} if empty is None else {"empty_masks": empty}
    return {**facts, **told, "runs": [round(run, 6) for run in runs]}


def _synthetic(plan: Plan, folder: Path, say: Said) -> Iterator[tuple[str, Path]]:
    for number, (name, size) in enumerate(plan.sizes.items()):
        seconds = plan.seconds / 4 if number else plan.seconds
        say(f"making {seconds:g} s of synthetic film, {name}")
        yield name, demo.write(folder / f"{name}.mp4", size=size, seconds=seconds)


def described(film: Path) -> dict[str, Any]:
    """What the JSON says of a film; raises SourceError for one that cannot be read."""
    with open_source(str(film), (1, 1), SourceConfig()) as source:
        info: SourceInfo = source.info
    if source.container is None:
        raise SourceError(f"{film}: is no video; bench measures films")
    return {
        "name": film.name,
        "sha256": machine.file_digest(film),
        "size": [info.width, info.height],
        "frames": info.expected_frames,
        "frames_per_second": round(float(info.rate), 3),
        "codec": info.codec,
    }


def _contestants(plan: Plan, film: Path, name: str, size: str) -> Iterator[Contestant]:
    """Everything of one film; of a size that is only looked at, each preset's own model.

    name: of the film; size: "" for the film that everything is measured of, else the same
    """
    at = f", {size}" if size else ""
    told = {"film": name}
    base = replace(Config(), input=str(film))
    if not size:
        for kind in ("decode", "source"):
            yield Contestant(kind, kind, base, f"transcode{at}", tuple(told.items()))
    encoders: dict[Any, str] = {}
    for preset, config in {"": Config(), **plan.presets}.items():
        if config.output not in encoders:
            label = f"transcode{', as ' + preset if encoders else ''}{at}"
            encoders[config.output] = label
            same = replace(base, output=config.output)
            facts = tuple(told.items())
            yield Contestant(label, "transcode", same, label, facts, once=bool(size))
    if not size:
        null = replace(base, sample=Config().sample)
        yield Contestant("null", "null", null, encoders[null.output], tuple(told.items()))
        yield from _scaling(plan, base, told)
    for preset, config in plan.presets.items():
        own = config.model.name
        names = [own] if size else dict.fromkeys([own, *plan.models])
        for model in names:
            if not _fits(config, model):
                continue
            changed = replace(
                config,
                input=str(film),
                model=replace(config.model, name=model, threshold=0.0),
                source=replace(config.source, end=_end(plan, config, model)),
            )
            stem = Path(model).stem
            yield Contestant(
                f"{preset}, {stem}{at}",
                "pipeline",
                changed,
                encoders[config.output],
                tuple({**told, "preset": preset, "model": stem}.items()),
                once=bool(size) or model != own,
            )


def _scaling(plan: Plan, base: Config, told: dict[str, str]) -> Iterator[Contestant]:
    """The advanced refinement alone, of every frame, by more and more workers."""
    refined = replace(
        base,
        refine=replace(base.refine, method="advanced"),
        source=replace(base.source, end=plan.slow_seconds),
    )
    for count in plan.workers:
        facts = tuple({**told, "workers": count}.items())
        yield Contestant(
            f"refine, {count} workers", "refine", replace(refined, workers=count), facts=facts
        )


def _is_student(model: str) -> bool:
    return kind_of_file(find(model)) == "student"


def _fits(config: Config, model: str) -> bool:
    """Is the refinement one for this kind of model? The paper's are none for a student."""
    wanted = config.refine.method
    return wanted == "auto" or wanted.startswith("student") == _is_student(model)


def _end(plan: Plan, config: Config, model: str) -> float | None:
    """Where to stop: soon, if every frame has a CRF."""
    slow = config.sample.every == 1 and config.sample.rate is None and not _is_student(model)
    return plan.slow_seconds if slow else config.source.end
