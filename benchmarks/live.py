"""Delay from a camera to the written frame, by a number burned into the pictures.

    python benchmarks/live.py FOOTAGE [--seconds 60] [--config rtsp] [--set KEY=VALUE] [--json FILE]

The footage, scaled to 1080p at 25 frames a second, gets its frame number as black and white blocks
along its lower edge and is encoded once. A process of its own then plays the camera: it sends frame
n over HTTP, as MPEG-TS, n / 25 s after a moment that both know. What is read back from each frame
once it is encoded and muxed says when it left the camera: the difference is the delay. It holds
opening, decoding, waiting, network, drawing and encoding; not the lens, the camera's encoder
and a player.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import av
import machine
import numpy as np
from numpy.typing import NDArray

from rustvid.cli import config_path
from rustvid.config import Config, apply, load
from rustvid.frames import Measured, Picture
from rustvid.live.watch import watch

SIZE, RATE = (1920, 1080), 25
BITS, BLOCK, EDGE = 16, 48, 32  # of the number; pixels of a block, and between it and the edge
SLACK = 40.0  # seconds for the network to load
SETTLED = 5.0  # seconds after the first frame that are left out: opening comes as a heap


def burn(luma: NDArray[np.uint8], number: int) -> None:
    """Write the number into a luma plane (h, w): a block for each bit, white is 1."""
    for bit in range(BITS):
        left = EDGE + bit * BLOCK
        luma[-EDGE - BLOCK : -EDGE, left : left + BLOCK] = 235 if number >> bit & 1 else 16


def read_back(luma: NDArray[Any]) -> int:
    """The number of a luma plane that `burn` has written to."""
    inner = luma[-EDGE - BLOCK + 12 : -EDGE - 12]
    lefts = [EDGE + bit * BLOCK + 12 for bit in range(BITS)]
    return sum(int(inner[:, at : at + 24].mean() > 125) << bit for bit, at in enumerate(lefts))


def film(footage: Path, seconds: float, path: Path) -> Path:
    """The footage again and again, numbered, in H.264 with a key frame a second."""
    with av.open(str(path), "w", format="mpegts") as sink:
        options = {"preset": "veryfast", "bf": "0", "crf": "23"}
        stream = sink.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.codec_context.gop_size = "yuv420p", RATE
        number = 0
        while number < seconds * RATE:
            with av.open(str(footage)) as source:
                for frame in source.decode(video=0):
                    scaled = frame.reformat(*SIZE, format="yuv420p")
                    planes = scaled.to_ndarray()
                    burn(planes[: SIZE[1]], number)
                    numbered = av.VideoFrame.from_ndarray(planes, "yuv420p")
                    numbered.pts, numbered.time_base = number, Fraction(1, RATE)
                    sink.mux(stream.encode(numbered))
                    number += 1
                    if number >= seconds * RATE:
                        break
        sink.mux(stream.encode(None))
    return path


def serve(path: Path, began: float) -> None:
    """The camera: whoever comes gets the frames from now on, each at its moment."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            with av.open(str(path)) as source, out_to(self.wfile) as sink:
                copy = sink.add_stream_from_template(source.streams.video[0])
                first: int | None = None
                for number, packet in enumerate(source.demux(video=0)):
                    if packet.dts is None:
                        continue
                    due = began + number / RATE - time.time()
                    if first is None and (due < 0 or not packet.is_keyframe):
                        continue
                    first = number if first is None else first
                    time.sleep(max(due, 0.0))
                    packet.stream = copy
                    sink.mux(packet)

        def log_message(self, *arguments: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def out_to(file: Any) -> Any:
    """A container that is written to a socket at once."""
    options = {"flush_packets": "1", "muxdelay": "0"}
    return av.open(Unbuffered(file), "w", format="mpegts", options=options)


class Unbuffered:
    """What PyAV asks of a file that is only written."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return int(self._file.write(data) or len(data))


def measured(config: Config, seconds: float, began: float) -> dict[str, Any]:
    """Run on the camera for so long; the delays of all frames written after the first seconds."""
    delays: list[tuple[float, float]] = []

    def written(result: Measured, drawn: Picture) -> None:
        now = time.time()
        number = read_back(result.frame.picture.planes[0])
        delays.append((now, now - (began + number / RATE)))

    def over() -> bool:
        return bool(delays) and time.time() - delays[0][0] > seconds

    summary = watch(config, over, written=written)
    summary.raise_for_error()
    settled = sorted(delay for now, delay in delays if now - delays[0][0] > SETTLED)
    return {
        "frames": len(settled),
        "frames_per_second": round(len(settled) / (seconds - SETTLED), 1),
        "delay_median_s": round(median(settled), 3),
        "delay_p99_s": round(settled[int(0.99 * len(settled))], 3),
        "delay_max_s": round(settled[-1], 3),
        "own_estimate_median_s": round(summary.latency_median or 0.0, 3),
        "camera": summary.live,
        "stages": {name: round(busy, 1) for name, busy in summary.stages.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("footage", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.footage, options.serve)
        return
    config = load(config_path(options.config), Config())
    for assignment in options.set:
        config = apply(config, assignment)
    with tempfile.TemporaryDirectory() as folder:
        numbered = film(options.footage, options.seconds + SLACK, Path(folder) / "film.ts")
        began = time.time() + 1
        words = [sys.executable, __file__, str(numbered), "--serve", str(began)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as camera:
            try:
                assert camera.stdout
                url = f"http://127.0.0.1:{int(camera.stdout.readline())}/live"
                output = replace(config.output, path=str(Path(folder) / "live.mp4"))
                found = measured(replace(config, input=url, output=output), options.seconds, began)
            finally:
                camera.kill()
    result = {"config": options.config, "set": options.set, **found, "machine": machine.facts()}
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
