"""Video in and out: which source and which sink a path means."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rustvid.config import OutputConfig, SourceConfig
from rustvid.errors import SinkError, SourceError, UsageError
from rustvid.video.address import address_of, is_live, scheme_of
from rustvid.video.encoded import Tap, Tapped
from rustvid.video.encoders import CONTAINERS
from rustvid.video.film import FileSource
from rustvid.video.joined import JoinedSource
from rustvid.video.live import LiveSource
from rustvid.video.muxed import VideoSink
from rustvid.video.named import by_number, is_hidden
from rustvid.video.photos import PHOTOS, PhotoSink, PhotoSource
from rustvid.video.sink import Sink, Template, part_of
from rustvid.video.source import Source

PICTURES = (*CONTAINERS, *sorted(PHOTOS))
LOSSLESS = (".mkv", ".mp4", ".avi", ".png", ".bmp", ".tif", ".tiff")  # what masks are kept in


def _never() -> bool:
    return False


def open_source(
    name: str,
    image_size: tuple[int, int],
    config: SourceConfig,
    asked_to_stop: Callable[[], bool] = _never,
) -> Source:
    """The source for a path or an address, by what it is.

    image_size: (width, height) of the images for the network
    asked_to_stop: ends a live source, in whatever state it is
    Raises SourceError, and UsageError for an address that may not be opened.
    """
    if is_live(name, config):
        return LiveSource(address_of(name, config), image_size, config, asked_to_stop)
    if scheme_of(name) != "file":
        address = address_of(name, config)
        return FileSource(address.url, image_size, config, address.whitelist)
    try:
        if config.join:
            others = [Path(line) for line in config.join.split("\n") if line.strip()]
            return _joined([Path(name), *others], image_size, config)
        return _source(name, Path(name), image_size, config)
    except OSError as exc:  # a folder that may not be entered, a name too long
        raise SourceError(f"{name}: cannot be read ({exc.strerror}); check the path") from exc


def _source(name: str, path: Path, image_size: tuple[int, int], config: SourceConfig) -> Source:
    if not path.exists():
        raise SourceError(f"{name}: no such file or folder; check the path")
    if path.is_dir():
        photos = photos_in(path)
        if not photos:
            raise SourceError(f"{name}: holds no pictures ({', '.join(sorted(PHOTOS))})")
        return PhotoSource(photos, name, image_size, config)
    if path.is_fifo():  # it would be opened, waited for and looked into more than once
        raise SourceError(
            f"{name}: is a pipe, which can be read only once; save it as a file first"
        )
    if path.suffix.lower() in PHOTOS:
        return PhotoSource([path], name, image_size, config)
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{name}: is empty (0 bytes); copy it again from the camera")
    return FileSource(path, image_size, config)


def _joined(paths: Sequence[Path], image_size: tuple[int, int], config: SourceConfig) -> Source:
    for path in paths:
        if not path.is_file():
            raise SourceError(f"{path}: no such file; only video files can be joined")
        if path.stat().st_size == 0:
            raise SourceError(f"{path}: is empty (0 bytes); copy it again from the camera")
    return JoinedSource(paths, image_size, config)


def open_sink(
    path: Path,
    template: Template,
    config: OutputConfig,
    part: Path | None = None,
    taps: Sequence[Tap] = (),
) -> Sink:
    """The sink for a path, by its suffix. `check_output` has been asked before.

    part: the file that it writes until it is complete; None: `part_of(path)`
    taps: get the packets of a video too
    """
    if path.suffix.lower() in PHOTOS:
        return PhotoSink(path)
    if taps:
        return Tapped(path, template, config, part, taps)
    return VideoSink(path, template, config, part)


def photos_in(folder: Path) -> list[Path]:
    """The pictures of a folder that are not hidden; 2 comes before 10."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in PHOTOS]
    return sorted((p for p in found if not is_hidden(p.relative_to(folder))), key=by_number)


def check_output(
    path: Path, overwrite: bool, inputs: Sequence[Path], kinds: Collection[str] = PICTURES
) -> None:
    """Refuse what would fail or destroy: before any work, with one line."""
    if path.suffix.lower() not in kinds:
        raise UsageError(
            f"{path}: unknown kind of output {path.suffix!r} here; use one of {' '.join(kinds)}"
        )
    try:
        there = [target for target in (path, part_of(path)) if target.exists()]
    except OSError as exc:
        raise SinkError(f"{path}: cannot be written ({exc.strerror}); choose another name") from exc
    for target in there:  # a part of an earlier run may be analysed too, under another name
        if any(source.exists() and target.samefile(source) for source in inputs):
            raise UsageError(f"{path}: would write over the input itself; choose another output")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; choose another name or add --overwrite")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Can a file be made beside this one? Raises SinkError."""
    folder = path.parent
    if not folder.is_dir():
        raise SinkError(f"{folder}: no such folder for {path.name}; create it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise SinkError(f"{folder}: cannot be written ({exc.strerror}); choose another") from exc


def check_file(path: Path, folders: bool = False) -> None:
    """Can this file be written, over what may be there? Raises UsageError or SinkError.

    folders: those that are missing will be made
    """
    try:
        while folders and not path.parent.exists():
            path = path.parent
        if path.is_dir():
            raise UsageError(f"{path}: is a folder; name a file in it")
        there = path.exists()
        may = there and os.access(path, os.W_OK)
    except OSError as exc:
        raise SinkError(f"{path}: cannot be written ({exc.strerror}); choose another name") from exc
    if not there:
        check_folder(path)
    elif not may:
        raise SinkError(f"{path}: may not be written over; choose another name")
