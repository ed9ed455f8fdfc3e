"""Frames per second of one film, from decoding alone to the whole pipeline.

    python benchmarks/speed.py footage.mp4 [--json FILE] [--rounds 5] [--contestants NAME ...]

`rustvid bench` without its stages and presets: the contestants here stay the same over time.

decode       PyAV, threads AUTO
source       decode and convert, as the pipeline's source does
transcode    decode and encode, audio copied: no more than any annotated video costs
null         the pipeline with a model that answers at once and a refiner of one resize
default      the pipeline as shipped
advanced-16  the paper's network of 16 filters, K-means and CRF, for every frame
fast-16      the same with the fast engine of the CRF
advanced-64  as advanced-16 with 64 filters

Each is measured in a process of its own, once in every round, in an order that turns. Loading the
model is not counted and reported apart; starting worker processes is counted. A measurement that
other processes disturbed is repeated, and the least disturbed try is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine

from rustvid.bench.rounds import Contestant, compete
from rustvid.bench.suite import described, summarised
from rustvid.config import Config, OutputConfig, apply

# Written out, so that transcoding alone and every pipeline encode alike.
ENCODER = OutputConfig(codec="h264", preset="veryfast", crf=20)

# threshold=0: every frame is refined, the most there can be to do
_ADVANCED = ("sample.every=1", "model.threshold=0", "refine.method=advanced", "refine.size=572")
PIPELINES: dict[str, tuple[str, ...]] = {
    "null": ("sample.every=1", "refine.method=student", "refine.size=572"),
    "default": (),
    "advanced-16": (*_ADVANCED, "model.name=rustseg-lite"),
    "fast-16": (*_ADVANCED, "model.name=rustseg-lite", "refine.engine=fast"),
    "advanced-64": (*_ADVANCED, "model.name=rustseg"),
}
SLOW = ("advanced-16", "fast-16", "advanced-64")  # measured on the beginning of the film only
NAMES = ("decode", "source", "transcode", *PIPELINES)


def contestant(name: str, film: Path, seconds: float) -> Contestant:
    """One by its name; seconds: of the film, for the slow ones."""
    config = replace(Config(), input=str(film), output=ENCODER)
    for assignment in PIPELINES.get(name, ()):
        config = apply(config, assignment)
    if name in SLOW:
        config = replace(config, source=replace(config.source, end=seconds))
    kind: Any = name if name in ("decode", "source", "transcode", "null") else "pipeline"
    facts = {"film": film.name, "settings": PIPELINES.get(name, ())}
    return Contestant(name, kind, config, "transcode", tuple(facts.items()))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The whole JSON."""
    films = {args.input.name: described(args.input)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [
            contestant(name, args.input, args.seconds) for name in NAMES if name in args.contestants
        ]
        say = lambda line: print(line, file=sys.stderr)  # noqa: E731
        results = compete(chosen, args.rounds, args.tries, folder, say)
    return {
        "machine": machine.facts(),
        "films": films,
        "encoder": {"codec": ENCODER.codec, "preset": ENCODER.preset, "crf": ENCODER.crf},
        "notes": {
            "slow": f"{' and '.join(SLOW)}: the first {args.seconds} s of the film only",
            "threshold": "advanced: model.threshold=0, so that every frame is refined",
            "load": "load_s (import, weights, first pass) is not part of fps",
        },
        "contestants": {one.name: summarised(one, results, films) for one in chosen},
    }


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    lines = [
        "| | frames | frames/s, median (min–max) | × transcode | processor ms/frame | load s |",
        "|---|---|---|---|---|---|",
    ]
    for name, facts in result["contestants"].items():
        fps, ratio = facts["fps"], facts.get("of_transcode")
        ratios = f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else ""
        lines.append(
            f"| {name} | {facts['frames']} "
            f"| {fps['median']:.1f} ({fps['min']:.1f}–{fps['max']:.1f}) | {ratios} "
            f"| {facts['cpu_ms_per_frame']['median']:.1f} "
            f"| {facts['load_s']['median'] or '–'} |"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("input", type=Path, help="video file")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of the film, for the slow ones")
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--tries", type=int, default=3, help="for a disturbed measurement")
    return parser.parse_args()


def main() -> None:
    """Measure everything."""
    args = arguments()
    result = measure(args)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)


if __name__ == "__main__":
    main()
