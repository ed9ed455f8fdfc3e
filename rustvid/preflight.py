"""What can be known to fail before anything heavy is loaded or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import UsageError
from rustvid.method.models import find
from rustvid.video import check_output, open_source, photos_in


@dataclass(frozen=True)
class Paths:
    """Where a run writes. None: not asked for."""

    video: Path | None
    csv: Path | None
    mask: Path | None


def preflight(config: Config) -> Paths:
    """Check input and outputs; raises UsageError, SourceError or SinkError, writes nothing."""
    if config.input is None:
        raise UsageError("no input: name a video file, a picture or a folder of pictures")
    start, end = config.source.start or 0.0, config.source.end
    if end is not None and end <= start:
        raise UsageError(f"source.end {end} s must be after source.start {start} s")
    find(config.model.name)
    with open_source(config.input, (1, 1), config.source):
        pass
    paths = _paths(config)
    wanted = [path for path in (paths.video, paths.csv, paths.mask) if path is not None]
    for index, path in enumerate(wanted):
        if path in wanted[:index]:
            raise UsageError(f"{path}: is named for two outputs; give each its own name")
        check_output(path, config.output.overwrite, _inputs(Path(config.input)))
    return paths


def _inputs(source: Path) -> list[Path]:
    """Files that must not be written to."""
    return photos_in(source) if source.is_dir() else [source]


def _paths(config: Config) -> Paths:
    output = config.output
    video = Path(output.path) if output.path else None
    csv = Path(output.csv) if output.csv else video.with_suffix(".csv") if video else None
    return Paths(video, csv, Path(output.mask) if output.mask else None)
