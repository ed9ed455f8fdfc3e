"""Which container holds which codec, which encoder makes it, with which options."""

from __future__ import annotations

from pathlib import Path

from rustvid.config import OutputConfig
from rustvid.errors import UsageError

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


def encoder_options(
    config: OutputConfig, container_format: str, live: bool = False
) -> dict[str, str]:
    """Options of the encoder for a configuration, in a container of this format.

    live: hold no frame back
    """
    codec, options = config.codec, {}
    quality = config.crf if config.crf is not None else _QUALITY.get(codec)
    preset = config.preset or _PRESETS.get(codec)
    if quality is not None and codec != "ffv1":
        options["crf"] = str(quality)
    if preset is not None:
        options["preset"] = preset
    if codec == "hevc":
        options["x265-params"] = "log-level=error"
    if codec == "vp9":
        options.update({"b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"})
    if codec == "ffv1":
        options.update({"level": "3", "slicecrc": "1"})
    if live and codec in ("h264", "hevc"):
        options["tune"] = "zerolatency"
    if container_format in _WITHOUT_B_FRAMES and codec in ("h264", "hevc"):
        options["bf"] = "0"
    return options
