"""Which container holds which codec, which encoder makes it, with which options."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from rustvid.config import OutputConfig
from rustvid.errors import UsageError
from rustvid.frames import Picture

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".ts": "mpegts",
    ".avi": "avi",
    ".webm": "webm",
}
ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "ffv1": "ffv1",
}
_QUALITY = {"h264": 20, "hevc": 24, "av1": 32, "vp9": 32}
_WORST = {"h264": 51, "hevc": 51, "av1": 63, "vp9": 63}  # quality: the highest that there is
_PRESETS = {"h264": "veryfast", "hevc": "veryfast", "av1": "10"}
_HOLD = {  # what players read back; the others hold every codec
    "mov": ("h264", "hevc"),
    "mpegts": ("h264", "hevc"),
    "avi": ("h264", "av1", "vp9", "ffv1"),
    "webm": ("av1", "vp9"),
}
_X264 = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
_PRESET_NAMES = {"h264": _X264, "hevc": _X264, "av1": tuple(str(speed) for speed in range(14))}
_X264_LOOKAHEAD = {"ultrafast": 0, "superfast": 0, "veryfast": 10, "faster": 20, "fast": 30}
_HELD_SECONDS = 0.6  # of film that an encoder may hold back: a crash loses it
_WITHOUT_B_FRAMES = frozenset({"avi", "mpegts"})  # no room for decoding before time 0


def check_codec(path: Path, config: OutputConfig) -> None:
    """Refuse what the container cannot hold and the encoder does not know; raises UsageError."""
    holders = _HOLD.get(CONTAINERS[path.suffix.lower()], tuple(ENCODERS))
    if config.codec not in holders:
        raise UsageError(
            f"{path}: {path.suffix} cannot hold {config.codec}; set output.codec to "
            f"{' or '.join(holders)}, or use .mkv"
        )
    presets = _PRESET_NAMES.get(config.codec, ())
    if config.preset is not None and config.preset not in presets:
        known = f"must be one of {' '.join(presets)}" if presets else "must be null"
        raise UsageError(f"output.preset {known} for {config.codec}, received {config.preset!r}")
    worst = _WORST.get(config.codec)
    if config.crf is not None and worst is not None and config.crf > worst:
        raise UsageError(
            f"output.crf must be at most {worst} for {config.codec}, received {config.crf}"
        )


def encoder_options(
    config: OutputConfig, container_format: str, rate: Fraction, live: bool = False
) -> dict[str, str]:
    """Options of the encoder for a configuration, in a container of this format.

    rate: frames per second, which says how many frames may be held back; live: none
    """
    codec, options = config.codec, {}
    quality = config.crf if config.crf is not None else _QUALITY.get(codec)
    preset = config.preset or _PRESETS.get(codec)
    if quality is not None and codec != "ffv1":
        options["crf"] = str(quality)
    if preset is not None:
        options["preset"] = preset
    held = 0 if live else max(1, int(_HELD_SECONDS * rate))
    options.update(_held_back(codec, preset or "", held))
    if codec == "vp9":
        options.update({"b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"})
    if codec == "ffv1":
        options.update({"level": "3", "slicecrc": "1"})
    if live and codec in ("h264", "hevc"):
        options["tune"] = "zerolatency"
    if container_format in _WITHOUT_B_FRAMES and codec in ("h264", "hevc"):
        options["bf"] = "0"
    return options


def pixel_format(
    codec: str, picture: Picture, rgb: bool, supported: Sequence[str]
) -> tuple[str | None, list[str]]:
    """The format in which an encoder takes such pictures with the least change, None where it
    takes none; and what is to be said of it.

    rgb: they were RGB in the source; supported: the formats that the encoder takes
    """
    told = []
    height, width = picture.shape
    odd = (width % 2 and picture.shift_x) or (height % 2 and picture.shift_y)
    wanted = picture.format
    if rgb and codec != "ffv1":
        wanted = "yuv420p" if not (width % 2 or height % 2) else "yuv444p"
    deep = "10le" if picture.bits > 8 and not rgb else ""
    if odd and codec in ("h264", "hevc"):
        wanted = f"yuv444p{deep}"  # 4:2:0 of these codecs has even sides only
        told.append(f"{width}×{height} has an odd side: encoded as 4:4:4, which fewer players read")
    for same in (wanted, wanted.replace("yuvj", "yuv")):  # the range is in the stream's tag too
        if same in supported:
            return same, told
    for fallback in (f"yuv444p{deep}", f"yuv420p{deep}", "yuv420p"):
        if fallback in supported:
            return fallback, [*told, f"{codec} cannot hold {wanted}: encoded as {fallback}"]
    return None, [f"{codec} takes no picture of kind {wanted}"]


def _held_back(codec: str, preset: str, frames: int) -> dict[str, str]:
    """Options with which an encoder holds back at most so many frames.

    What each takes beyond its look-ahead was measured: x264 1, x265 up to 6, SVT-AV1 its pyramid.
    """
    if codec == "h264":
        ahead = max(0, min(_X264_LOOKAHEAD.get(preset, 40), frames - 1))
        few = {"bf": str(ahead)} if ahead < 3 and preset not in ("ultrafast", "superfast") else {}
        return {"rc-lookahead": str(ahead)} | few
    if codec == "hevc":  # a closed group of pictures can be cut off where it ends
        ahead = max(min(1, frames), min(15, frames - 6))
        few_b = f":bframes={max(0, min(3, ahead - 2))}:frame-threads=1" if ahead < 6 else ""
        return {
            "x265-params": f"log-level=error:open-gop=0:rc-lookahead={ahead}{few_b}",
            "forced-idr": "1",
        }
    if codec == "av1":
        deep = "lookahead=0:hierarchical-levels=2" if frames >= 13 else "pred-struct=1"
        return {"svtav1-params": deep}
    return {"lag-in-frames": str(min(25, frames))} if codec == "vp9" else {}
