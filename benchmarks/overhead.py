"""What the pipeline adds to transcoding, part by part: processor milliseconds of one frame.

    python benchmarks/overhead.py footage.mp4 [--frames 120] [--json FILE]

The network and the refinement cost nothing here (as in `null` of speed.py), a disc of a fifth of
the picture is drawn. Each part is done on every frame, in one thread; its figures are the median
over the frames and the least, which is nearer the truth on a machine that others use too. Tracking
is the mean over all frames, looked at or not, the better of two runs. Encoding is measured twice,
in processor time of all the encoder's threads and over all frames: the pictures as they are, as a
transcoder does it, and what was drawn over them. Processor time is disturbed less by neighbours
than frames per second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import machine
import numpy as np

from rustvid.bench.measurement import IMAGE_SIZE, disc
from rustvid.bench.suite import described
from rustvid.config import Config
from rustvid.frames import Classified, Frame, Localised, Measured, Picture, Refined
from rustvid.method.refine import refine
from rustvid.method.trust import trust
from rustvid.render import render
from rustvid.report.area import area_of, enlarged
from rustvid.report.caption import caption
from rustvid.report.csv import line_of
from rustvid.tracking import track
from rustvid.video import open_sink, open_source
from rustvid.video.sink import Template

T = TypeVar("T")
LOOK = 15  # frames from one that is looked at to the next, where tracking is measured
WARM = 3  # frames that are not counted: tables and contexts are made with them


class Clock:
    """Milliseconds of this thread's processor time, by part."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def __call__(self, part: str, work: Callable[..., T], *given: Any) -> T:
        began = time.thread_time()
        result = work(*given)
        self.spent[part].append(1000 * (time.thread_time() - began))
        return result

    def figures(self) -> dict[str, dict[str, float]]:
        """Median and least of every part."""
        counted = {part: spent[WARM:] for part, spent in self.spent.items()}
        return {
            part: {"median": round(statistics.median(ms), 3), "least": round(min(ms), 3)}
            for part, ms in counted.items()
        }


def walk(frames: Iterable[Frame], config: Config, clock: Clock) -> Iterator[tuple[Frame, Picture]]:
    """Every frame with what is drawn over its picture: the pipeline's own steps, one by one."""
    evidence = disc()
    settled = replace(config.refine, method="student")
    for frame in frames:
        image = clock("picture for the network", lambda f: f.image, frame)
        mask = clock("refine (a student's)", refine, image, evidence, settled)
        refined = Refined(Localised(Classified(frame, 1.0), evidence), mask)
        sure = clock("trust", trust, refined, settled)
        whole = clock("enlarge the mask", enlarged, mask, frame.picture.upright_shape)
        area = clock("area and regions", area_of, whole)
        measured = Measured(refined, whole, area, sure)
        stored = clock(
            "turn the mask", lambda p, m: np.ascontiguousarray(p.stored(m)), frame.picture, whole
        )
        text = clock("caption", caption, measured)
        yield (
            frame,
            clock("draw", render, frame.picture, stored, evidence, text, config.render),
        )
        clock("row of the table", line_of, measured)


def followed(frames: list[Frame], config: Config) -> float:
    """Milliseconds of this thread's processor time a frame: tracking between looks, both ways."""
    evidence = disc()
    settled = replace(config.refine, method="student")
    given: list[Refined | Localised] = []
    for number, frame in enumerate(frames):
        if number % LOOK:
            given.append(Localised(Classified(frame, None), None))
        else:
            seen = Localised(Classified(frame, 1.0), evidence)
            given.append(Refined(seen, refine(frame.image, evidence, settled)))
    began = time.thread_time()
    count = sum(1 for _ in track(given, ahead=True))
    return round(1000 * (time.thread_time() - began) / count, 3)


def encode(
    pictures: Iterable[tuple[Frame, Picture]], config: Config, template: Template, path: Path
) -> float:
    """Processor milliseconds a frame, of all threads, of encoding these pictures."""
    spent, count = 0.0, 0
    with open_sink(path, template, config.output) as sink:
        for frame, picture in pictures:
            began = time.process_time()
            sink.write(picture, replace(frame, companions=()))
            spent += time.process_time() - began
            count += 1
        began = time.process_time()
        sink.finish(())
        spent += time.process_time() - began
    return round(1000 * spent / count, 3)


def measure(film: Path, count: int) -> dict[str, Any]:
    """The whole JSON."""
    cv2.setNumThreads(1)
    config, clock = Config(input=str(film)), Clock()
    with open_source(str(film), IMAGE_SIZE, config.source) as source:
        template = Template(source.info, None, ())
        frames = [frame for _, frame in zip(range(count), source.frames(), strict=False)]
    drawn = list(walk(frames, config, clock))
    tracked = min(followed(frames, config) for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "film.mp4"
        plain = encode(((frame, frame.picture) for frame in frames), config, template, path)
        path.unlink()
        marked = encode(drawn, config, template, path)
    return {
        "machine": machine.facts(),
        "films": {film.name: described(film)},
        "frames": len(frames),
        "parts_ms": clock.figures(),
        "track_ms": tracked,
        "encode_ms": {"as they are": plain, "drawn over": marked},
    }


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    parts = result["parts_ms"]
    sums = {name: sum(ms[name] for ms in parts.values()) for name in ("median", "least")}
    rows = [
        f"| {name} | {ms['median']:.2f} | {ms['least']:.2f} |"
        for name, ms in [*parts.items(), ("all of these", sums)]
    ]
    rows.append(f"| track, a look every {LOOK} frames | {result['track_ms']:.2f} (mean) | – |")
    rows += [f"| encode, {how} | {ms:.2f} | – |" for how, ms in result["encode_ms"].items()]
    return "\n".join(["| part | ms a frame, median | least |", "|---|---|---|", *rows])


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("input", type=Path, help="video file")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    result = measure(args.input, args.frames)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)


if __name__ == "__main__":
    main()
