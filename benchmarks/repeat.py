"""Does the same film give the same bytes again? x264 alone, and the whole pipeline.

    python benchmarks/repeat.py [--encodes 40] [--runs 40]

Alone: the same raw pictures through PyAV's libx264, again and again, by several settings of its
threads. Pipeline: the pictures that the encoder is given, and the packets that it makes, run after
run, with a network that sees colours; so it shows whose the difference is, if there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lean  # noqa: E402

lean.without_keras()

import av  # noqa: E402
import media  # noqa: E402
from av.video.frame import PictureType  # noqa: E402
from fakes import ColourModel, quick  # noqa: E402

from rustvid.pipeline import run  # noqa: E402
from rustvid.video import muxed  # noqa: E402

FRAMES, SIZE, RATE = 210, (96, 72), 30
AS_SHIPPED = {"crf": "20", "preset": "veryfast", "rc-lookahead": "10"}
SETTINGS: dict[str, dict[str, str]] = {
    "as shipped": {},
    "one thread": {"threads": "1"},
    "four threads": {"threads": "4"},
    "sliced threads": {"x264-params": "sliced-threads=1"},
    "no look-ahead thread": {"x264-params": "sync-lookahead=0"},
}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def encoded(pictures: list[Any], options: dict[str, str]) -> tuple[str, ...]:
    """A digest of every packet; a key frame is asked for every second, as the pipeline does."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = SIZE
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, RATE)
    context.framerate, context.gop_size = Fraction(RATE), 2 * RATE
    context.options = AS_SHIPPED | options
    packets = []
    for number, planes in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        if number % RATE == 0:
            frame.pict_type = PictureType.I
        packets += context.encode(frame)
    return tuple(digest(bytes(packet)) for packet in [*packets, *context.encode(None)])


def piped(film: Path, out: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Digests of the raw pictures that the encoder is given, and of its packets."""
    given: list[str] = []
    made: list[str] = []
    picture, mux = muxed.video_frame, muxed.VideoSink._mux_video

    def seen(drawn: Any) -> Any:
        frame = picture(drawn)
        given.append(digest(frame.to_ndarray().tobytes()))
        return frame

    def noted(self: Any, packets: Any) -> None:
        made.extend(digest(bytes(packet)) for packet in packets)
        mux(self, packets)

    muxed.video_frame, muxed.VideoSink._mux_video = seen, noted  # type: ignore[method-assign]
    try:
        config = quick(f"output.path={out}", "output.overwrite=true")
        run(replace(config, input=str(film)), model=ColourModel()).raise_for_error()
    finally:
        muxed.video_frame, muxed.VideoSink._mux_video = picture, mux  # type: ignore[method-assign]
    return tuple(given), tuple(made)


def main() -> int:
    """Print how often which result came. 1: not always the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encodes", type=int, default=40)
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    pictures = [
        av.VideoFrame.from_ndarray(media.picture(n, SIZE), "rgb24").reformat(format="yuv420p")
        for n in range(FRAMES)
    ]
    raw = [picture.to_ndarray() for picture in pictures]
    same = True
    for name, more in SETTINGS.items():
        found = Counter(encoded(raw, more) for _ in range(options.encodes))
        print(f"{name}: {options.encodes} encodes, {len(found)} different", flush=True)
        same = same and len(found) <= 1
    with tempfile.TemporaryDirectory() as folder:
        film = media.clip(Path(folder) / "film.mp4", frames=FRAMES, size=SIZE)
        results = [piped(film, Path(folder) / "out.mp4") for _ in range(options.runs)]
    given, made = (len({result[n] for result in results}) for n in (0, 1))
    print(f"pipeline: {options.runs} runs, {given} different pictures, {made} different packets")
    return int(not same or given > 1 or made > 1)


if __name__ == "__main__":
    sys.exit(main())
