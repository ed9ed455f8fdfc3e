"""What can be known to fail before anything heavy is loaded or written."""

from __future__ import annotations

import ipaddress
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rustvid.config import Config, OutputConfig, StatusConfig
from rustvid.errors import UsageError
from rustvid.journal import check_journal
from rustvid.method.models import find
from rustvid.method.refine import check as check_refinement
from rustvid.video import (
    LOSSLESS,
    PICTURES,
    check_file,
    check_output,
    open_source,
    photos_in,
)
from rustvid.video.address import address_of, expanded, has_host, is_live, scheme_of
from rustvid.video.encoders import check_codec
from rustvid.video.named import files_of
from rustvid.video.photos import PHOTOS
from rustvid.video.republish import FORMATS, speaks
from rustvid.video.sink import part_of


@dataclass(frozen=True)
class Paths:
    """Where a run writes. None: not asked for."""

    video: Path | None
    csv: Path | None
    mask: Path | None

    @property
    def films(self) -> list[Path]:
        """Those of pictures."""
        return [path for path in (self.video, self.mask) if path is not None]

    @property
    def all(self) -> list[Path]:
        """Those that were asked for."""
        return [path for path in (self.video, self.csv, self.mask) if path is not None]


def preflight(config: Config) -> Paths:
    """Check input and outputs; raises UsageError, SourceError or SinkError, writes nothing."""
    if config.input is None:
        raise UsageError("no input: name a video file, a picture or a folder of pictures")
    if config.output.resume and config.output.overwrite:
        raise UsageError("--resume keeps what --overwrite replaces; give one of them")
    start, end = config.source.start or 0.0, config.source.end
    if end is not None and end <= start:
        raise UsageError(f"source.end {end} s must be after source.start {start} s")
    if config.sample.rate is not None and config.sample.every != 1:
        raise UsageError(
            f"sample.rate {config.sample.rate} and sample.every {config.sample.every}: both say "
            "which frames are analysed; leave sample.rate null or sample.every 1"
        )
    check_refinement(config.refine)
    find(config.model.name)
    live = is_live(config.input, config.source)
    frames = _live(config) if live else _recorded(config)
    paths, inputs = paths_of(config), [] if live else _inputs(config)
    stamped = bool(config.output.segment or config.output.clips)  # names that meet no earlier one
    replacing = config.output.overwrite or stamped
    for path, kinds in ((paths.video, PICTURES), (paths.csv, (".csv",)), (paths.mask, LOSSLESS)):
        if path:
            check_output(path, replacing, inputs, kinds)
    if len({path.resolve() for path in paths.all}) < len(paths.all):
        raise UsageError(f"{paths.all[-1]}: is named for two outputs; give each its own name")
    _check_holds(paths.video, config.output, frames)
    _check_holds(paths.mask, OutputConfig(codec="ffv1"), frames)
    if not stamped:
        check_journal(paths.all, config.output)
    return paths


def _recorded(config: Config) -> int | None:
    """Open a file or a folder once, to see that it can be; how many frames it may have."""
    for name, given in {
        "output.segment": config.output.segment,
        "output.clips": config.output.clips or None,
        "output.republish": config.output.republish,
        "output.keep": config.output.keep,
        "output.keep_size": config.output.keep_size,
        "events.path": config.events.path,
        "events.command": config.events.command,
        "events.webhook": config.events.webhook,
        "status.address": config.status.address,
    }.items():
        if given is not None:
            raise UsageError(f"{name} is for live input; {config.input} is none (see --live)")
    with open_source(str(config.input), (1, 1), config.source) as source:
        return source.info.expected_frames


def _live(config: Config) -> int:
    """A camera is not opened to look: it may be down today. More than one frame will come."""
    address_of(str(config.input), config.source)
    if config.source.join:
        raise UsageError(f"source.join is for files; {config.input} is a camera")
    if config.source.start is not None:
        raise UsageError("source.start: a live camera has no earlier time to begin at; leave it")
    output = config.output
    if output.resume:
        raise UsageError(f"{config.input}: only files can be gone on with; leave out --resume")
    stamped = output.segment or output.clips
    left = part_of(Path(output.path)) if output.path and not stamped else None
    if left and left.exists() and not output.overwrite:
        raise UsageError(
            f"{left}: is there, of an earlier run perhaps; move it away, add --overwrite, or use "
            "--segment, whose names do not meet"
        )
    if (output.keep is not None or output.keep_size is not None) and not stamped:
        raise UsageError(
            "output.keep and output.keep_size need --segment or --clips: they remove whole files"
        )
    if stamped and not output.path:
        name = "segment" if output.segment else "clips"
        raise UsageError(f"output.{name} cuts the video: name one with --out")
    if output.clips and output.mask:
        raise UsageError("output.clips records no masks: leave out --mask, or use --segment")
    if output.republish:
        _check_republish(output)
    events = config.events
    if events.path:
        check_file(Path(events.path))
    if events.command:
        _check_command(events.command)
    if events.webhook and not (
        scheme_of(events.webhook) in ("http", "https") and has_host(expanded(events.webhook))
    ):
        raise UsageError(
            f"events.webhook {events.webhook}: must be an address like https://host/path"
        )
    if config.status.address:
        status_address(config.status)
    return 2


def _check_command(command: str) -> None:
    """Does it name a program, as the words of a shell would?"""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise UsageError(
            f"events.command {command}: cannot be read ({exc}); close each quote, or write \\ "
            "before one that is part of a word"
        ) from exc
    if not words:
        raise UsageError(f"events.command {command!r}: names no program; leave it out, or name one")


def _check_republish(output: OutputConfig) -> None:
    """Can the annotated video be sent there, and as it is encoded?"""
    url = str(output.republish)
    known = FORMATS.get(scheme_of(url))
    if known is None or not has_host(expanded(url)):
        raise UsageError(
            f"output.republish {url}: must be an address like rtsp://host/path, with one of "
            f"{' '.join(FORMATS)}"
        )
    if not speaks(scheme_of(url)):
        raise UsageError(
            f"output.republish {url}: FFmpeg here does not know {scheme_of(url)}; send it to "
            "udp://, tcp:// or rtsp://"
        )
    if output.codec not in ("h264", "hevc"):
        raise UsageError(f"output.republish sends h264 or hevc, output.codec is {output.codec}")


def _check_holds(path: Path | None, config: OutputConfig, frames: int | None) -> None:
    """Can the file hold as many pictures, and so coded?"""
    if path is None:
        return
    if path.suffix.lower() not in PHOTOS:
        check_codec(path, config)
    elif frames and frames > 1:
        raise UsageError(f"{path}: holds one picture, the input has {frames}; use .mp4 or .mkv")


def _inputs(config: Config) -> list[Path]:
    """Files that must not be written to."""
    files = files_of(config)
    return photos_in(files[0]) if files[0].is_dir() else files


def paths_of(config: Config) -> Paths:
    """Where a configuration has a run write; nothing is looked at."""
    output = config.output
    video = Path(output.path) if output.path else None
    csv = Path(output.csv) if output.csv else video.with_suffix(".csv") if video else None
    return Paths(video, csv, Path(output.mask) if output.mask else None)


def status_address(config: StatusConfig) -> tuple[str, int]:
    """Where to serve; raises UsageError, too where a token is needed and there is none."""
    text = config.address or ""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None:
        raise UsageError(f"status.address must be host:port like 127.0.0.1:8090, received {text!r}")
    if not is_loopback(host) and not config.token:
        raise UsageError(
            f"status.address {text}: others can reach it; set status.token, or use 127.0.0.1"
        )
    return host, port


def is_loopback(host: str) -> bool:
    """Is it this machine alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
