"""Frames per second, from decoding alone to the whole pipeline, against transcoding alone.

    python benchmarks/speed.py footage.mp4 [--json FILE] [--rounds 5]

decode       PyAV, threads AUTO
source       decode and convert, as the pipeline's source does
transcode    decode and encode, audio copied: no more than any annotated video costs
null         the pipeline with a model that answers at once and a refiner of one resize
default      the pipeline as shipped
advanced-16  the paper's network of 16 filters, K-means and CRF, for every frame
advanced-64  the same with 64 filters; random weights, which cost as much as trained ones

Each is measured in a process of its own, once in every round, in an order that turns. Loading the
model is not counted and reported apart; starting worker processes is counted. A measurement that
other processes disturbed is repeated, and the least disturbed try is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import machine
import numpy as np

sys.path.insert(0, str(machine.ROOT))

from rustvid.config import Config, SourceConfig, apply

# Written out, so that transcoding alone and every pipeline encode alike.
ENCODER = {"codec": "h264", "preset": "veryfast", "crf": 20}
LIBRARY = {"h264": "libx264"}
KEY_FRAME_SECONDS = 2  # as the pipeline's sink, which loses no more than that in a crash
IMAGE_SIZE = (572, 572)  # of the pictures for the network ("Workflow")

# threshold=0: every frame is refined, the most there can be to do
_ADVANCED = ("sample.every=1", "model.threshold=0", "refine.method=advanced", "refine.size=572")
PIPELINES: dict[str, tuple[str, ...]] = {
    "null": ("sample.every=1", "refine.method=student", "refine.size=572"),
    "default": (),
    "advanced-16": (*_ADVANCED, "model.name=rustseg-lite"),
    "advanced-64": (*_ADVANCED, "model.name=random-64.npz"),
}
SLOW = ("advanced-16", "advanced-64")  # measured on the beginning of the film only
NAMES = ("decode", "source", "transcode", *PIPELINES)


@dataclass
class Measurement:
    """One contestant, measured once.

    cpu_s: processor seconds of the process and its workers while it was measured
    others: share of all cores that other processes had meanwhile; None where unknown
    """

    frames: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    others: float | None = None
    load_s: float = 0.0
    refined: int | None = None
    stage_s: dict[str, float] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        return self.frames / self.seconds


class NullModel:
    """Offers what rustvid.method.classify.Network asks for; says at once that a disc is rust."""

    name = "null"
    digest = "0" * 64
    precision = "none"
    batch = 4
    size = IMAGE_SIZE

    def __init__(self) -> None:
        from rustvid.method.classify import Answer

        self.seconds = 0.0
        rows, columns = np.mgrid[-1:1:286j, -1:1:286j]
        disc = (rows**2 + columns**2 < 0.25).astype(np.float32)  # 20 % of the picture
        self._answers = [
            Answer(np.ones(count, np.float32), np.stack([disc] * count))
            for count in range(1, self.batch + 1)
        ]

    def look(self, images: Sequence[Any]) -> Any:
        return self._answers[len(images) - 1]


# --- the contestants


def decode(film: Path, folder: Path, end: float | None) -> Measurement:
    """Decode only."""
    result = Measurement()
    with stopwatch(result), av.open(str(film)) as source:
        source.streams.video[0].thread_type = "AUTO"
        result.frames = sum(1 for _ in source.decode(video=0))
    return result


def convert(film: Path, folder: Path, end: float | None) -> Measurement:
    """Decode, and make the picture for the network."""
    from rustvid.video import open_source

    result = Measurement()
    with stopwatch(result), open_source(str(film), IMAGE_SIZE, SourceConfig()) as source:
        result.frames = sum(1 for _ in source.frames())
    return result


def transcode(film: Path, folder: Path, end: float | None) -> Measurement:
    """Decode and encode; every other packet is copied."""
    result = Measurement()
    with (
        stopwatch(result),
        av.open(str(film)) as source,
        av.open(str(folder / "transcoded.mp4"), "w") as sink,
    ):
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        options = {name: str(ENCODER[name]) for name in ("preset", "crf")}
        out = sink.add_stream(LIBRARY[ENCODER["codec"]], rate=video.average_rate, options=options)
        out.width, out.height, out.pix_fmt = video.width, video.height, video.pix_fmt
        out.codec_context.time_base = video.time_base
        out.codec_context.gop_size = round(KEY_FRAME_SECONDS * video.average_rate)
        copies = {s.index: sink.add_stream_from_template(s) for s in source.streams.audio}
        for packet in source.demux(video, *source.streams.audio):
            if packet.stream is video:
                for frame in packet.decode():
                    frame.pict_type = 0  # for the encoder to choose
                    sink.mux(out.encode(frame))
                    result.frames += 1
            elif packet.size:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
        sink.mux(out.encode(None))
    return result


def pipeline(name: str, film: Path, folder: Path, end: float | None) -> Measurement:
    """The pipeline: annotated video and table are written, the model is loaded before."""
    began = time.perf_counter()
    from rustvid.method.classify import Model
    from rustvid.pipeline import run

    config = configuration(name, film, folder, end)
    if config.model.name == "random-64.npz":
        weights = random_weights(folder / config.model.name)
        config = apply(config, f"model.name={json.dumps(str(weights))}")
        began = time.perf_counter()
    model = NullModel() if name == "null" else Model(config.model, config.localise.score)
    blank = np.zeros((*model.size[::-1], 3), np.uint8)
    model.look([blank] * model.batch)  # the first pass compiles
    result = Measurement(load_s=time.perf_counter() - began, refined=0)

    def count(measured: Any, expected: int | None) -> None:
        result.refined += measured.evidence is not None

    with stopwatch(result):
        summary = run(config, count, model)
    summary.raise_for_error()
    result.frames = summary.frames
    result.stage_s = {stage: round(busy, 3) for stage, busy in summary.stages.items()}
    return result


def configuration(name: str, film: Path, folder: Path, end: float | None) -> Config:
    """The shipped defaults with what this pipeline changes, and where it reads and writes."""
    config = replace(Config(), input=str(film))
    for assignment in PIPELINES[name]:
        config = apply(config, assignment)
    output = {**ENCODER, "path": str(folder / f"{name}.mp4"), "overwrite": True}
    source = replace(config.source, end=end if name in SLOW else None)
    return replace(config, source=source, output=replace(config.output, **output))


def random_weights(path: Path) -> Path:
    """He uniform weights of the paper's network, 64 filters, made once."""
    if not path.exists():
        import keras

        from rustvid.method import network

        keras.utils.set_random_seed(0)
        network.save_weights(network.build(network.PAPER_FILTERS), path)
    return path


CONTESTANTS: dict[str, Callable[[Path, Path, float | None], Measurement]] = {
    "decode": decode,
    "source": convert,
    "transcode": transcode,
}


# --- measuring


@contextmanager
def stopwatch(result: Measurement) -> Iterator[None]:
    """Wall time, own processor time, and the share of the machine that others had."""
    cpu, busy, began = _own_cpu(), _machine_cpu(), time.perf_counter()
    try:
        yield
    finally:
        result.seconds = time.perf_counter() - began
        result.cpu_s = _own_cpu() - cpu
        if (after := _machine_cpu()) is not None and busy is not None:
            others = after - busy - result.cpu_s
            result.others = max(0.0, others / (result.seconds * (os.cpu_count() or 1)))


def _own_cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine_cpu() -> float | None:
    """Processor seconds that all processes together have had since the start."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def measured(name: str, args: argparse.Namespace, folder: Path) -> Measurement:
    """Measure in a new process; again, if others had more than their share of the machine."""
    tries: list[Measurement] = []
    while not tries or (len(tries) < args.tries and (tries[-1].others or 0) > args.others):
        command = [sys.executable, __file__, str(args.input), "--only", name, "--folder", folder]
        command += ["--seconds", str(args.seconds)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        child = subprocess.run(command, env=quiet, capture_output=True, text=True)
        if child.returncode:
            sys.exit(f"{name}: {child.stderr}")
        tries.append(Measurement(**json.loads(child.stdout.splitlines()[-1])))
    return min(tries, key=lambda one: one.others or 0)


def compete(args: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Every contestant once in every round; the order turns from round to round."""
    names = [name for name in NAMES if name in args.contestants]
    results: dict[str, list[Measurement]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                one = measured(name, args, Path(folder))
                results[name].append(one)
                others = "" if one.others is None else f", others had {100 * one.others:.0f} %"
                print(
                    f"round {number + 1} {name:12} {one.fps:7.2f} frames/s, "
                    f"{1000 * one.cpu_s / one.frames:6.1f} ms of processor a frame{others}",
                    file=sys.stderr,
                )
    return results


# --- the result


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median and extremes."""
    named = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in named.items()}


def summarised(name: str, runs: list[Measurement], ceiling: list[Measurement]) -> dict[str, Any]:
    """What the JSON says of one contestant."""
    facts: dict[str, Any] = {
        "frames": runs[0].frames,
        "fps": spread([run.fps for run in runs]),
        "cpu_ms_per_frame": spread([1000 * run.cpu_s / run.frames for run in runs], 1),
        "load_s": spread([run.load_s for run in runs], 1),
    }
    if ceiling:
        ratios = [run.fps / top.fps for run, top in zip(runs, ceiling, strict=True)]
        facts["of_transcode"] = spread(ratios, 3)
    if name in PIPELINES:
        facts["settings"] = PIPELINES[name]
        facts["refined_frames"] = runs[0].refined
    facts["rounds"] = [{**asdict(run), "fps": round(run.fps, 2)} for run in runs]
    return facts


def report(args: argparse.Namespace, results: dict[str, list[Measurement]]) -> dict[str, Any]:
    """The whole JSON."""
    with av.open(str(args.input)) as film:
        video = film.streams.video[0]
        described = {
            "name": args.input.name,
            "sha256": machine.file_digest(args.input),
            "size": [video.width, video.height],
            "frames": video.frames,
            "rate": str(video.average_rate),
            "codec": video.codec_context.name,
        }
    ceiling = results.get("transcode", [])
    return {
        "machine": machine.facts(),
        "input": described,
        "encoder": ENCODER,
        "notes": {
            "slow": f"{' and '.join(SLOW)}: the first {args.seconds} s of the film only",
            "threshold": "advanced: model.threshold=0, so that every frame is refined",
            "weights": "advanced-64: random He uniform weights; speed does not depend on values",
            "load": "load_s (import, weights, first pass) is not part of fps",
        },
        "contestants": {name: summarised(name, runs, ceiling) for name, runs in results.items()},
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
    parser.add_argument("--others", type=float, default=0.1, help="disturbed above this share")
    parser.add_argument("--tries", type=int, default=3, help="for a disturbed measurement")
    parser.add_argument("--only", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure everything; or, in a process of its own, one contestant once."""
    args = arguments()
    if args.only:
        if args.only in PIPELINES:
            one = pipeline(args.only, args.input, args.folder, args.seconds)
        else:
            one = CONTESTANTS[args.only](args.input, args.folder, args.seconds)
        print(json.dumps(asdict(one)))
        return
    result = report(args, compete(args))
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)


if __name__ == "__main__":
    main()
