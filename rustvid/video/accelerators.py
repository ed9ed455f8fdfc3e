"""Encoding by hardware, where there is some that takes such pictures; else in software, and said.

Whether an encoder works shows only when it has encoded pictures of this very size: a driver may be
missing, its sessions used up, the picture too large.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av

from rustvid.config import OutputConfig

# Device → its options for a constant quality, for little delay and for key frames on demand.
_DEVICES: dict[str, tuple[str, dict[str, str]]] = {
    "nvenc": ("cq", {"rc": "vbr", "preset": "p4", "delay": "0", "forced-idr": "1"}),
    "qsv": ("global_quality", {"async_depth": "1", "forced_idr": "1"}),
    "amf": ("qvbr_quality_level", {"rc": "qvbr", "forced_idr": "true"}),
}
_QUALITY = {"h264": 23, "hevc": 27, "av1": 34}  # near the software's default
_PROBE = 3  # pictures
_FORMATS = ("yuv420p", "nv12")


@dataclass(frozen=True)
class Accelerated:
    """An encoder that has been tried, its options, and the format of the pictures it takes."""

    name: str
    options: dict[str, str]
    pixel_format: str


@lru_cache  # all files of a run, and what is sent on, have one encoder
def accelerated(
    config: OutputConfig, kind: str, shape: tuple[int, int], rate: Fraction
) -> tuple[Accelerated | None, str]:
    """The first encoder that works, None for software; and what is to be said of it.

    kind: FFmpeg's name of the pictures' format, after "full-range " where they are
    shape: (height, width); rate: frames per second
    """
    if config.hwaccel == "none":
        return None, ""
    asked = [*_DEVICES] if config.hwaccel == "auto" else [config.hwaccel]
    tried = []
    for device in asked:
        found = _options(config, device)
        problem = _unfit(config, device, kind, shape) or _problem(found, shape, rate)
        if not problem:
            return found, f"encoded by hardware: {found.name}"
        tried.append(f"{found.name} {problem}")
    return None, f"output.hwaccel {config.hwaccel}: {'; '.join(tried)}; encoded in software"


def _options(config: OutputConfig, device: str) -> Accelerated:
    quality, options = _DEVICES[device]
    name = f"{config.codec}_{device}"
    quality_of = config.crf if config.crf is not None else _QUALITY.get(config.codec, 1)
    level = str(max(1, quality_of))  # 0 would leave it to the driver
    known = _formats(name)
    pixel_format = next((one for one in _FORMATS if one in known), _FORMATS[0])
    return Accelerated(name, {**options, quality: level, "bf": "0"}, pixel_format)


def _formats(name: str) -> list[str]:
    """The formats of pictures that an encoder takes; none where there is no such encoder."""
    try:
        return [known.name for known in av.Codec(name, "w").video_formats or []]
    except ValueError:  # PyAV's UnknownCodecError is one
        return []


def _unfit(config: OutputConfig, device: str, kind: str, shape: tuple[int, int]) -> str:
    """Why these pictures are not for hardware; "" if they are."""
    if not _formats(f"{config.codec}_{device}"):
        return "is not in this FFmpeg"
    if kind not in _FORMATS or shape[0] % 2 or shape[1] % 2:
        told = "8-bit 4:2:0 of limited range and even sides"
        return f"takes {told} only, not {kind} of {shape[1]}×{shape[0]}"
    return ""


def _problem(encoder: Accelerated, shape: tuple[int, int], rate: Fraction) -> str:
    """Why an encoder does not work; "" if it has encoded pictures of this size."""
    height, width = shape
    try:
        context: Any = av.CodecContext.create(encoder.name, "w")
        context.width, context.height, context.pix_fmt = width, height, encoder.pixel_format
        context.framerate, context.time_base = rate, 1 / rate
        context.options = encoder.options
        packets = []
        for number in range(_PROBE):
            frame = av.VideoFrame(width, height, encoder.pixel_format)
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts = number
            packets += context.encode(frame)
        packets += context.encode(None)
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as exc:
        return f"does not work ({getattr(exc, 'strerror', None) or exc})"
    return "" if len(packets) == _PROBE else f"made {len(packets)} packets of {_PROBE} pictures"
