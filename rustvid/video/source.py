"""What a source of frames is.

A source is a context manager; `frames()` yields what it holds once, in order of presentation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from rustvid.frames import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame.

    width, height: pixels, as stored; rate: mean frames per second
    pixel_bytes: of memory for each pixel of a decoded picture
    rgb: its pixels are RGB, not YUV; colour: code points of ISO/IEC 23091-2
    time_base: seconds per tick of its clock; expected_frames: an estimate, None if unknown
    start: seconds, the time of what should be the first frame asked for; end: up to which is asked
        for; None: to its own end
    tags, disposition: of the picture's stream (language, title; FFmpeg's flags)
    located: does it tell where the camera was?
    """

    name: str
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    codec: str
    rgb: bool
    expected_frames: int | None
    start: Fraction
    pixel_aspect: Fraction = Fraction(1)
    pixel_bytes: float = 6.0
    colour: tuple[int, int, int, int] = (2, 2, 2, 0)  # primaries, transfer, matrix, range: untold
    end: Fraction | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    disposition: int = 0
    located: bool = False
    live: bool = False  # a camera: no end is known, and nothing may wait for the next frame


@dataclass(frozen=True)
class Begin:
    """Where a run goes on that was broken off.

    index: of the first frame wanted; time: its seconds, as `time_text` writes them
    seek: the frames before it were all "ok", so they need not be decoded again
    origin: exact seconds of the film's first frame
    """

    index: int
    time: str
    seek: bool
    origin: Fraction


class Source(ABC):
    """What every source offers; one contract test runs over all of them.

    companions: the streams whose packets come with the frames, to be copied
    container: PyAV's open input, for its metadata and chapters; None where there is none
    damaged_packets: how many could not be decoded so far
    notes: what was odd, for people, once all frames are read
    begin: set before `frames` is called, it leaves out the frames before; indices are the same
    threads: of the decoder, set likewise; 0: as many as FFmpeg likes
    """

    info: SourceInfo
    begin: Begin | None = None
    threads: int = 0
    companions: Sequence[Any] = ()
    container: Any | None = None
    damaged_packets: int = 0

    @property
    def behind(self) -> bool:
        """Do frames wait that cannot be asked to, so that some work should be left out?"""
        return False

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        """Close what is open."""
        if self.container is not None:
            self.container.close()

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Every frame once, in order; SourceCutShort after the last if there should be more."""

    def rest(self) -> tuple[Any, ...]:
        """Companion packets read after the last frame."""
        return ()

    def stop(self) -> None:
        """Let a source that waits for frames end; called from another thread."""
        return

    def companion_packets(self) -> Iterator[Any]:
        """The companions' packets alone, instead of the frames."""
        return iter(())
