"""What is raced: decoding, converting, transcoding, and pipelines of every configuration.

Each runs once, in the process that calls it: rounds.py gives every one a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from rustvid.bench.measurement import IMAGE_SIZE, Kind, Measurement, disc, stopwatch
from rustvid.config import Config, OutputConfig, SourceConfig
from rustvid.frames import Measured
from rustvid.method.classify import Answer, Network
from rustvid.method.model import Model
from rustvid.method.models import Kind as ModelKind
from rustvid.pipeline import run
from rustvid.video import open_source
from rustvid.video.copies import holds
from rustvid.video.encoders import ENCODERS, encoder_options, pixel_format
from rustvid.video.muxed import GROUP_SECONDS
from rustvid.video.planes import Converter, is_rgb


class NullModel:
    """Offers what rustvid.method.classify.Network asks for; says at once that a disc is rust."""

    kind: ModelKind = "student"
    name = "null"
    digest = "0" * 64
    precision = "none"
    batch = 4
    size = IMAGE_SIZE

    def __init__(self) -> None:
        self.seconds = 0.0
        self._answers = [
            Answer(np.ones(count, np.float32), np.stack([disc()] * count))
            for count in range(1, self.batch + 1)
        ]

    def look(self, images: Sequence[Any]) -> Answer:
        """The same answer for any 1 to `batch` pictures."""
        return self._answers[len(images) - 1]


def race(kind: Kind, config: Config, folder: Path) -> Measurement:
    """Run one contestant over `config.input`, between `config.source.start` and `.end`.

    folder: for what it writes
    Decoding and converting read the whole film, whatever the configuration says.
    """
    film = Path(str(config.input))
    if kind == "decode":
        return decode(film)
    if kind == "source":
        return convert(film)
    if kind == "transcode":
        return transcode(film, folder / "transcoded.mp4", config.output)
    if kind == "refine":  # nothing is drawn or encoded
        output = replace(config.output, csv=str(folder / "table.csv"), overwrite=True)
    else:
        output = replace(config.output, path=str(folder / "annotated.mp4"), overwrite=True)
    if kind == "null":
        config = replace(config, refine=replace(config.refine, method="student"))
    return pipeline(replace(config, output=output), null=kind != "pipeline")


def decode(film: Path) -> Measurement:
    """Decode only: PyAV, threads AUTO."""
    result = Measurement()
    with stopwatch(result), av.open(str(film)) as source:
        source.streams.video[0].thread_type = "AUTO"
        result.frames = sum(1 for _ in source.decode(video=0))
    return result


def convert(film: Path) -> Measurement:
    """Decode as the pipeline's source does, and make the picture for the network."""
    result = Measurement()
    with stopwatch(result), open_source(str(film), IMAGE_SIZE, SourceConfig()) as source:
        result.frames = sum(1 for frame in source.frames() if frame.image.size)
    return result


def transcode(film: Path, out: Path, config: OutputConfig) -> Measurement:
    """Decode and encode as the pipeline would; the sound is copied where .mp4 holds it. No video
    costs less."""
    result, kind = Measurement(), _encoded_as(film, config.codec)
    with stopwatch(result), av.open(str(film)) as source, av.open(str(out), "w") as sink:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        options = encoder_options(config, "mp4", Fraction(video.average_rate or 25))
        encoder: Any = ENCODERS[config.codec]
        stream: Any = sink.add_stream(encoder, rate=video.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, kind
        stream.codec_context.time_base = video.time_base
        stream.codec_context.gop_size = round(GROUP_SECONDS * (video.average_rate or 25))
        sounds = [sound for sound in source.streams.audio if holds("mp4", sound)]
        copies = {sound.index: sink.add_stream_from_template(sound) for sound in sounds}
        for packet in source.demux(video, *sounds):
            if packet.stream is video:
                for frame in packet.decode():
                    picture: Any = frame
                    picture.pict_type = 0  # for the encoder to choose
                    sink.mux(stream.encode(picture))
                    result.frames += 1
            elif packet.size:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
        sink.mux(stream.encode(None))
    return result


def _encoded_as(film: Path, codec: str) -> str | None:
    """The format in which the pipeline has the film's pictures encoded."""
    supported = [known.name for known in av.Codec(ENCODERS[codec], "w").video_formats or []]
    with av.open(str(film)) as source:
        frame = next(source.decode(video=0))
    picture = Converter((1, 1)).picture(frame, Fraction(1))
    return pixel_format(codec, picture, is_rgb(frame.format), supported)[0]


def pipeline(config: Config, null: bool = False) -> Measurement:
    """The pipeline as configured; the model is loaded, and has looked once, before.

    null: with a network that costs nothing
    """
    began = time.perf_counter()
    model = NullModel() if null else loaded(config)
    blank = np.zeros((*model.size[::-1], 3), np.uint8)
    model.look([blank] * model.batch)  # the first pass compiles
    result = Measurement(load_s=time.perf_counter() - began, precision=model.precision)
    refined = analysed = 0

    def count(measured: Measured, expected: int | None) -> None:
        nonlocal refined, analysed
        refined += measured.evidence is not None
        analysed += measured.analysed

    with stopwatch(result):
        summary = run(config, count, model)
    summary.raise_for_error()
    result.frames, result.refined, result.analysed = summary.frames, refined, analysed
    result.stage_s = {stage: round(busy, 3) for stage, busy in summary.stages.items()}
    return result


def loaded(config: Config) -> Network:
    """The model of a configuration."""
    return Model(config.model, config.localise)
