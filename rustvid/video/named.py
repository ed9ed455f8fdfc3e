"""The files that names, patterns and folders mean, and the files that one input consists of."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import SourceError, UsageError
from rustvid.redact import redacted
from rustvid.video.address import is_live
from rustvid.video.encoders import CONTAINERS

VIDEOS = frozenset(
    (
        *(*CONTAINERS, ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts", ".mxf", ".insv"),
        *(".lrv", ".360", ".3g2", ".asf", ".dav", ".gif", ".h264", ".h265", ".hevc", ".m2t"),
        *(".mod", ".ogv", ".tod", ".vob"),
    )
)


def meant(name: str, kinds: Collection[str] = VIDEOS) -> list[tuple[Path, Path]]:
    """(file, its place below what was named) of a name, a pattern or a folder.

    A folder means every file of these kinds in it and below that is not hidden. 2 comes before 10.
    Raises SourceError where a name means nothing.
    """
    path = Path(name)
    if path.is_dir():
        below = [p for p in path.rglob("*") if p.suffix.lower() in kinds and p.is_file()]
        pairs = [(p, p.relative_to(path)) for p in sorted(below, key=by_number)]
        return [(p, place) for p, place in pairs if not is_hidden(place)]
    if path.exists():
        return [(path, Path(path.name))]
    matches = [Path(match) for match in glob.glob(name, recursive=True)]  # noqa: PTH207 - absolute too
    if not matches or matches == [path]:  # itself: a link to what is gone
        raise SourceError(f"{name}: no such file or folder; check the path")
    found: list[tuple[Path, Path]] = []
    for match in sorted(matches, key=by_number):
        gone = not match.exists()  # a link to nothing: it fails when it is opened
        found += [(match, Path(match.name))] if gone else meant(str(match), kinds)
    return found


def joined(config: Config, names: Sequence[str]) -> Config:
    """The configuration whose input is all files that these names mean, as one film."""
    if config.output.folder:
        raise UsageError("--join makes one film of all files: use --out, not --out-dir")
    if any(is_live(name, config.source) for name in names):
        raise UsageError("--join is for files; a camera is one film already")
    files = dict.fromkeys(path for name in names for path, _ in meant(name))
    if len(files) < 2:
        raise UsageError(f"--join: {', '.join(names)} is only one file; leave out --join")
    for path in files:
        if path.suffix.lower() not in VIDEOS:
            raise UsageError(f"--join: {path} is no video ({' '.join(sorted(VIDEOS))})")
        if "\n" in str(path):
            raise UsageError(f"--join: {str(path)!r} has a line break in its name; rename it")
    first, *others = map(str, files)
    return replace(config, input=first, source=replace(config.source, join="\n".join(others)))


def files_of(config: Config) -> list[Path]:
    """The files, or the folder of photos, that the input consists of, in order."""
    lines = (config.source.join or "").split("\n")
    return [Path(config.input or ""), *(Path(line) for line in lines if line.strip())]


def told_of(config: Config) -> str:
    """The input as a person is told of it, without a password."""
    first, *others = files_of(config)
    more = f" and {len(others)} more" if others else ""
    return redacted(f"{config.input or first}{more}")


def is_hidden(place: Path) -> bool:
    """Below a folder: does a name begin with a dot, as of what macOS leaves beside a file?"""
    return any(part.startswith(".") for part in place.parts)


def by_number(path: Path) -> tuple[list[tuple[str, int]], str]:
    """For sorting: numbers within a name by their value, so that 2 comes before 10."""
    parts = re.findall(r"(\D*)(\d*)", str(path))
    return [(text.lower(), int(digits or 0)) for text, digits in parts], str(path)
