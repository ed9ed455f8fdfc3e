"""Peak memory of the pipeline on a film of one minute and on one of ten: it must not grow.

    python benchmarks/memory.py [--full] [--json FILE]
    python benchmarks/memory.py --plan [--json FILE]   # what is planned against what is held

The films, 1080p at 30 frames a second, are the packets of four seconds of synthetic footage over
and over. The pipeline runs with a network and a refinement that cost nothing, with --full also as
it is shipped. Peak: of the memory resident in the process and its workers together, read every
0.1 s (shared pages count in each). With --plan: what `--max-memory` reckons with, on films of
several sizes, and what compiling a network takes, beside the peak that is held; the plan must not
be below it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine

from rustvid import demo
from rustvid.bench.rounds import Contestant, measured
from rustvid.config import Config, apply
from rustvid.memory import compiling
from rustvid.method.models import find
from rustvid.pipeline import plan_for
from rustvid.report.summary import Summary

CLIP_SECONDS = 4
PLAN_SECONDS = 3
SIZES = ((320, 180), (1280, 720), (1920, 1080), (3840, 2160))
TARGET = 1.1  # peak on the long film over peak on the short one


def looped(clip: Path, film: Path, seconds: float) -> Path:
    """Write the packets of a clip again and again, each time later, until the length is reached."""
    with av.open(str(film), "w") as sink:
        streams: dict[int, Any] = {}
        for turn in range(round(seconds / CLIP_SECONDS)):
            with av.open(str(clip)) as source:
                if not streams:
                    streams = {s.index: sink.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.dts is not None and fits(packet):
                        shift = round(Fraction(turn * CLIP_SECONDS) / packet.time_base)
                        packet.pts += shift
                        packet.dts += shift
                        packet.stream = streams[packet.stream.index]
                        sink.mux(packet)
    return film


def fits(packet: Any) -> bool:
    """All pictures, and the sound that lies within the clip: none is there twice."""
    begin, end = packet.pts, packet.pts + (packet.duration or 0)
    return packet.stream.type == "video" or (begin >= 0 and end * packet.time_base <= CLIP_SECONDS)


def watched(name: str, film: Path, folder: Path) -> dict[str, Any]:
    """The pipeline over the whole film, in a process, and what that and all below it hold."""
    kind: Any = "null" if name == "null" else "pipeline"
    found = measured(Contestant(name, kind, replace(Config(), input=str(film))), 1, folder)
    seconds = round(found.seconds, 1)
    return {"frames": found.frames, "seconds": seconds, "peak_tree_mb": found.peak_mb}


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Every pipeline on both films."""
    results: dict[str, Any] = {"machine": machine.facts(), "target": TARGET, "pipelines": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = demo.write(folder / "clip.mp4", size=(1920, 1080), seconds=CLIP_SECONDS)
        films = {
            label: looped(clip, folder / f"{label}.mp4", 60 * args.minutes[i])
            for i, label in enumerate(("short", "long"))
        }
        for pipeline in ("null", "default") if args.full else ("null",):
            both = {label: watched(pipeline, film, folder) for label, film in films.items()}
            ratio = both["long"]["peak_tree_mb"] / both["short"]["peak_tree_mb"]
            results["pipelines"][pipeline] = {**both, "ratio": round(ratio, 3)}
    return {**results, "minutes": args.minutes}


PLANNED: dict[str, tuple[str, ...]] = {
    "default": (),
    "every 5": ("sample.every=5",),
    "batch 1": ("model.batch=1",),
    "batch 16": ("model.batch=16",),
    "advanced, 2 workers": (
        "model.name=rustseg-lite",
        "model.threshold=0",
        "refine.method=advanced",
        "workers=2",
    ),
}


FIRST_RUNS = ("rustvid-student", "rustseg-lite", "rustseg")


def compare_plans(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The plan and the peak of every configuration on every size of film; first, what the first
    run of a model takes, which compiles its network."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # nothing is compiled yet

        def compare(size: tuple[int, int], label: str, config: Config, least: int = 0) -> None:
            needed = max(least, plan_for(config, None, Summary()).needed) / 1e6
            peak = measured(Contestant(label, "pipeline", config), 1, folder).peak_mb
            row = {"size": size, "configuration": label, "needed_mb": round(needed)}
            found.append({**row, "peak_mb": peak})
            print(found[-1], flush=True)

        films = {
            size: demo.write(folder / f"{size[0]}.mp4", size=size, seconds=PLAN_SECONDS)
            for size in sizes
        }
        for model in FIRST_RUNS:
            weights = find(model)
            config = replace(Config(), input=str(films[sizes[0]]), workers=0)
            for assignment in (f"model.name={weights}", "model.engine=litert"):
                config = apply(config, assignment)
            least = compiling(weights.stat().st_size)
            compare(sizes[0], f"first run of {Path(model).stem}", config, least)
        for size, film in films.items():
            for label, assignments in PLANNED.items():
                config = replace(Config(), input=str(film))
                for assignment in assignments:
                    config = apply(config, assignment)
                compare(size, label, config)
    return {"machine": machine.facts(), "plans": found}


def plan_table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    lines = ["| film | configuration | planned, MB | peak, MB |", "|---|---|---|---|"]
    for row in result["plans"]:
        width, height = row["size"]
        told = f"{row['needed_mb']} | {row['peak_mb']:.0f}"
        lines.append(f"| {width}×{height} | {row['configuration']} | {told} |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    short, long = result["minutes"]
    lines = [
        f"| | peak MB, {short:g} min | peak MB, {long:g} min | ratio (target ≤ {TARGET}) |",
        "|---|---|---|---|",
    ]
    for name, facts in result["pipelines"].items():
        peaks = " | ".join(f"{facts[film]['peak_tree_mb']:.0f}" for film in ("short", "long"))
        lines.append(f"| {name} | {peaks} | {facts['ratio']:.3f} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="also the pipeline as shipped")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--plan", action="store_true", help="compare plans instead")
    parser.add_argument("--minutes", type=float, nargs=2, default=[1.0, 10.0])
    return parser.parse_args()


def main() -> int:
    """Compare both films. 1: memory grows."""
    args = arguments()
    if args.plan:
        result = compare_plans(SIZES)
        print(plan_table(result))
        if args.json:
            machine.write_json(args.json, result)
        return int(any(row["peak_mb"] > row["needed_mb"] for row in result["plans"]))
    result = compare(args)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)
    return int(any(facts["ratio"] > TARGET for facts in result["pipelines"].values()))


if __name__ == "__main__":
    sys.exit(main())
