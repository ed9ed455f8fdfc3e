"""Decoding by hardware, where there is some that takes this very film; else in software, and said.

Whether a device takes a film shows only when it has decoded a picture of it: FFmpeg would go on in
software without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.video.opening import opened
from rustvid.video.streams import picture_of

DEVICES = ("cuda", "vaapi", "videotoolbox", "qsv")


def best_opened(path: Path | str, protocols: str, config: SourceConfig) -> tuple[Any, list[str]]:
    """PyAV's open input, and what is to be said of how it is decoded.

    config.hwaccel: "none", a device, or "auto" for the first of those that FFmpeg was built with
    Raises SourceError where it cannot be opened at all.
    """
    asked = config.hwaccel
    if asked == "none":
        return opened(path, protocols, None, config), []
    built = hwdevices_available()
    tried = []
    for device in [one for one in DEVICES if one in built] if asked == "auto" else [asked]:
        there = device in built
        problem = _problem(path, protocols, device, config) if there else "is not in this FFmpeg"
        if not problem:
            container = opened(path, protocols, HWAccel(device), config)
            return container, [f"decoded by hardware: {device}"]
        tried.append(f"{device} {problem}")
    why = "; ".join(tried) or "this FFmpeg knows no such device"
    container = opened(path, protocols, None, config)
    return container, [f"source.hwaccel {asked}: {why}; decoded in software"]


def _problem(path: Path | str, protocols: str, device: str, config: SourceConfig) -> str:
    """Why a device cannot decode the film; "" if it has decoded a picture of it."""
    try:
        hwaccel = HWAccel(device, allow_software_fallback=False)
        with opened(path, protocols, hwaccel, config) as container:
            stream = picture_of(container, path)
            there = next(container.decode(stream), None)
            return "" if there and stream.codec_context.is_hwaccel else "does not decode it"
    except (av.error.FFmpegError, SourceError, OSError, RuntimeError, NotImplementedError) as exc:
        cause = exc.__cause__ or exc
        return f"does not work ({getattr(cause, 'strerror', None) or cause})"
