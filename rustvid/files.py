"""Files: how they are written, whole or not at all, and where those that belong together lie."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rustvid.errors import SinkError, UsageError


def masks_of(path: Path) -> Path:
    """The film of true masks that belongs to a film: film.mp4 → film.masks.mkv."""
    return path.with_suffix(".masks.mkv")


def size_of(path: Path | str) -> int:
    """Bytes of a file; 0 of an address, and of what is not there."""
    with suppress(OSError):
        return path.stat().st_size if isinstance(path, Path) else 0
    return 0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to: at the end that file takes the place of `path`. Raises SinkError, and
    leaves what was there."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except OSError as exc:
        with suppress(OSError):
            part.unlink()
        raise SinkError(
            f"{path}: cannot be written ({exc.strerror or exc}); check the folder and its space"
        ) from exc


def check_new(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Raise UsageError where a result has another suffix, or is there and may not be replaced."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: is written as {suffixes[0]}; name it so")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; choose another name or add --overwrite")


def made_folder(folder: Path) -> None:
    """Make a folder for results, if there is none; raises SinkError where none can be, or where
    nothing may be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise SinkError(f"{folder}: cannot be used ({exc.strerror}); choose another") from exc
