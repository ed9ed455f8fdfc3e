"""Which inputs are live, and what of them may be opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from rustvid.config import SourceConfig
from rustvid.errors import UsageError
from rustvid.redact import redacted

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_DEVICE = re.compile(r"/dev/video\d+")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
# what FFmpeg may use below the protocol that was asked for; never file, unless it is allowed
_CARRIERS = ("tcp", "udp", "tls", "rtp", "srtp", "crypto", "httpproxy", "rtmpt", "ffrtmphttp")
_FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Address:
    """What to open, and how FFmpeg is told.

    url: with user and password, so kept out of `repr`; name: without, to be shown
    scheme: "rtsp", "http", "v4l2", "file", …; whitelist: protocols that FFmpeg may use
    in_pieces: HLS, which comes some seconds at a time: dropping what comes at once would drop most
    """

    url: str = field(repr=False)
    name: str
    scheme: str
    whitelist: str
    in_pieces: bool = False


def is_live(name: str, config: SourceConfig) -> bool:
    """Is this input a camera? By its address, unless `source.live` says."""
    if config.live is not None:
        return config.live
    scheme = scheme_of(name)
    if scheme in ("http", "https") and has_host(name):
        return PurePosixPath(urlsplit(name).path).suffix.lower() not in _FILMS
    return scheme != "file"


def scheme_of(name: str) -> str:
    """The protocol of an input; "file" for what is a path."""
    if name.startswith("v4l2:") or _DEVICE.fullmatch(name):
        return "v4l2"
    match = _SCHEME.match(name)
    return match.group(1).lower() if match else "file"


def address_of(name: str, config: SourceConfig) -> Address:
    """Read an input as an address; ${NAME} in it is taken from the environment.

    Raises UsageError for a protocol that is not allowed, a variable that is not set and a host
    that is missing.
    """
    url, scheme = expanded(name), scheme_of(name)
    allowed = tuple(re.split(r"[\s,]+", config.protocols.strip().lower()))
    if scheme not in (*allowed, "file") or ("://" in name and scheme not in allowed):
        raise UsageError(
            f"{name}: the protocol {scheme} is not allowed; source.protocols are "
            f"{' '.join(allowed)}"
        )
    if scheme == "v4l2":
        url = re.sub("^/+", "/", url.removeprefix("v4l2:"))
        if not url.strip("/"):
            raise UsageError(f"{name}: names no device; write v4l2:/dev/video0")
    elif scheme not in ("file", "udp") and not has_host(url):
        raise UsageError(f"{name}: names no host; write {scheme}://host/path")
    own = (scheme,) if scheme != "v4l2" else ("file",)
    whitelist = ",".join(dict.fromkeys((*own, *allowed, *_CARRIERS)))
    in_pieces = scheme in ("http", "https") and urlsplit(url).path.lower().endswith(".m3u8")
    return Address(url, redacted(name), scheme, whitelist, in_pieces)


def expanded(name: str) -> str:
    """With ${NAME} taken from the environment; raises UsageError where one is not set."""
    return _VARIABLE.sub(_from_environment, name)


def has_host(url: str) -> bool:
    """Does an address name a host?"""
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # a bracket without its other half
        return False


def _from_environment(match: re.Match[str]) -> str:
    value = os.environ.get(match.group(1))
    if value is None:
        raise UsageError(f"{match.group(0)}: is not set in the environment; export it first")
    return value
