"""Draw the result over a picture: tint, outline, heat map, text (DESIGN §3.7).

All drawing happens on the YUV planes as decoded. What is drawn is a stack of layers; a layer is
a plane of 8-bit codes and a palette that says, for every code, how much of the picture stays
and what is added in Y, U and V. A subsampled chroma sample takes the mean code of the luma
pixels it covers, so edges show no colour fringes. Where the code is 0 an overlay leaves the
sample alone, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import RenderConfig
from rustvid.frames import LUMA_OF_RED_BLUE, Picture

Codes = NDArray[Any]  # (h, w) uint8; OpenCV's stubs promise no dtype

_STRIP = 128  # rows worked on at a time: what lies in between stays in the cache, twice as fast
_GRID = 4  # the coarsest chroma subsampling there is (4:1:1, 4:1:0), in luma pixels
_HEAT_OPACITY = 0.65  # where the evidence is strongest
_BOX_OPACITY = 0.68  # white letters stay legible on a white picture, the picture under them too
_BOX_CODE = 128  # a label's codes: up to here its dark box, above it the letters
_LETTER_LIGHT = 0.96  # full white would glare
_FONT = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV 5 sets Rubik for it, OpenCV 4 draws its own strokes
_FONT_CAPITAL = 22  # pixels: a capital letter's height at scale 1


@dataclass(frozen=True)
class _Palette:
    """What a code makes of a sample: sample * keep / 255 + ink.

    keeps: (256,) of the planes' dtype, 0 to 255; inks: (3, 256) of the planes' dtype, for Y, U, V
    """

    keeps: NDArray[Any]
    inks: NDArray[Any]

    def over(self, part: NDArray[Any], codes: Codes, plane: int) -> NDArray[Any]:
        """What becomes of a part of a plane (0–2: Y, U, V) under codes of its shape."""
        kept = cv2.multiply(part, cv2.LUT(codes, self.keeps), scale=1 / 255)
        return cv2.add(kept, cv2.LUT(codes, self.inks[plane]))


@dataclass(frozen=True)
class _Fade:
    """A palette of one colour, whose opacity is the code: arithmetic is faster than tables.

    colour: Y, U, V in the picture's own values
    """

    colour: tuple[float, ...]

    def over(self, part: NDArray[Any], codes: Codes, plane: int) -> NDArray[Any]:
        """As _Palette does."""
        opacity = codes.astype(part.dtype, copy=False)
        kept = cv2.multiply(
            part, cv2.bitwise_not(codes).astype(part.dtype, copy=False), scale=1 / 255
        )
        return cv2.addWeighted(kept, 1.0, opacity, self.colour[plane] / 255, 0.0)


@dataclass(frozen=True)
class _Layer:
    """Codes and the place of their top left corner; they begin and end on the chroma grid."""

    codes: Codes
    top: int
    left: int
    palette: _Palette | _Fade


def copied(picture: Picture) -> Picture:
    """The same picture in memory of its own."""
    return replace(picture, planes=tuple(plane.copy() for plane in picture.planes), frame=None)


def render(
    picture: Picture,
    mask: NDArray[np.uint8],
    evidence: NDArray[np.float32] | None,
    text: str,
    config: RenderConfig,
    copy: Callable[[Picture], Picture] = copied,
) -> Picture:
    """Draw the result over a picture; the input is never written to.

    mask: (h, w) uint8 0 or 1, as stored, of the size of the luma plane
    evidence: (any, any) float32 in [0, 1], upright; None leaves a heat map's picture as it is
    text: one line, set upright in the corner that is seen as the top left one
    copy: makes what is drawn on; an encoder may like it in memory of its own kind

    In an overlay every sample outside the mask, its outline and the text's box is the decoded one.
    """
    if mask.shape != picture.shape:
        raise ValueError(f"mask: {mask.shape} pixels, must be the picture's {picture.shape}")
    canvas = copy(picture)
    _draw(canvas, _layers(picture, np.ascontiguousarray(mask), evidence, config))
    if config.text and text.strip():
        _draw(canvas, [_label(picture, text)])
    return _side_by_side(picture, canvas) if config.view == "side-by-side" else canvas


def outline_width(shape: tuple[int, int]) -> int:
    """Pixels: 1 at 480p, 2 at 1080p, 4 at 4K; from 2 on a soft edge of one pixel is added."""
    return max(1, round(min(shape) / 540))


def _layers(
    picture: Picture,
    mask: NDArray[np.uint8],
    evidence: NDArray[np.float32] | None,
    config: RenderConfig,
) -> Iterator[_Layer]:
    if config.view == "mask":
        black_or_white = np.minimum(np.arange(256.0), 1)
        yield from _cover(mask, _palette(picture, np.ones(256), _gray(black_or_white)))
    elif config.view == "heatmap":
        if evidence is not None:
            yield from _heat(picture, evidence)
        yield from _tint(picture, mask, config, opacity=0.0)
    else:
        yield from _tint(picture, mask, config, config.opacity)


def _tint(
    picture: Picture, mask: NDArray[np.uint8], config: RenderConfig, opacity: float
) -> Iterator[_Layer]:
    """The colour inside the mask and, opaque, along its border: a code is the opacity × 255."""
    stroke = outline_width(picture.shape)
    reach = stroke + 2  # how far a mask pixel can be felt, and one to spare
    colour = [int(config.color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    palette = _Fade(tuple(_yuv(picture, np.array([colour])).ravel()))
    for start in range(0, mask.shape[0], _STRIP):
        above = max(start - reach, 0)
        strip = mask[above : start + _STRIP + reach]
        first, _, columns, _ = cv2.boundingRect(strip)
        if not columns:
            continue
        box = (start, first - reach, start + _STRIP, first + columns + reach)
        top, left, bottom, right = _on_grid(box, picture.shape)
        strip = strip[:, left:right]
        codes: Codes = cv2.threshold(strip, 0, round(opacity * 255), cv2.THRESH_BINARY)[1]
        if config.contour:
            codes = cv2.max(codes, _outline(strip, stroke))
        yield _Layer(codes[top - above : bottom - above], top, left, palette)


def _outline(mask: NDArray[np.uint8], width: int) -> Codes:
    """A line of so many pixels astride the mask's border; none along the picture's own edge."""
    outer = cv2.dilate(mask, _square(width // 2))
    inner = cv2.erode(mask, _square((width + 1) // 2))
    line = cv2.threshold(cv2.subtract(outer, inner), 0, 255, cv2.THRESH_BINARY)[1]
    # A line of one pixel would only fade; a broader one gets soft edges instead of stairs.
    return cv2.GaussianBlur(line, (3, 3), 0) if width > 1 else line


def _heat(picture: Picture, evidence: NDArray[np.float32]) -> Iterator[_Layer]:
    """Evidence as a colour map; the weaker it is, the more of the picture shows through."""
    height, width = picture.upright_shape
    small = np.rint(np.clip(evidence, 0, 1) * 255).astype(np.uint8)
    seen = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    ramp = np.arange(256, dtype=np.uint8)
    bgr = cv2.applyColorMap(ramp, cv2.COLORMAP_TURBO).reshape(256, 3)
    opacity = _HEAT_OPACITY * np.minimum(ramp / 100, 1)
    codes = np.ascontiguousarray(picture.stored(seen))
    yield from _cover(codes, _palette(picture, opacity, bgr[:, ::-1] / 255))


def _label(picture: Picture, text: str) -> _Layer:
    """The text in its box, in the corner that is seen as the top left one."""
    height, width = picture.shape
    seen_height, seen_width = picture.upright_shape
    tile = picture.stored(_typeset(picture, text)[:seen_height, :seen_width])
    free_y, free_x = height - tile.shape[0], width - tile.shape[1]
    margin = min(height, width) // 48
    # Stored is upright turned clockwise: the top left corner wanders to the right, then down.
    top = min(margin, free_y) if picture.rotation in (0, 1) else max(free_y - margin, 0)
    left = min(margin, free_x) if picture.rotation in (0, 3) else max(free_x - margin, 0)
    return _place(tile, top, left, picture.shape, _label_palette(picture))


def _typeset(picture: Picture, text: str) -> Codes:
    """Upright: light letters on a dark, rounded, translucent box, as large as they stay legible."""
    height, width = picture.upright_shape
    aspect = float(picture.pixel_aspect)  # of a pixel as it is seen
    aspect = 1 / aspect if picture.rotation % 2 else aspect
    capital = max(11.0, min(height, width * aspect) / 48)  # pixels
    (length, _), _ = cv2.getTextSize(text, _FONT, 1.0, 2)
    room = max(width * aspect - 4 * capital, capital)
    scale = min(capital / _FONT_CAPITAL, room / length)
    capital = scale * _FONT_CAPITAL
    (length, _), _ = cv2.getTextSize(text, _FONT, scale, 2)
    pad = math.ceil(0.7 * capital)
    ink = np.zeros((math.ceil(capital) + 2 * pad, length + 2 * pad), np.uint8)
    bold = max(2, round(capital / 9))
    cv2.putText(ink, text, (pad, ink.shape[0] - pad), _FONT, scale, 255, bold, cv2.LINE_AA)
    box = np.zeros_like(ink)
    corners = (pad, pad), (ink.shape[1] - 1 - pad, ink.shape[0] - 1 - pad)
    cv2.rectangle(box, *corners, _BOX_CODE, 2 * pad - 2, cv2.LINE_AA)  # thick: rounds the corners
    cv2.rectangle(box, *corners, _BOX_CODE, cv2.FILLED)
    return cv2.resize(box + ink // 2, (max(1, round(ink.shape[1] / aspect)), ink.shape[0]))


def _label_palette(picture: Picture) -> _Palette:
    """Codes up to _BOX_CODE fade the box in, those above fade the letters in over it."""
    box = _BOX_OPACITY * np.minimum(np.arange(256) / _BOX_CODE, 1)
    letter = np.maximum(np.arange(256) - _BOX_CODE, 0) / (255 - _BOX_CODE)
    opacity = box + letter * (1 - box)
    return _palette(picture, opacity, _gray(_LETTER_LIGHT * letter / np.maximum(opacity, 1e-6)))


def _side_by_side(original: Picture, drawn: Picture) -> Picture:
    """Original on the left, drawn on the right, as seen; a white line between them.

    Of a picture stored on its side, one above the other. The second one begins on a multiple of 4
    pixels, where every chroma subsampling has a sample: sizes that are none gain up to 3 at the
    seam.
    """
    axis = 0 if original.rotation % 2 else 1
    first, second = (original, drawn) if original.rotation in (0, 1) else (drawn, original)
    size, across = original.shape[axis], original.shape[1 - axis]
    start = _up_to_grid(size)
    shift = (original.shift_y, original.shift_x)[axis]

    def join(plane: int, begin: int) -> NDArray[Any]:
        before, after = first.planes[plane], second.planes[plane]
        gap = before.take([-1] * (begin - before.shape[axis]), axis)
        return np.concatenate([before, gap, after], axis)

    planes = (join(0, start), join(1, start >> shift), join(2, start >> shift))
    joined = replace(original, planes=planes, frame=None)
    half = outline_width(original.shape)
    line = np.full((across, start - size + 2 * half), 255, np.uint8)
    white = _palette(joined, np.linspace(0, 1, 256), np.ones((256, 3)))
    if axis:
        _draw(joined, [_place(line, 0, size - half, joined.shape, white)])
    else:
        _draw(joined, [_place(line.T, size - half, 0, joined.shape, white)])
    return joined


def _cover(codes: Codes, palette: _Palette) -> Iterator[_Layer]:
    """Codes for the whole picture, in strips."""
    for top in range(0, codes.shape[0], _STRIP):
        yield _Layer(codes[top : top + _STRIP], top, 0, palette)


def _place(codes: Codes, top: int, left: int, shape: tuple[int, int], palette: _Palette) -> _Layer:
    """A layer of codes that need not begin or end on the chroma grid."""
    height, width = codes.shape
    box = _on_grid((top, left, top + height, left + width), shape)
    room = np.zeros((box[2] - box[0], box[3] - box[1]), np.uint8)
    room[top - box[0] :, left - box[1] :][:height, :width] = codes
    return _Layer(room, box[0], box[1], palette)


def _palette(
    picture: Picture, opacity: NDArray[np.float64], colours: NDArray[np.float64]
) -> _Palette:
    """opacity: (256,) in [0, 1]; colours: (256, 3) RGB in [0, 1]; one of each for every code."""
    dtype = picture.planes[0].dtype
    weight = np.rint(opacity * 255)
    ink = np.rint(_yuv(picture, colours) * weight / 255)
    return _Palette((255 - weight).astype(dtype), ink.astype(dtype))


def _gray(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """(256,) to (256, 3) RGB."""
    return np.repeat(light[:, None], 3, axis=1)


def _yuv(picture: Picture, rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) RGB in [0, 1] to (3, n) Y, U, V in the picture's own values, not rounded."""
    of_red, of_blue = LUMA_OF_RED_BLUE[picture.matrix]
    red, green, blue = rgb.T
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    u, v = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    unit, top = 2 ** (picture.bits - 8), 2**picture.bits - 1
    black, luma_range, chroma_range = 16 * unit, 219 * unit, 224 * unit
    if picture.full_range:
        black, luma_range, chroma_range = 0, top, top
    middle = 128 * unit
    rows = [black + luma_range * luma, middle + chroma_range * u, middle + chroma_range * v]
    return np.asarray(np.clip(rows, 0, top))


def _draw(canvas: Picture, layers: Iterable[_Layer]) -> None:
    """Write the layers, the first one lowest, into the canvas's own planes."""
    for layer in layers:
        fine, top, left = layer.codes, layer.top, layer.left
        coarse = _block_means(fine, 1 << canvas.shift_x, 1 << canvas.shift_y)
        for number, plane in enumerate(canvas.planes):
            codes = coarse if number else fine
            if number == 1:
                top, left = top >> canvas.shift_y, left >> canvas.shift_x
            part = plane[top : top + codes.shape[0], left : left + codes.shape[1]]
            part[:] = layer.palette.over(part, codes, number)


def _block_means(codes: Codes, width: int, height: int) -> Codes:
    """Mean of the codes a chroma sample covers; at an odd edge, of those that there are."""
    rows, columns = -(-codes.shape[0] // height), -(-codes.shape[1] // width)
    below, beside = rows * height - codes.shape[0], columns * width - codes.shape[1]
    if below or beside:
        codes = cv2.copyMakeBorder(codes, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    return cv2.resize(codes, (columns, rows), interpolation=cv2.INTER_AREA)


def _on_grid(box: tuple[int, int, int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right, grown to the chroma grid and cut at the picture's edges."""
    top, left, bottom, right = box
    return (
        max(top, 0) // _GRID * _GRID,
        max(left, 0) // _GRID * _GRID,
        min(_up_to_grid(bottom), shape[0]),
        min(_up_to_grid(right), shape[1]),
    )


def _up_to_grid(size: int) -> int:
    return -(-size // _GRID) * _GRID


def _square(reach: int) -> NDArray[np.uint8]:
    """A square that reaches so many pixels to every side of its centre."""
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
