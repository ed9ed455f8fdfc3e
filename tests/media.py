"""Small test videos, made by PyAV alone: no network, no ffmpeg program, no files in the repository.

Every frame of a `clip` carries its index as two rows of black and white blocks along the bottom
(a bit is 1 where white is above black), which survives lossy coding, scaling and tinting:
`frame_number(decoded)` reads it back. Above it are painted steel, a light bar that moves to the
right, and a still rust-coloured patch at `patch_mask(size)`. All of it is drawn as the viewer
should see it (upright RGB), then turned, scaled to range and matrix, and tagged: a reader that
heeds every tag gets the same RGB from every clip, which is `picture(index, size)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.bitstream
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rustvid.video import priority

if TYPE_CHECKING:
    from av.container.core import Chapter  # in PyAV's type stubs only

BITS = 14  # of the frame number
RUST = (148, 74, 34)  # RGB of the patch, before its texture
SAMPLE_RATE = 48000

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
TAGS = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 9, 14)}  # matrix, primaries, transfer
QUICK = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=error"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "crf": "30"},
    "mjpeg": {"qmin": "2", "qmax": "4"},
    "mpeg4": {"qmin": "2", "qmax": "5"},
}
SOUND_IN = {".webm": "libopus", ".avi": "ac3"}  # elsewhere aac
SUBTITLES_IN = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
DATA_IN = {".ts": "klv", ".mp4": "bin_data"}


@dataclass(frozen=True)
class Clip:
    """What to make; every argument of `clip`.

    size: (width, height) as seen, so stored the other way round if rotation is 90 or 270
    rotation: degrees counter-clockwise that make the stored picture upright
    matrix, full_range: how the pixels are really coded; `tagged` says whether the file tells
    vfr: irregular steps between frames, of 1 to 3.25 / rate
    audio: number of tracks, each a tone; subtitle, data: one track each, where the container can
    chapters: two, splitting the clip in the middle
    options: of the encoder, on top of QUICK; container_options: of the muxer
    """

    frames: int = 30
    size: tuple[int, int] = (160, 120)
    rate: Fraction = Fraction(30)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    audio: int = 1
    subtitle: bool | str = False  # a str: what each line of it says
    data: bool = False
    chapters: bool = False
    rotation: int = 0
    pixel_aspect: Fraction | None = None
    matrix: str = "bt709"
    full_range: bool = False
    tagged: bool = True
    vfr: bool = False
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def ticks(self) -> list[int]:
        """Time of each frame, in quarters of 1 / rate."""
        steps = (4, 6, 4, 13, 5, 4, 9) if self.vfr else (4,)
        return [int(t) for t in np.cumsum([0, *(steps * self.frames)])[: self.frames]]

    @property
    def seconds(self) -> Fraction:
        """From the first frame to the end of the last one."""
        return Fraction(self.ticks[-1] + 4, 4) / self.rate


def clip(path: Path, **wanted: Any) -> Path:
    """Write a test video; the keywords are the fields of `Clip`, the suffix says the container."""
    look = Clip(**wanted)
    with av.open(str(path), "w", options=look.container_options) as container:
        container.metadata.update(look.metadata)
        if look.chapters:
            container.set_chapters(_chapters(look.seconds))
        video = _add_video(container, look)
        sounds = [
            _add_sound(container, SOUND_IN.get(path.suffix, "aac")) for _ in range(look.audio)
        ]
        texts = [container.add_mux_stream(SUBTITLES_IN[path.suffix])] if look.subtitle else []
        data = [container.add_data_stream(DATA_IN[path.suffix])] if look.data else []
        with priority.unchanged():
            container.start_encoding()
        said = look.subtitle if isinstance(look.subtitle, str) else ""
        _write_texts(container, texts + data, look.seconds, said)
        for number, sound in enumerate(sounds):
            _write_tone(container, sound, look.seconds, 440.0 * (number + 1))
        for index, tick in enumerate(look.ticks):
            container.mux(video.encode(_coded(index, tick, look)))
        container.mux(video.encode(None))
    return path


# --- what is in a frame


def picture(index: int, size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """The frame as it should be seen: (h, w, 3) uint8 RGB."""
    width, height = size
    rgb = _still(size).copy()
    bar = np.arange(width) - (index * max(width // 40, 1)) % width
    rgb[: height // 4, (bar >= 0) & (bar < width // 8)] = 225
    bits = (index >> np.arange(BITS)) & 1
    columns = bits[np.arange(width) * BITS // width] == 1
    top, middle = height - 2 * (height // 10), height - height // 10
    rgb[top:middle] = np.where(columns, 235, 20)[None, :, None]
    rgb[middle:] = np.where(columns, 20, 235)[None, :, None]
    return rgb


def frame_number(decoded: NDArray[Any]) -> int:
    """Read the index painted into a frame: (h, w) or (h, w, 3), upright, any size and depth."""
    gray = decoded.mean(axis=2) if decoded.ndim == 3 else decoded.astype(np.float64)
    height, width = gray.shape
    edges = np.arange(BITS) * width / BITS + width / BITS / 2
    reach = max(width // BITS // 5, 1)
    index = 0
    for bit, centre in enumerate(edges):
        column = gray[:, int(centre) - reach : int(centre) + reach + 1]
        upper = column[height - round(height * 0.17) : height - round(height * 0.13)].mean()
        lower = column[height - round(height * 0.07) : height - round(height * 0.03)].mean()
        index |= int(upper > lower) << bit
    return index


def patch_mask(size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """Where the rust is painted, upright: (h, w) uint8, 0 or 1."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    mask[round(height * 0.35) : round(height * 0.7), round(width * 0.5) : round(width * 0.85)] = 1
    return mask


@lru_cache(maxsize=8)
def _still(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Everything in the frame that does not move: (h, w, 3) uint8 RGB."""
    width, height = size
    shade = np.linspace(-25, 25, width)[None] + np.linspace(15, -15, height)[:, None]
    paint = np.array((118, 130, 138)) + shade[..., None]
    coarse = np.random.default_rng(3).normal(0, 16, (9, 12)).astype(np.float32)
    rust = np.array(RUST) + cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)[..., None]
    rgb = np.where(patch_mask(size)[..., None] == 1, rust, paint)
    return np.clip(rgb, 0, 255).astype(np.uint8)


# --- coding it


def _add_video(container: OutputContainer, look: Clip) -> VideoStream:
    options = QUICK.get(look.codec, {}) | look.options
    video = container.add_stream(look.codec, rate=look.rate, options=options)
    assert isinstance(video, VideoStream)
    width, height = look.size[::-1] if look.rotation % 180 else look.size
    video.width, video.height, video.pix_fmt = width, height, look.pix_fmt
    video.codec_context.time_base = 1 / (look.rate * (4 if look.vfr else 1))
    video.codec_context.gop_size = 12
    if container.format.name == "avi":
        video.codec_context.max_b_frames = 0  # avi keeps one time per packet
    if look.pixel_aspect:
        video.codec_context.sample_aspect_ratio = look.pixel_aspect
    if look.tagged:
        matrix, primaries, transfer = TAGS[look.matrix]
        video.codec_context.colorspace = matrix
        video.codec_context.color_primaries = primaries
        video.codec_context.color_trc = transfer
        video.codec_context.color_range = 2 if look.full_range else 1
    if look.rotation:
        video.set_display_rotation(look.rotation)
    return video


def _coded(index: int, tick: int, look: Clip) -> av.VideoFrame:
    """The frame as the encoder wants it: turned, in the clip's matrix and range, tagged."""
    stored = np.ascontiguousarray(np.rot90(picture(index, look.size), -look.rotation // 90))
    kind = av.VideoFormat(look.pix_fmt)
    if kind.name.startswith("yuv"):
        frame = av.VideoFrame(stored.shape[1], stored.shape[0], look.pix_fmt)
        for plane, values in zip(frame.planes, _yuv(stored, kind, look), strict=True):
            _fill(plane, values)
    else:
        frame = av.VideoFrame.from_ndarray(stored, "rgb24").reformat(format=look.pix_fmt)
    if look.tagged:
        frame.colorspace, frame.color_primaries, frame.color_trc = TAGS[look.matrix]
        frame.color_range = 2 if look.full_range else 1
    frame.pts = tick if look.vfr else index
    frame.time_base = 1 / (look.rate * (4 if look.vfr else 1))
    return frame


def _yuv(rgb: NDArray[np.uint8], kind: av.VideoFormat, look: Clip) -> Iterator[NDArray[Any]]:
    """The planes Y, U, V by the definition of the matrix, independent of swscale."""
    kr, kb = KR_KB[look.matrix]
    red, green, blue = (rgb[..., i].astype(np.float64) / 255 for i in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue  # in [0, 1]
    chroma = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)  # in [-0.5, 0.5]
    bits = kind.components[0].bits
    full = look.full_range or kind.name.startswith("yuvj")
    top, step = 2**bits - 1, 2 ** (bits - 8)
    store = np.uint8 if bits == 8 else np.uint16
    yield np.rint(luma * top if full else luma * 219 * step + 16 * step).astype(store)
    for plane in chroma:
        small = _subsampled(plane, kind)
        scaled = small * top if full else small * 224 * step
        yield np.clip(np.rint(scaled + 128 * step), 0, top).astype(store)


def _subsampled(plane: NDArray[np.float64], kind: av.VideoFormat) -> NDArray[np.float64]:
    """Mean over each chroma sample's luma pixels; edges are repeated for odd sizes."""
    across, down = 2 // kind.chroma_width(2), 2 // kind.chroma_height(2)
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _fill(plane: Any, values: NDArray[Any]) -> None:
    """Copy an array into a plane, whose lines may be longer."""
    lines = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
    lines[:, : values.shape[1]] = values
    plane.update(lines)


# --- the other tracks


def _add_sound(container: OutputContainer, codec: str) -> Any:
    return container.add_stream(codec, rate=SAMPLE_RATE, layout="mono")


def _write_tone(container: OutputContainer, sound: Any, seconds: Fraction, hertz: float) -> None:
    total = round(seconds * SAMPLE_RATE)
    tone = (0.1 * np.sin(2 * np.pi * hertz * np.arange(total) / SAMPLE_RATE)).astype(np.float32)
    step = sound.codec_context.frame_size or 1024
    for start in range(0, total, step):
        samples = tone[None, start : start + step]
        form = sound.codec_context.format.name
        if form == "s16":  # libopus
            samples = (samples * 32767).astype(np.int16)
        chunk = av.AudioFrame.from_ndarray(samples, "s16" if form == "s16" else "fltp", "mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        container.mux(sound.encode(chunk))
    container.mux(sound.encode(None))


def _write_texts(
    container: OutputContainer, streams: list[Any], seconds: Fraction, said: str
) -> None:
    """A line every half second, as raw packets: no encoder of PyAV's makes them alone."""
    for stream in streams:
        for number in range(int(seconds * 2)):
            text = (said or f"height {10 + number} m").encode()
            if container.format.name in ("mp4", "mov") and stream.type == "subtitle":
                text = len(text).to_bytes(2, "big") + text
            packet = av.Packet(text)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = number * 500
            packet.duration = 400
            container.mux(packet)


def _chapters(seconds: Fraction) -> list[Chapter]:
    middle, end = int(seconds * 500), int(seconds * 1000)
    return [_chapter(0, 0, middle, "first half"), _chapter(1, middle, end, "second half")]


def _chapter(number: int, start: int, end: int, title: str) -> Chapter:
    """Start and end in milliseconds."""
    unit, tags = Fraction(1, 1000), {"title": title}
    return {"id": number, "start": start, "end": end, "time_base": unit, "metadata": tags}


# --- files that are wrong, and files that are not videos


def truncated(path: Path, share: float) -> Path:
    """The first `share` of the file's bytes, as NAME-cut.SUFFIX beside it."""
    cut = path.with_stem(path.stem + "-cut")
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return cut


def noisy(path: Path, amount: int = 100) -> Path:
    """Bytes of video packets changed, about one in `amount`, as NAME-noisy.SUFFIX beside it."""
    spoilt = path.with_stem(path.stem + "-noisy")
    with av.open(str(path)) as source, av.open(str(spoilt), "w") as sink:
        copies = {s.index: sink.add_stream_from_template(s) for s in source.streams}
        video = source.streams.video[0]
        noise = av.bitstream.BitStreamFilterContext(f"noise=amount={amount}", video)
        for packet in source.demux():
            if not packet.size:  # the end of a track
                continue
            copy = copies[packet.stream.index]
            for piece in noise.filter(packet) if packet.stream == video else [packet]:
                piece.stream = copy
                sink.mux(piece)
    return spoilt


def split(path: Path, cuts: Sequence[float], folder: Path) -> list[Path]:
    """The packets of a film in several files, as a camera cuts it: each begins with a key frame.

    cuts: seconds; the key frame at or after each begins a new file, NAME_0001.SUFFIX and so on
    """
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        keys = [Fraction(p.pts * p.time_base) for p in source.demux(video) if p.is_keyframe]
    begins = [min(keys), *(min(key for key in keys if key >= cut) for cut in cuts)]
    pieces = []
    for number, (begin, end) in enumerate(pairwise([*begins, None]), start=1):
        piece = folder / f"{path.stem}_{number:04d}{path.suffix}"
        pieces.append(_piece(path, piece, begin if number > 1 else None, end))
    return pieces


def _piece(path: Path, piece: Path, begin: Fraction | None, end: Fraction | None) -> Path:
    """The pictures from one key frame to before another, and what was heard meanwhile.

    Time begins at the first picture that is shown; in an open group it follows the key frame.
    """
    shown = _first_shown(path, begin)
    with av.open(str(path)) as source, av.open(str(piece), "w") as sink:
        copies = {s.index: sink.add_stream_from_template(s) for s in source.streams}
        inside = False
        for packet in source.demux():
            if packet.pts is None:
                continue
            time = Fraction(packet.pts * packet.time_base)
            if packet.stream.type == "video":  # in the order of decoding, from key to key
                if packet.is_keyframe:
                    inside = (begin is None or time >= begin) and (end is None or time < end)
                if not inside:
                    continue
            elif (begin is not None and time < begin) or (end is not None and time >= end):
                continue
            shift = round(shown / packet.time_base)
            packet.pts -= shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = copies[packet.stream.index]
            sink.mux(packet)
    return piece


def _first_shown(path: Path, begin: Fraction | None) -> Fraction:
    """Seconds of the first picture of the group whose key frame begins then; 0 of the first one."""
    with av.open(str(path)) as source:
        inside, times = False, []
        for packet in source.demux(source.streams.video[0]):
            if begin is None or packet.pts is None:
                continue
            time = Fraction(packet.pts * packet.time_base)
            inside = time == begin if packet.is_keyframe else inside
            times += [time] if inside else []
    return min(times, default=Fraction(0))


def delayed(path: Path, target: Path, seconds: Fraction) -> Path:
    """The same pictures in another container, where the first one is shown so much later."""
    options = {"avoid_negative_ts": "disabled", "mpegts_copyts": "1"}
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts += round(seconds / packet.time_base)
                packet.dts += round(seconds / packet.time_base)
                packet.stream = copy
                container.mux(packet)
    return target


def text_file(path: Path) -> Path:
    path.write_text("This is not a video.\n" * 20, encoding="utf-8")
    return path


def empty_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def audio_only(path: Path, seconds: Fraction = Fraction(1)) -> Path:
    with av.open(str(path), "w") as container:
        sound = _add_sound(container, SOUND_IN.get(path.suffix, "aac"))
        _write_tone(container, sound, seconds, 440.0)
    return path


def photo(path: Path, size: tuple[int, int] = (160, 120), index: int = 0) -> Path:
    """One frame as a JPEG or PNG, by the suffix."""
    if not cv2.imwrite(str(path), cv2.cvtColor(picture(index, size), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")
    return path


def image_folder(
    folder: Path, count: int = 5, size: tuple[int, int] = (160, 120), suffix: str = ".jpg"
) -> Path:
    """Frames 0 to count − 1 as numbered photos."""
    folder.mkdir(parents=True)
    for index in range(count):
        photo(folder / f"frame_{index:04d}{suffix}", size, index)
    return folder


# --- looking into files


def packets(path: Path, stream_type: str) -> list[tuple[int | None, int | None, int, str]]:
    """(pts, dts, size, md5) of every packet of the first track of a type, in the file's order."""
    with av.open(str(path)) as source:
        stream = next(s for s in source.streams if s.type == stream_type)
        return [
            (p.pts, p.dts, p.size, hashlib.md5(bytes(p)).hexdigest())
            for p in source.demux(stream)
            if p.size
        ]


def frame_times(path: Path) -> list[Fraction]:
    """Seconds, exact, of every frame that decodes, in the order of presentation."""
    return [Fraction(frame.pts or 0) * (frame.time_base or 1) for frame in _decoded(path)]


def decode_rgb(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame, upright, as (h, w, 3) uint8 RGB, by swscale with the frame's own tags."""
    return [
        np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
        for frame in _decoded(path)
    ]


def _decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as source:
        yield from source.decode(video=0)
