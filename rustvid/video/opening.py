"""Opening what strangers may have made: one local file that names no other, or an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from rustvid.errors import SourceError
from rustvid.video.headers import is_playlist

LIBRARY = f"PyAV {av.__version__}"
# What is one file and names no other: not hls, dash, concat, image2 and the like
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,asf,"
    "mxf,mxf_opatom,ogg,nut,gif,apng,ivf,h264,hevc,av1,obu,m4v,mjpeg,dv,gxf,lxf,rm,swf,vc1,"
    "yuv4mpegpipe,wav,mp3,aac,flac,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
PROTOCOLS = "file"  # a playlist that reaches for the network or another protocol is refused


def opened(path: Path | str, protocols: str = PROTOCOLS, hwaccel: Any = None) -> Any:
    """PyAV's open input; raises SourceError.

    path: a Path is one local file and nothing else; a str is an address, of which the protocols
        say what it may lead to
    hwaccel: av's HWAccel, to decode by hardware
    """
    options = {"protocol_whitelist": protocols}
    how: dict[str, Any] = {"metadata_errors": "replace", "hwaccel": hwaccel}
    try:
        if isinstance(path, str):
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
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SourceError(
            f"{path}: cannot be opened as video ({reason}); it may be cut short, "
            "damaged or of another kind"
        ) from exc
