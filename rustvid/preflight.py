"""What can be known to fail before anything heavy is loaded or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rustvid.config import Config, OutputConfig
from rustvid.errors import UsageError
from rustvid.journal import check_journal
from rustvid.method.models import find
from rustvid.video import LOSSLESS, PICTURES, check_output, open_source, photos_in
from rustvid.video.encoders import check_codec
from rustvid.video.photos import PHOTOS


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
    find(config.model.name)
    with open_source(config.input, (1, 1), config.source) as source:
        frames = source.info.expected_frames
    paths, inputs = paths_of(config), _inputs(Path(config.input))
    for path, kinds in ((paths.video, PICTURES), (paths.csv, (".csv",)), (paths.mask, LOSSLESS)):
        if path:
            check_output(path, config.output.overwrite, inputs, kinds)
    if len({path.resolve() for path in paths.all}) < len(paths.all):
        raise UsageError(f"{paths.all[-1]}: is named for two outputs; give each its own name")
    _check_holds(paths.video, config.output, frames)
    _check_holds(paths.mask, OutputConfig(codec="ffv1"), frames)
    check_journal(paths.all, config.output)
    return paths


def _check_holds(path: Path | None, config: OutputConfig, frames: int | None) -> None:
    """Can the file hold as many pictures, and so coded?"""
    if path is None:
        return
    if path.suffix.lower() not in PHOTOS:
        check_codec(path, config)
    elif frames and frames > 1:
        raise UsageError(f"{path}: holds one picture, the input has {frames}; use .mp4 or .mkv")


def _inputs(source: Path) -> list[Path]:
    """Files that must not be written to."""
    return photos_in(source) if source.is_dir() else [source]


def paths_of(config: Config) -> Paths:
    """Where a configuration has a run write; nothing is looked at."""
    output = config.output
    video = Path(output.path) if output.path else None
    csv = Path(output.csv) if output.csv else video.with_suffix(".csv") if video else None
    return Paths(video, csv, Path(output.mask) if output.mask else None)
