"""Between PyAV's frames and the records: planes, colour matrix, range, rotation.

A Picture's planes are views of the decoder's own memory: nothing is copied, nothing may be written.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from rustvid.frames import LUMA_OF_RED_BLUE, Picture

# ISO/IEC 23091-2 code points of the matrix coefficients, as frame.colorspace gives them
_MATRICES = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_SWSCALE = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}
_FULL_RANGE = 2
_HD_HEIGHT = 576  # untagged video above this is taken for BT.709, as players do


class Placed(NamedTuple):
    """How a stored picture is to be shown (ISO/IEC 14496-12, 6.2.2).

    turns: quarter turns counter-clockwise that make it upright; mirrored: left and right change
    sides after that; exact: the turn is a quarter's multiple
    """

    turns: int
    mirrored: bool
    exact: bool


class Placing:
    """How the frames of one film are to be shown, asked of the first one that is turned so.

    PyAV's side data and its frame hold each other, and with them the picture, until Python looks
    for such pairs: that may be after gigabytes.
    """

    def __init__(self) -> None:
        self._known: dict[int, Placed] = {}

    def of(self, frame: av.VideoFrame) -> Placed:
        if frame.rotation not in self._known:
            self._known[frame.rotation] = placed(frame)
        return self._known[frame.rotation]


def placed(frame: av.VideoFrame) -> Placed:
    """How a frame's tags have it shown; for more than one frame see `Placing`."""
    told: Any = frame.side_data
    matrix = told.get(SideData.DISPLAYMATRIX)
    if matrix is None:
        return Placed(0, mirrored=False, exact=True)
    a, b, _, c, d, *_ = (int(n) for n in np.frombuffer(bytes(matrix), np.int32))
    mirrored = a * d - b * c < 0
    degrees = -math.degrees(math.atan2(b, -a if mirrored else a))
    turns = round(degrees / 90)
    return Placed(turns % 4, mirrored, exact=abs(degrees - 90 * turns) < 1)


class Converter:
    """Turns decoded frames into pictures and into the images that the network sees.

    image_size: (width, height) of the images; placing: of the film, where it is known already.
    Keeps its scaling contexts: use one per stream.
    Pictures are made in the reader's thread, images wherever they are first looked at.
    """

    def __init__(self, image_size: tuple[int, int], placing: Placing | None = None) -> None:
        self._image_size = image_size
        self._placing = placing or Placing()
        self._to_planar = VideoReformatter()
        self._to_image = VideoReformatter()
        self._one_at_a_time = Lock()

    def picture(self, frame: av.VideoFrame, pixel_aspect: Fraction) -> Picture:
        """The frame's planes, converted to planar YUV only if they are something else."""
        rotation = self._placing.of(frame).turns
        full_range = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
        wanted = planar_format(frame.format)
        if wanted != frame.format.name:
            full_range = full_range or is_rgb(frame.format)
            frame = self._planar(frame, wanted, full_range)
        return Picture(
            planes=_views(frame),
            format=frame.format.name,
            bits=frame.format.components[0].bits,
            shift_x=_shift(frame.width, frame.format.chroma_width(frame.width)),
            shift_y=_shift(frame.height, frame.format.chroma_height(frame.height)),
            matrix=matrix_of(frame),
            full_range=full_range,
            rotation=rotation,
            pixel_aspect=pixel_aspect,
        )

    def image(self, frame: av.VideoFrame, picture: Picture) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB of the image size, upright."""
        width, height = self._image_size
        if picture.rotation % 2:
            width, height = height, width
        resized = (width, height) != (frame.width, frame.height)
        with self._one_at_a_time:
            reduce = self._reduced if resized and not is_rgb(frame.format) else self._converted
            rgb = reduce(frame, width, height, picture)
        return np.ascontiguousarray(picture.upright(rgb))

    def _converted(
        self, frame: av.VideoFrame, width: int, height: int, picture: Picture
    ) -> NDArray[np.uint8]:
        rgb = self._to_image.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_SWSCALE[picture.matrix],
            src_color_range=ColorRange.JPEG if picture.full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,  # the decoder and the network have the other cores
        )
        return np.asarray(rgb.to_ndarray(), np.uint8)

    def _reduced(
        self, frame: av.VideoFrame, width: int, height: int, picture: Picture
    ) -> NDArray[np.uint8]:
        """First the size, then the colours: half the time, and rounded to the nearest code.

        FFmpeg's own way in one go is two codes too dark on the average of a 1080p film.
        """
        colour_range = ColorRange.JPEG if picture.full_range else ColorRange.MPEG
        small = self._to_image.reformat(
            frame,
            width=width,
            height=height,
            format="yuv444p",
            src_color_range=colour_range,
            dst_color_range=colour_range,
            threads=1,
        )
        to_rgb = _to_rgb(picture.matrix, picture.full_range)
        return cv2.transform(cv2.merge(_views(small)), to_rgb).astype(np.uint8, copy=False)

    def _planar(self, frame: av.VideoFrame, wanted: str, full_range: bool) -> av.VideoFrame:
        colour_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        return self._to_planar.reformat(
            frame,
            format=wanted,
            dst_colorspace=_SWSCALE[matrix_of(frame)] if frame.format.is_rgb else None,
            src_color_range=colour_range,
            dst_color_range=colour_range,
            threads=1,
        )


@lru_cache
def _to_rgb(matrix: str, full_range: bool) -> NDArray[np.float32]:
    """(3, 4) float32: what makes R, G, B of Y, U, V and 1, all as codes of 8 bits."""
    of_red, of_blue = LUMA_OF_RED_BLUE[matrix]
    of_green = 1 - of_red - of_blue
    black, light, colour = (0, 1.0, 1.0) if full_range else (16, 255 / 219, 255 / 224)
    red, blue = 2 * (1 - of_red) * colour, 2 * (1 - of_blue) * colour
    rows = np.array(
        [
            [light, 0, red],
            [light, -blue * of_blue / of_green, -red * of_red / of_green],
            [light, blue, 0],
        ]
    )
    offset = -rows @ [black, 128, 128]
    return np.column_stack([rows, offset]).astype(np.float32)


def planar_format(pixel_format: Any) -> str:
    """The planar YUV format, of no fewer bits and no coarser chroma, that holds this one."""
    parts = pixel_format.components
    deep = "10le" if parts[0].bits > 8 else ""
    if pixel_format.is_rgb or pixel_format.has_palette:
        return "yuv444p10le"  # two bits more, so that RGB comes back unchanged
    if len(parts) < 3:
        return f"yuv420p{deep}"  # gray
    separate = len({part.plane for part in parts}) == 3 and len(parts) == 3
    if pixel_format.is_planar and separate and not pixel_format.is_big_endian:
        return str(pixel_format.name)
    thin_x, thin_y = pixel_format.chroma_width(64) < 64, pixel_format.chroma_height(64) < 64
    layout = "420" if thin_x and thin_y else "422" if thin_x else "444"
    return f"yuv{layout}p{deep}"


def matrix_of(frame: av.VideoFrame) -> str:
    """The colour matrix of a frame; untagged video is judged by its height."""
    guess = "bt709" if min(frame.height, frame.width) > _HD_HEIGHT else "bt601"
    return _MATRICES.get(int(frame.colorspace), guess)


def canvas(picture: Picture) -> Picture:
    """A copy of a picture to be drawn on and then encoded without another copy."""
    frame = _copy(picture)
    return replace(picture, planes=_views(frame), frame=frame)


def video_frame(picture: Picture) -> av.VideoFrame:
    """A frame that holds the picture: a canvas's own, else a new one with a copy of its planes."""
    return _copy(picture) if picture.frame is None else picture.frame


def _copy(picture: Picture) -> av.VideoFrame:
    height, width = picture.shape
    frame = av.VideoFrame(width, height, picture.format)
    for target, plane in zip(_views(frame), picture.planes, strict=True):
        target[...] = plane
    return frame


def mask_picture(mask: NDArray[np.uint8], like: Picture) -> Picture:
    """A mask (h, w) uint8 0 or 1, as stored, as a gray picture of 0 and 255."""
    return Picture(
        planes=(mask * np.uint8(255),),
        format="gray",
        bits=8,
        shift_x=0,
        shift_y=0,
        matrix=like.matrix,
        full_range=True,
        rotation=like.rotation,
        pixel_aspect=like.pixel_aspect,
    )


def rgb_picture(rgb: NDArray[np.uint8]) -> Picture:
    """A picture of (h, w, 3) uint8 RGB, as exact as YUV can hold it."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
    return Converter((1, 1)).picture(frame, Fraction(1))


def rgb_of(picture: Picture) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB of a picture, upright, at its own size."""
    height, width = picture.upright_shape
    return Converter((width, height)).image(video_frame(picture), picture)


def small_rgb(picture: Picture, longest: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB of a picture, upright, its longer side at most `longest` pixels."""
    height, width = picture.upright_shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Converter(size).image(video_frame(picture), picture)


def _views(frame: av.VideoFrame) -> tuple[NDArray[Any], ...]:
    depth: Any = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, depth)  # type: ignore[call-overload]
        stride = plane.line_size // rows.itemsize
        views.append(rows.reshape(-1, stride)[: plane.height, : plane.width])
    return tuple(views)


def _shift(full: int, thinned: int) -> int:
    return max(0, round(np.log2(full / thinned))) if full > 1 else 0


def is_rgb(pixel_format: Any | None) -> bool:
    """Are its pixels RGB, or colours of a palette, and not YUV?"""
    return pixel_format is not None and (pixel_format.is_rgb or pixel_format.has_palette)
