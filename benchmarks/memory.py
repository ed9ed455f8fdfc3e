"""Peak memory of the pipeline on a film of one minute and on one of ten: it must not grow.

    python benchmarks/memory.py [--full] [--json FILE]

The films, 1080p at 30 frames a second, are the packets of four seconds of synthetic footage over
and over. The pipeline runs with a network and a refinement that cost nothing, with --full also as
it is shipped. Peak: of the memory resident in the process and its workers together, read every
0.1 s (shared pages count in each).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine

from rustvid import demo
from rustvid.bench.rounds import Contestant, measured
from rustvid.config import Config

CLIP_SECONDS = 4
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
    parser.add_argument("--minutes", type=float, nargs=2, default=[1.0, 10.0])
    return parser.parse_args()


def main() -> int:
    """Compare both films. 1: memory grows."""
    args = arguments()
    result = compare(args)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)
    return int(any(facts["ratio"] > TARGET for facts in result["pipelines"].values()))


if __name__ == "__main__":
    sys.exit(main())
