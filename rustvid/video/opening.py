"""Opening what strangers may have made: one local file that names no other, or an address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.video.headers import is_playlist

LIBRARY = f"PyAV {av.__version__}"
# What is one file and names no other: not hls, dash, concat, image2 and the like
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,asf,"
    "mxf,mxf_opatom,dhav,ogg,nut,gif,apng,ivf,h264,hevc,av1,obu,m4v,mjpeg,dv,gxf,lxf,rm,swf,vc1,"
    "yuv4mpegpipe,wav,mp3,aac,flac,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
PROTOCOLS = "file"  # a playlist that reaches for the network or another protocol is refused


# What FFmpeg says when it was interrupted by PyAV's timeouts, and where its own one struck
SILENCE = (av.error.ExitError, av.error.TimeoutError)
_USUAL = SourceConfig()


def opened(
    path: Path | str,
    protocols: str = PROTOCOLS,
    hwaccel: Any = None,
    config: SourceConfig = _USUAL,
) -> Any:
    """PyAV's open input; raises SourceError.

    path: a Path is one local file and nothing else; a str is an address, of which the protocols
        say what it may lead to
    hwaccel: av's HWAccel, to decode by hardware
    config: for how long the server of an address may be silent
    """
    began = time.monotonic()
    options = {"protocol_whitelist": protocols}
    how: dict[str, Any] = {"metadata_errors": "replace", "hwaccel": hwaccel}
    try:
        if isinstance(path, str):
            patience = config.open_timeout, config.read_timeout
            how["timeout"] = patience  # PyAV's, which leaves out seeks
            options["rw_timeout"] = str(round(max(patience) * 1_000_000))
            return av.open(path, options=options, **how)
        with path.open("rb") as file:
            if is_playlist(file.read(4096)):
                raise SourceError(f"{path}: is a list of other files; name those files themselves")
        options["format_whitelist"] = FORMATS
        # file: in front, so that no name is taken for a protocol (concat:…, subfile,…)
        return av.open(f"file:{path}", options=options, **how)
    except PermissionError as exc:
        raise SourceError(f"{path}: may not be read; check its permissions") from exc
    except (av.error.FFmpegError, OSError) as exc:
        late = time.monotonic() - began >= config.open_timeout  # FFmpeg may say anything then
        if isinstance(path, str) and (late or isinstance(exc, SILENCE)):
            raise silent(path, config.open_timeout, "source.open_timeout") from exc
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SourceError(
            f"{path}: cannot be opened as video ({reason}); it may be cut short, "
            "damaged or of another kind"
        ) from exc


@contextmanager
def answered(path: Path | str, seconds: float) -> Iterator[None]:
    """A server that is silent meanwhile is a SourceError."""
    try:
        yield
    except SILENCE as exc:
        raise silent(path, seconds) from exc


def silent(path: Path | str, seconds: float, option: str = "source.read_timeout") -> SourceError:
    """The error of a server that says nothing; option: for how long it may."""
    return SourceError(
        f"{path}: the server was silent for {seconds:g} s; try again, or raise {option}"
    )
