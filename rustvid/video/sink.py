"""What a sink of pictures is. Nothing half-written has a final name.

An output is written as `name.part.mp4` and takes its own name when it is complete. `finish`
completes; leaving the `with` otherwise leaves the part there.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rustvid.frames import Frame, Picture
from rustvid.video.border import border
from rustvid.video.source import SourceInfo


class Sink(ABC):
    """Takes pictures in order of time; a context manager.

    settled: pictures that are in the file, whatever happens from now on
    threads: of the encoder, set before the first picture; 0: as many as it likes
    """

    threads: int = 0

    def __init__(self, path: Path, part: Path | None = None) -> None:
        self.path = path
        self.part = part or part_of(path)
        self.warnings: list[str] = []
        self.settled = 0

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what `finish` has not, without giving it its name."""
        return

    @abstractmethod
    def write(self, picture: Picture, frame: Frame) -> None:
        """Write one picture, at the frame's time."""

    @abstractmethod
    def complete(self, rest: Sequence[Any]) -> None:
        """All is there: write the last companion packets and close the part."""

    def name(self) -> None:
        """Give the complete part its name."""
        with border(self.path):
            self.part.replace(self.path)

    def finish(self, rest: Sequence[Any]) -> None:
        """Complete the file and give it its name."""
        self.complete(rest)
        if self.part.exists():
            self.name()

    def sync(self) -> None:
        """Have the system write to the disk what is in the file so far."""
        with border(self.path):
            synced(self.part)


@dataclass(frozen=True)
class Template:
    """What of the input the output repeats: its streams to copy, metadata, chapters, and start."""

    info: SourceInfo
    container: Any | None  # av.container.InputContainer, None for photos
    companions: Sequence[Any]


def part_of(path: Path) -> Path:
    """The name that a file has until it is complete: film.mp4 → film.part.mp4."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def synced(path: Path) -> None:
    """Wait until a file or folder is on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
