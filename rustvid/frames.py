"""The records that travel down the pipeline: Frame → Classified → Localised → Refined → Measured.

Each is frozen and holds the one before it, so the last one knows the whole story of a frame.
Arrays inside are never written to: a step that changes pixels makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LUMA_OF_RED_BLUE = {  # what of them is in Y: ITU-R BT.601, BT.709, BT.2020
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


class _WhenRead:
    """A field that is given as an array, or as a function that makes it when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"{name} or maker"

    def __get__(self, frame: Any, owner: type | None = None) -> NDArray[np.uint8]:
        if frame is None:
            raise AttributeError("the field has no default")  # what dataclass asks
        value = frame.__dict__[self._key]
        if callable(value):
            value = frame.__dict__[self._key] = value()
        return value  # type: ignore[no-any-return]

    def __set__(self, frame: Any, value: NDArray[np.uint8] | Callable[[], Any]) -> None:
        frame.__dict__[self._key] = value


@dataclass(frozen=True)
class Picture:
    """One decoded picture as planar YUV, in the orientation in which it is stored.

    planes: Y (h, w), U and V (h / 2**shift_y, w / 2**shift_x, rounded up), or Y alone;
        uint8 for 8 bits, uint16 (value in the low bits) for 9 to 16 bits
    format: FFmpeg's name of the pixel format, for example "yuv420p10le"
    matrix: "bt601", "bt709" or "bt2020": how YUV relates to RGB
    full_range: True if Y runs over all codes, False if 16–235 (at 8 bits)
    rotation: how many quarter turns counter-clockwise make the picture upright (0–3)
    pixel_aspect: width / height of one pixel
    frame: the encoder's own, of which the planes are views, where it was made to be drawn on
    """

    planes: tuple[NDArray[Any], ...]
    format: str
    bits: int
    shift_x: int
    shift_y: int
    matrix: str
    full_range: bool
    rotation: int = 0
    pixel_aspect: Fraction = Fraction(1)
    frame: Any = field(default=None, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) as stored."""
        height, width = self.planes[0].shape
        return height, width

    @property
    def upright_shape(self) -> tuple[int, int]:
        """(height, width) as seen."""
        height, width = self.shape
        return (width, height) if self.rotation % 2 else (height, width)

    def upright(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn an array (h, w, ...) from the stored to the upright orientation."""
        return np.rot90(stored, self.rotation)

    def stored(self, upright: NDArray[Any]) -> NDArray[Any]:
        """Turn an array (h, w, ...) from the upright to the stored orientation."""
        return np.rot90(upright, -self.rotation)


class Window(NamedTuple):
    """A part of a picture, in pixels of it, upright."""

    top: int
    left: int
    height: int
    width: int

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """This part of an array (h, w, ...), as a view."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]


class Position(NamedTuple):
    """Where the camera was: degrees north and east (WGS 84), and metres above where it took off.

    height: None where it is not told; all None: not known at this moment
    """

    latitude: float | None
    longitude: float | None
    height: float | None = None


NOWHERE = Position(None, None)


@dataclass(frozen=True)
class Frame:
    """One frame of the source.

    index: 0, 1, 2, … in the order of presentation
    time: seconds, exact: pts × time_base of the container
    duration: seconds until the next frame, as far as the container knows; 0 if it does not
    picture: the decoded pixels, as stored
    image: (s, s, 3) uint8 RGB, upright, squashed to the size the network sees; a source may give
        a function that makes it, for most frames are never looked at
    status: "ok", or what is wrong with the frame: "corrupt", "damaged", "time repaired",
        "resized"; of a live source also "reconnected": the first frame after a gap
    companions: packets of other streams (sound, subtitles) read before this frame; the sink
        copies them untouched
    utc: when a live frame was taken, seconds since 1970 by this machine's clock; None of a file
    window: the part of the picture that holds the frame, where black lies around it; `image`, and
        what comes of it, show this part alone, and areas are shares of it; None: all of it
    file: of a folder of photos, the name of this one
    readable: False of a photo without any pixels: its picture is black, and nobody looks at it
    position: of the camera, where the film comes with positions; None: it does not
    """

    index: int
    time: Fraction
    duration: Fraction
    picture: Picture
    image: _WhenRead = _WhenRead()
    status: str = "ok"
    companions: tuple[Any, ...] = ()
    utc: float | None = None
    window: Window | None = None
    file: str | None = None
    readable: bool = True
    position: Position | None = None


@dataclass(frozen=True)
class Classified:
    """A frame with the network's answer; probability is None for a frame not looked at."""

    frame: Frame
    probability: float | None  # of corrosion, in [0, 1]

    @property
    def analysed(self) -> bool:
        """Did the network look at this very frame?"""
        return self.probability is not None


@dataclass(frozen=True)
class Localised:
    """A classified frame with its evidence map, if it is corroded.

    evidence: (h, w) float32 in [0, 1], upright: the Grad-CAM++ heat map or a student's
        probability of corrosion; None where the frame is not corroded or was not looked at
    """

    classified: Classified
    evidence: NDArray[np.float32] | None

    @property
    def frame(self) -> Frame:
        return self.classified.frame

    @property
    def probability(self) -> float | None:
        return self.classified.probability


@dataclass(frozen=True)
class Refined:
    """A frame with its mask of corrosion, at the working size of the refinement.

    working_mask: (s, s) uint8 0 or 1, upright, squashed like Frame.image
    mask_from: "analysed", "tracked" (carried from other frames) or "failed": there is none
    unknown: (any, any) uint8 0 or 1, likewise: what a tracked frame shows that no analysed frame
        near it does, so that 0 in the mask does not mean clean there; None: nothing
    """

    localised: Localised
    working_mask: NDArray[np.uint8]
    mask_from: str = "analysed"
    unknown: NDArray[np.uint8] | None = None

    @property
    def frame(self) -> Frame:
        return self.localised.frame

    @property
    def probability(self) -> float | None:
        return self.localised.probability

    @property
    def evidence(self) -> NDArray[np.float32] | None:
        return self.localised.evidence

    @property
    def unknown_share(self) -> float:
        """Of the frame, in [0, 1]; 1 where there is no mask."""
        if self.mask_from == "failed":
            return 1.0
        return 0.0 if self.unknown is None else float(self.unknown.mean())

    @property
    def status(self) -> str:
        """The frame's status, or "failed" where the refinement failed."""
        failed = self.mask_from == "failed" and self.frame.readable
        return "failed" if failed else self.frame.status


@dataclass(frozen=True)
class Area:
    """How much of a frame is corroded, in pixels of the source frame.

    pixels: corroded pixels; share: of the frame, in [0, 1]
    regions: connected pieces (8-neighbours); largest: pixels of the largest piece
    """

    pixels: int
    share: float
    regions: int
    largest: int


@dataclass(frozen=True)
class Trust:
    """How far to trust a mask (method/trust.py).

    confidence: in [0, 1], orders frames by their expected error of area; flags: the failure modes
    that strike, by name
    """

    confidence: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """The end of the line: a frame, its mask at the size of the source, and its area.

    mask: (h, w) uint8 0 or 1, upright; trust: None where the mask was tracked or failed
    """

    refined: Refined
    mask: NDArray[np.uint8]
    area: Area
    trust: Trust | None = None

    @property
    def frame(self) -> Frame:
        return self.refined.frame

    @property
    def probability(self) -> float | None:
        """p(corrosion) in [0, 1]; None where the frame was not looked at but tracked."""
        return self.refined.probability

    @property
    def evidence(self) -> NDArray[np.float32] | None:
        return self.refined.evidence

    @property
    def is_measured(self) -> bool:
        """Has it an area? Not where its picture could not be read or its refinement failed."""
        return self.refined.mask_from != "failed"

    @property
    def status(self) -> str:
        return self.refined.status

    @property
    def analysed(self) -> bool:
        """Did the network look at this very frame?"""
        return self.refined.localised.classified.analysed
