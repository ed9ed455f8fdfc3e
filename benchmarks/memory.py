"""Peak memory of the pipeline on a film of one minute and on one of ten: it must not grow.

    python benchmarks/memory.py [--full] [--json FILE]

The films, 1080p at 30 frames a second, are the packets of four seconds of synthetic footage over
and over. The pipeline runs with the null model and refiner of speed.py, with --full also as it
is shipped. Peak: of the memory resident in the process and its workers together, read every
0.2 s (shared pages count in each), and the largest that the system noted for each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine
import speed

from rustvid import demo

CLIP_SECONDS = 4
TARGET = 1.1  # peak on the long film over peak on the short one
INTERVAL = 0.2  # seconds between looks


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


def run_once(name: str, film: Path, folder: Path) -> dict[str, Any]:
    """In a process of its own: the pipeline over the whole film, and what the system noted."""
    before = resident(os.getpid())
    result = speed.pipeline(name, film, folder, None)
    noted = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "frames": result.frames,
        "seconds": round(result.seconds, 1),
        "start_mb": mb(before),
        "maxrss_self_mb": mb(noted[0].ru_maxrss * 1024),
        "maxrss_largest_child_mb": mb(noted[1].ru_maxrss * 1024),
    }


def watched(name: str, film: Path, folder: Path) -> dict[str, Any]:
    """Run it in a process, and look at what that and all below it hold."""
    command = [sys.executable, __file__, "--only", name, "--film", film, "--folder", folder]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    peak, log = 0, folder / "child.log"
    with log.open("w") as errors:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=quiet
        )
        while child.poll() is None:
            peak = max(peak, sum(resident(pid) for pid in family(child.pid)))
            time.sleep(INTERVAL)
    output = child.stdout.read() if child.stdout else ""
    if child.returncode:
        sys.exit(log.read_text())
    return {**json.loads(output.splitlines()[-1]), "peak_tree_mb": mb(peak)}


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found = [root]
    for pid in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident(pid: int) -> int:
    """Bytes resident; 0 for a process that has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def mb(size: int) -> float:
    """Bytes in megabytes."""
    return round(size / 1e6, 1)


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
    parser.add_argument("--only", choices=("null", "default"), help=argparse.SUPPRESS)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Compare both films; or, in a process of its own, run one. 1: memory grows."""
    args = arguments()
    if args.only:
        print(json.dumps(run_once(args.only, args.film, args.folder)))
        return 0
    result = compare(args)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)
    return int(any(facts["ratio"] > TARGET for facts in result["pipelines"].values()))


if __name__ == "__main__":
    sys.exit(main())
