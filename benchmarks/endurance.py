"""Hours of film in one run: memory, files, threads, processes, shared memory must stay flat.

    python benchmarks/endurance.py [--hours 2] [--suffix .mp4] [--json FILE] [--plot FILE.png]
    python benchmarks/endurance.py --index

The film, 320×180 at 25 frames a second, is the packets of four seconds of synthetic footage over
and over. By default the tests' network, which sees colours and costs nothing, looks at every frame
and a worker process refines, so that shared memory is used throughout;
`--model rustvid-student --every 25` looks with the shipped network once a second and tracks.

An .mp4 or .mov keeps an index of its packets in memory until it is closed: `--index` measures
what its muxer holds for each, without a pipeline, so that this can be told from a leak.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine
import memory
from matplotlib.figure import Figure

from rustvid import demo
from rustvid.bench.rounds import family, resident
from rustvid.video.muxed import _MOV_FLAGS

SIZE, RATE = (320, 180), Fraction(25)
LOOKS = 400  # at the processes, over the whole run
WARM = 0.1  # of the run, that is not judged: caches fill
TARGETS = {"resident_mb": 1.05, "files": 1.0, "threads": 1.0, "processes": 1.0, "shm_mb": 1.0}
SHARED = Path("/dev/shm")


def command(film: Path, out: Path, model: str, every: int) -> list[str]:
    """The run, in a process of its own."""
    words = [str(film), "--out", str(out), "--every", str(every), "--quiet"]
    if model != "colour":
        return [sys.executable, "-m", "rustvid", *words, "--model", model]
    words += ["--workers", "1", "--set", "refine.method=student", "--set", "refine.size=192"]
    return [sys.executable, str(machine.ROOT / "tests" / "lean.py"), *words]


def watched(words: Sequence[str], table: Path, pause: float) -> list[dict[str, float]]:
    """What the process and all below it hold, looked at until it ends."""
    looks: list[dict[str, float]] = []
    begun = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as child:
        try:
            while child.poll() is None:
                if frames := rows(table):
                    looks.append({"seconds": time.monotonic() - begun, "frames": frames})
                    looks[-1] |= held(child.pid)
                time.sleep(pause)
        finally:
            child.terminate()
    if child.returncode:
        raise SystemExit(f"the run ended with exit code {child.returncode}")
    return looks


def held(root: int) -> dict[str, float]:
    """What a process and its descendants hold at this moment."""
    pids = family(root)
    return {
        "resident_mb": round(sum(map(resident, pids)) / 1e6, 2),
        "files": sum(entries(Path(f"/proc/{pid}/fd")) for pid in pids),
        "threads": sum(entries(Path(f"/proc/{pid}/task")) for pid in pids),
        "processes": len(pids),
        "shm_mb": round(sum(map(size_of, SHARED.glob(f"rustvid-{root}-*"))) / 1e6, 3),
    }


def entries(folder: Path) -> int:
    try:
        return len(list(folder.iterdir()))
    except OSError:  # it has gone
        return 0


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def rows(table: Path) -> int:
    """How many frames the table has, by its last whole row."""
    if not table.exists():
        return 0
    with table.open("rb") as file:
        file.seek(max(0, table.stat().st_size - 4096))
        lines = file.read().split(b"\n")[:-1]
    number = lines[-1].split(b",")[0] if lines else b""
    return int(number) + 1 if number.isdigit() else 0


def growth(looks: list[dict[str, float]]) -> dict[str, float]:
    """Mean of the last third of the run over that of the first, without what is warming up.

    A file or a thread that leaks once in so many frames, or a byte a frame, shows here; a moment
    at which a file is open to be synced does not.
    """
    judged = looks[int(len(looks) * WARM) :]
    third = max(1, len(judged) // 3)
    found = {}
    for key in TARGETS:
        first, last = (
            sum(look[key] for look in part) / len(part)
            for part in (judged[:third], judged[-third:])
        )
        found[key] = round(last / first, 4) if first else (1.0 if not last else float("inf"))
    return found


def index_bytes(packets: int = 500_000) -> float:
    """Bytes that the muxer of .mp4 holds for a packet, with the options of the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"movflags": _MOV_FLAGS, "flush_packets": "1"}
        with av.open(str(Path(folder) / "index.mp4"), "w", options=options) as sink:
            sound = sink.add_stream("aac", rate=48000, layout="mono")
            sink.start_encoding()
            before = 0
            for number in range(packets):
                packet = av.Packet(bytes(8))
                packet.stream, packet.time_base = sound, Fraction(1, 48000)
                packet.pts = packet.dts = number * 1024
                packet.duration = 1024
                sink.mux(packet)
                if number == packets // 100:
                    before = resident(os.getpid())
            return (resident(os.getpid()) - before) / (packets - packets // 100)


def plot(looks: list[dict[str, float]], path: Path) -> None:
    """Every quantity over the hours of film that were done."""
    figure = Figure(figsize=(8, 10), layout="constrained")
    for axes, key in zip(figure.subplots(len(TARGETS), 1, sharex=True), TARGETS, strict=True):
        hours = [look["frames"] / float(RATE) / 3600 for look in looks]
        axes.plot(hours, [look[key] for look in looks], linewidth=1)
        axes.set(ylabel=key, ylim=(0, None))
    axes.set(xlabel="hours of film")
    figure.savefig(path, dpi=120)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--hours", type=float, default=2.0, help="of film")
    parser.add_argument("--model", default="colour", help="colour, or the name of a shipped model")
    parser.add_argument("--every", type=int, default=1, help="frame that is looked at")
    parser.add_argument("--suffix", default=".mp4", help="of the result")
    parser.add_argument("--pause", type=float, help="seconds between two looks")
    parser.add_argument("--index", action="store_true", help="bytes of memory for each packet")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--plot", type=Path, help="and a picture here")
    return parser.parse_args()


def main() -> int:
    """Run, watch, judge. 1: something grows."""
    args = arguments()
    if args.index:
        print(f"{index_bytes():.0f} bytes for each packet of an .mp4")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = demo.write(folder / "clip.mp4", size=SIZE, fps=RATE, seconds=memory.CLIP_SECONDS)
        film = memory.looped(clip, folder / "film.mp4", args.hours * 3600)
        out = folder / f"out{args.suffix}"
        pause = args.pause or max(0.2, args.hours * 3600 / 20 / LOOKS)
        words = command(film, out, args.model, args.every)
        looks = watched(words, out.with_name("out.part.csv"), pause)
        done = rows(out.with_suffix(".csv"))
    grown = growth(looks)
    frames = round(args.hours * 3600 / memory.CLIP_SECONDS) * memory.CLIP_SECONDS * int(RATE)
    result: dict[str, Any] = {
        "machine": machine.facts(),
        "film": {"size": SIZE, "rate": int(RATE), "hours": args.hours, "frames": frames},
        "model": args.model,
        "every": args.every,
        "suffix": args.suffix,
        "frames": done,
        "seconds": round(looks[-1]["seconds"], 1),
        "growth": grown,
        "targets": TARGETS,
        "looks": looks[:: max(1, len(looks) // LOOKS)],
    }
    for key, ratio in grown.items():
        first, last = looks[int(len(looks) * WARM)][key], looks[-1][key]
        print(f"{key:12} {first:9.2f} → {last:9.2f}, ratio {ratio:.4f} (target {TARGETS[key]})")
    print(f"{done} of {frames} frames in {result['seconds']} s")
    if args.json:
        machine.write_json(args.json, result)
    if args.plot:
        plot(looks, args.plot)
    # One more look at an open file in three hundred is chance: only a trend counts.
    flat = all(ratio <= max(TARGETS[key], 1.02) for key, ratio in grown.items())
    return int(not flat or done != frames)


if __name__ == "__main__":
    sys.exit(main())
