"""The whole tool on real footage: is everything there, and are the masks right?

    python benchmarks/flyover.py [--data ../shared] [--config NAME] [--set KEY=VALUE]

Runs `rustvid` with masks and table over four films, as a user would. Checks that every frame comes
out, at its time, with a mask and a row, and that the sound is the same packet for packet. Compares
the masks with the true ones, at the size of the true ones: a pixel there is marked when at least
half of its area is. A frame whose true mask is empty, or that is of a film without rust, is clean;
clean frames that are marked (any pixel, by the table) or called corroded (p above the threshold)
are counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import cv2
import machine
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(machine.ROOT))

from rustvid.training.metrics import Confusion, confusion, pooled

FILMS = ("bridge_flyover", "rusty_truck", "city_drone_clean", "brick_facade_trick")


@dataclass(frozen=True)
class Outputs:
    """One run of the tool."""

    film: Path
    video: Path
    mask: Path
    rows: list[dict[str, str]]
    summary: dict[str, Any]


def annotated(film: Path, folder: Path, options: list[str]) -> Outputs:
    """Run the command line; `options` go to it."""
    video, mask = folder / f"{film.stem}.mp4", folder / f"{film.stem}.masks.mkv"
    command = [sys.executable, "-m", "rustvid", str(film), "--out", str(video)]
    command += ["--mask", str(mask), "--json", "--quiet", *options]
    run = subprocess.run(command, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"{film.name}: rustvid ended with exit code {run.returncode}")
    with video.with_suffix(".csv").open(encoding="utf-8", newline="") as table:
        return Outputs(film, video, mask, list(csv.DictReader(table)), json.loads(run.stdout))


# --- is everything there?


def checks(done: Outputs) -> dict[str, Any]:
    """What went in and what came out, and what is the same."""
    before, after, masks = (times(path) for path in (done.film, done.video, done.mask))
    seconds = [f"{float(time):.6f}" for time in before]
    return {
        "frames_in": len(before),
        "frames_out": len(after),
        "masks": len(masks),
        "rows": len(done.rows),
        "times_identical": before == after,
        "row_times_identical": seconds == [row["time_s"] for row in done.rows],
        "audio_packets": len(sound(done.film)),
        "audio_identical": sound(done.film) == sound(done.video),
    }


def complete(found: dict[str, Any]) -> bool:
    """Do the checks hold?"""
    counts = {found[name] for name in ("frames_in", "frames_out", "masks", "rows")}
    same = ("times_identical", "row_times_identical", "audio_identical")
    return len(counts) == 1 and all(found[name] for name in same)


def times(path: Path) -> list[Any]:
    """The exact time of every picture, in order, in seconds."""
    with av.open(str(path)) as film:
        return [frame.pts * frame.time_base for frame in film.decode(video=0)]


def sound(path: Path) -> list[Any]:
    """Every packet of sound: bytes, times and duration, in seconds."""
    with av.open(str(path)) as film:
        return [
            (bytes(p), p.pts * p.time_base, p.dts * p.time_base, p.duration * p.time_base)
            for p in (film.demux(film.streams.audio) if film.streams.audio else ())
            if p.size
        ]


# --- are the masks right?


def compared(done: Outputs) -> Iterator[tuple[Confusion, bool, bool, bool]]:
    """Of every frame: marked against true pixels, whether it is clean, whether anything is marked,
    whether it is called corroded."""
    truth_path = done.film.with_suffix(".masks.mkv")
    truth = grays(truth_path) if truth_path.exists() else iter(())
    threshold = done.summary["config"]["model"]["threshold"]
    for row, mask, true in zip_longest(done.rows, grays(done.mask), truth):
        if true is None and truth_path.exists():
            sys.exit(f"{truth_path.name}: ends before the film")
        if true is None:
            true = np.zeros(mask.shape, np.uint8)
        height, width = true.shape
        covered = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        # a tracked frame has no probability of its own
        called = bool(row["probability"]) and float(row["probability"]) > threshold
        marked = int(row["area_px"]) > 0
        yield confusion(true > 127, covered > 127), not (true > 127).any(), marked, called


def grays(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every mask of a film, (h, w) uint8, 0 or 255."""
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            yield frame.to_ndarray(format="gray")


def judged(done: Outputs) -> dict[str, Any]:
    """The measures of one film; those against true masks only where it has some."""
    frames = list(compared(done))
    counts = [count for count, *_ in frames]
    clean = [(marked, called) for _, empty, marked, called in frames if empty]
    result: dict[str, Any] = {"clean_frames": len(clean)}
    if clean:
        result["clean_marked"] = round(float(np.mean([marked for marked, _ in clean])), 4)
        result["clean_called"] = round(float(np.mean([called for _, called in clean])), 4)
    if len(clean) < len(frames):
        total = pooled(counts)
        result["iou"] = round(total.iou, 4)
        result["precision"] = round(total.precision, 4)
        result["recall"] = round(total.recall, 4)
        result["area_error_points"] = round(float(np.mean([c.area_error for c in counts])), 3)
    return result


# --- the result


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    lines = [
        "| film | frames | complete | IoU | precision | recall | area error, points "
        "| clean frames | marked | called |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    measures = ("iou", "precision", "recall", "area_error_points")
    for name, facts in result["films"].items():
        cells = [name, facts["frames_in"], "yes" if facts["complete"] else "NO"]
        cells += [facts.get(measure, "–") for measure in measures]
        cells += [facts.get(key, "–") for key in ("clean_frames", "clean_marked", "clean_called")]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=machine.ROOT.parent / "shared")
    parser.add_argument("--config", action="append", default=[], metavar="NAME|FILE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--films", nargs="+", choices=FILMS, default=FILMS)
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


def main() -> int:
    """Run, check, judge. 1: something is missing or not the same."""
    args = arguments()
    options = [word for name in args.config for word in ("--config", name)]
    options += [word for assignment in args.set for word in ("--set", assignment)]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    result: dict[str, Any] = {"machine": machine.facts(), "options": options, "films": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.films:
            film = (args.data / "video" / f"{name}.mp4").resolve()
            done = annotated(film, Path(folder), options)
            found = checks(done)
            result["model"] = done.summary["model"]
            result["films"][name] = {**found, "complete": complete(found), **judged(done)}
            print(f"{name}: {result['films'][name]}", file=sys.stderr)
    result["resized"] = "predicted masks to the size of the true ones, marked at half their area"
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)
    return int(not all(facts["complete"] for facts in result["films"].values()))


if __name__ == "__main__":
    sys.exit(main())
