"""Synthetic inspection footage with a true mask for every frame, for whoever has no footage yet.

A camera drifts along painted steel (plates, welds, rivets) on which rust grows from bolts, seams
and edges and runs down; a red band and a brick wall look like rust and are not; the last scene
has none. Each scene is painted once, larger than the view, together with `onset`: the age at
which each pixel rusts. A frame is then one look at that painting: warp, compare, blend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SinkError, UsageError
from rustvid.files import masks_of

Field = NDArray[np.float32]  # (h, w), or (h, w, 3) for colours being mixed
Rgb = NDArray[np.uint8]  # (h, w, 3)
Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the painting
Circle = tuple[float, float, float]  # x, y, radius in pixels

MARGIN = 1.6  # size of a painting / size of the view
NEVER = 9.0  # an onset that no age reaches
SAMPLE_RATE = 48000
BT709, LIMITED_RANGE = 1, 1  # FFmpeg's codes
SUFFIXES = (".mp4", ".mov", ".mkv")
RUST_TONES = ((40, 26, 21), (76, 43, 29), (116, 64, 36), (158, 90, 46), (192, 134, 84))


@dataclass(frozen=True)
class Surface:
    """What a scene shows; positions are shares of the painting's width and height.

    paint: RGB; plates: raised rectangles; seams: weld beads from point to point;
    rows: rivets from point to point, and how many; red: a band of red paint;
    brick: everything below this height is a brick wall; rusts: False for a clean scene
    """

    paint: tuple[int, int, int]
    plates: tuple[Rect, ...]
    seams: tuple[Rect, ...]
    rows: tuple[tuple[Rect, int], ...]
    red: Rect | None = None
    brick: float = 1.0
    rusts: bool = True


SURFACES = (
    Surface(  # a riveted girder: flange above, stiffener, lapped plate
        paint=(122, 138, 128),
        plates=((0, 0, 1, 0.2), (0.27, 0.2, 0.36, 1), (0.7, 0.2, 1, 1)),
        seams=(),
        rows=(
            ((0.03, 0.06, 0.97, 0.06), 20),
            ((0.03, 0.15, 0.97, 0.15), 20),
            ((0.315, 0.28, 0.315, 0.95), 8),
            ((0.72, 0.27, 0.72, 0.95), 11),
            ((0.76, 0.27, 0.76, 0.95), 11),
        ),
    ),
    Surface(  # a welded box with a bolted gusset
        paint=(190, 186, 168),
        plates=((0.52, 0.22, 0.8, 0.6), (0, 0.84, 1, 1)),
        seams=((0, 0.7, 1, 0.7), (0.4, 0, 0.4, 0.7)),
        rows=(
            ((0.56, 0.29, 0.76, 0.29), 4),
            ((0.56, 0.41, 0.76, 0.41), 4),
            ((0.56, 0.53, 0.76, 0.53), 4),
        ),
    ),
    Surface(  # a beam with a red band before a brick wall
        paint=(92, 116, 140),
        plates=((0, 0.1, 1, 0.72), (0, 0.1, 1, 0.2), (0, 0.62, 1, 0.72)),
        seams=((0.35, 0.2, 0.35, 0.62),),
        rows=(((0.04, 0.15, 0.96, 0.15), 16), ((0.04, 0.67, 0.96, 0.67), 16)),
        red=(0.56, 0.1, 0.66, 0.72),
        brick=0.72,
    ),
    Surface(  # fresh paint
        paint=(150, 160, 166),
        plates=((0, 0, 0.3, 1), (0.3, 0.3, 1, 0.42)),
        seams=((0.3, 0.7, 1, 0.7),),
        rows=(((0.27, 0.06, 0.27, 0.94), 10), ((0.36, 0.36, 0.96, 0.36), 9)),
        red=(0.44, 0.0, 0.54, 0.3),
        rusts=False,
    ),
)


@dataclass(frozen=True)
class Painting:
    """A surface as paint and as rust, and when the one becomes the other.

    clean, rusty: (h, w, 3) uint8 RGB; onset: (h, w) float32, the age from which a pixel is rust
    """

    clean: Rgb
    rusty: Rgb
    onset: Field


def scenes(
    size: tuple[int, int], fps: Fraction, seconds: float, seed: int
) -> Iterator[tuple[Rgb, NDArray[np.uint8]]]:
    """Yield every frame: (h, w, 3) uint8 RGB and its true mask (h, w) uint8, 0 or 1.

    `size` is (width, height); the same arguments give the same pixels.
    """
    total = round(Fraction(seconds) * fps)
    starts = [total * i // len(SURFACES) for i in range(len(SURFACES) + 1)]
    for number, surface in enumerate(SURFACES):
        rng = np.random.default_rng((seed, number))
        frames = starts[number + 1] - starts[number]
        if frames:
            yield from _filmed(_painted(surface, size, rng), size, fps, frames, rng)


# --- the camera


def _filmed(
    painting: Painting, size: tuple[int, int], fps: Fraction, frames: int, rng: np.random.Generator
) -> Iterator[tuple[Rgb, NDArray[np.uint8]]]:
    """Look at a painting along a slow path while its rust grows from age 0.1 to 1."""
    width, height = size
    grain = rng.normal(128, 3.5, (height + 64, width + 64, 3)).astype(np.uint8)
    corners = _vignette(size)
    for index, view in enumerate(_path(size, fps, frames, rng)):
        age = 0.1 + 0.9 * (index + 1) / frames
        seen, view = _seen(view, size, painting.onset.shape)
        rust = np.clip((age - painting.onset[seen]) * 20 + 0.5, 0, 1)  # a soft edge
        rgb = cv2.blendLinear(painting.clean[seen], painting.rusty[seen], 1 - rust, rust)
        rgb, mask = (
            cv2.warpAffine(layer, view, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            for layer in (rgb, np.where(rust > 0.5, np.uint8(255), np.uint8(0)))
        )
        cv2.multiply(rgb, corners, rgb, scale=1 / 255)
        x, y = rng.integers(0, 64, 2)
        cv2.addWeighted(rgb, 1, grain[y : y + height, x : x + width], 1, -128, rgb)
        yield np.asarray(rgb, np.uint8), np.asarray(mask > 127, np.uint8)


def _seen(
    view: NDArray[np.float64], size: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """The part of the painting that a view needs, and the view's matrix for that part."""
    ends = [view @ (x, y, 1) for x in (0, size[0]) for y in (0, size[1])]
    left, top = np.clip(np.min(ends, axis=0).astype(int) - 2, 0, None)
    right, bottom = np.max(ends, axis=0).astype(int) + 3
    moved = view - np.array([[0, 0, left], [0, 0, top]])
    return (slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))), moved


def _path(
    size: tuple[int, int], fps: Fraction, frames: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield (2, 3) matrices from the view's pixels to the painting's: pan, zoom, roll, shake."""
    width, height = size
    shake = rng.normal(0, 1, (frames + 8, 3))
    shake = np.stack([np.convolve(axis, np.hanning(9) / 2, "valid") for axis in shake.T], axis=1)
    reach = min(1.0, 0.25 * frames / float(fps))  # short scenes do not rush
    heading = rng.uniform(-0.5, 0.5)
    for index in range(frames):
        along = (index / max(frames - 1, 1) - 0.5) * reach  # −0.5 … 0.5
        zoom = 1.06 + 0.14 * np.sin(2.2 * along + heading)
        roll = 0.012 * np.sin(3 * along) + 0.0006 * shake[index, 2]
        cos, sin = np.cos(roll) / zoom, np.sin(roll) / zoom
        centre = (
            width * (MARGIN / 2 + 0.36 * along) + width * 0.0012 * shake[index, 0],
            height * (MARGIN / 2 + 0.2 * np.sin(2 * along + heading))
            + width * 0.0012 * shake[index, 1],
        )
        yield np.array(
            [
                [cos, -sin, centre[0] - (cos * width - sin * height) / 2],
                [sin, cos, centre[1] - (sin * width + cos * height) / 2],
            ]
        )


def _vignette(size: tuple[int, int]) -> Rgb:
    """The lens's darker corners, as (h, w, 3) uint8 factors of 255."""
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    fall = 255 * (1 - 0.16 * (x[None] ** 2 + y[:, None] ** 2))
    return np.repeat(fall.astype(np.uint8)[..., None], 3, axis=2)


# --- the painting


def _painted(surface: Surface, size: tuple[int, int], rng: np.random.Generator) -> Painting:
    width, height = (round(MARGIN * n) for n in size)
    shape = height, width
    rivets = _rivets(surface, shape)
    relief = _relief(surface, rivets, shape, rng)
    light = _lit(relief, rng)
    base = _colours(surface, shape, rng)
    clean = _shone(base, light)
    if not surface.rusts:
        return Painting(clean, clean, np.full(shape, NEVER, np.float32))
    onset, thick = _onset(surface, rivets, shape, rng)
    rusty = _rusted(base, light, onset, thick, rng)
    return Painting(clean, rusty, onset)


def _rivets(surface: Surface, shape: tuple[int, int]) -> list[Circle]:
    height, width = shape
    return [
        ((x0 + (x1 - x0) * share) * width, (y0 + (y1 - y0) * share) * height, width / 130)
        for (x0, y0, x1, y1), count in surface.rows
        for share in np.linspace(0, 1, count).tolist()
    ]


def _relief(
    surface: Surface, rivets: list[Circle], shape: tuple[int, int], rng: np.random.Generator
) -> Field:
    """How far everything stands out: (h, w) float32 in pixels."""
    width = shape[1]
    relief = np.zeros(shape, np.float32)
    for rect in surface.plates:
        relief[_box(rect, shape)] += width / 180
    relief = _blurred(relief, width / 1800)
    for seam in surface.seams:
        _weld(relief, seam)
    for x, y, radius in rivets:
        window, distance = _around(relief, x, y, 1.5 * radius)
        head = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1)) * radius * 0.7
        window += head + (distance < 1.4 * radius) * (radius * 0.15)  # on a flat washer
    relief += _noise(rng, shape, width / 300, 3) * (width / 22000)  # brush and orange peel
    return relief


def _weld(relief: Field, seam: Rect) -> None:
    """Add a bead of overlapping ripples along a straight seam."""
    height, width = relief.shape
    x0, y0, x1, y1 = np.array(seam) * (width, height, width, height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    length = np.hypot(x1 - x0, y1 - y0)
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
    across = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length / (width / 170)  # −1 … 1
    inside = (np.abs(across) < 1) & (along >= 0) & (along <= length)
    ripple = np.abs(np.sin(along / (width / 260) - 1.2 * across**2))
    bead = np.sqrt(np.clip(1 - across**2, 0, 1)) * (0.8 + 0.2 * ripple) * (width / 260)
    relief[inside] += bead[inside]


def _lit(relief: Field, rng: np.random.Generator) -> Field:
    """Light on the relief from the upper left, with cast shadows: factors around 1."""
    width = relief.shape[1]
    slope_x, slope_y = _slopes(relief)
    facing = 1 + 0.55 * np.tanh(0.8 * (slope_x + 1.3 * slope_y))
    reach = width / 260
    away = np.array([[1, 0, reach], [0, 1, 1.6 * reach]], np.float32)
    moved = cv2.warpAffine(relief, away, relief.shape[::-1])
    shadow = _blurred(np.clip(moved - relief, 0, width / 180), reach / 2)
    across = np.linspace(1.15, 0.85, width, dtype=np.float32)
    down = np.linspace(1.08, 0.88, len(relief), dtype=np.float32)[:, None]
    clouds = 1 + 0.05 * _noise(rng, relief.shape, width / 3, 3)
    lit = facing * (1 - 0.5 * np.tanh(shadow / reach)) * across * down * clouds
    return np.asarray(lit, np.float32)


def _shone(base: Field, light: Field) -> Rgb:
    """Colours (h, w, 3) in the light (h, w), as uint8."""
    return np.asarray(np.clip(base * light[..., None], 0, 255), np.uint8)


def _colours(surface: Surface, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Paint, dirt that has run down, the red band and the bricks: (h, w, 3) float32 RGB."""
    width = shape[1]
    dirt = _noise(rng, shape, width / 6, 5) * 0.035
    runs = np.clip(_noise(rng, shape, (width / 5, width / 90), 3) - 0.6, 0, 2) * -0.05
    base = np.full((*shape, 3), surface.paint, np.float32)
    if surface.red:
        base[_box(surface.red, shape)] = (148, 44, 36)
    base *= (1 + dirt + runs)[..., None]
    if surface.brick < 1:
        top = round(surface.brick * shape[0])
        base[top:] = _bricks((shape[0] - top, width), rng)
    return base


def _bricks(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """A wall of bricks with light joints: (h, w, 3) float32 RGB."""
    brick_h, brick_w = shape[1] / 42, shape[1] / 15
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    row = (y / brick_h).astype(int)
    x += row % 2 * brick_w / 2
    column = (x / brick_w).astype(int)
    tone = rng.normal(1, 0.12, (row.max() + 1, column.max() + 1)).astype(np.float32)[row, column]
    tone += 0.08 * _noise(rng, shape, brick_h, 4)
    joint = (y % brick_h < brick_h * 0.12) | (x % brick_w < brick_h * 0.12)
    wall = tone[..., None] * np.array((142, 78, 62), np.float32)
    wall[joint] = (150, 144, 134)
    return np.asarray(wall, np.float32)


# --- the rust


def _onset(
    surface: Surface, rivets: list[Circle], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Field, Field]:
    """The age, around 0 … 1 and more, at which each pixel has rusted, and how thick: 0 … 1."""
    height, width = shape
    crust = _from_lines(surface, shape, rng)
    stain = np.full(shape, NEVER, np.float32)
    for x, y, radius in rivets:
        vigour = rng.gamma(1.1, 0.5)  # many hardly rust, a few a lot
        _spread(crust, x, y, radius * min(vigour, 0.5) + width / 55 * vigour)
        _run_down(stain, x, y + radius, width / 130 * vigour**0.5, width / 6 * vigour)
    for x, y in rng.uniform(0, 1, (40, 2)) * (width, height):
        _spread(crust, x, y, width / 90 * rng.gamma(0.8, 0.5))
    crust, stain = _frayed([crust, stain], rng)
    fibres = 0.12 * _noise(rng, shape, (width / 20, width / 260), 3)
    onset: Field = np.minimum(crust, stain + fibres) + np.float32(0.06)
    onset += 0.16 * _noise(rng, shape, width / 70, 6) + 0.07 * _noise(rng, shape, width / 350, 2)
    onset[round(surface.brick * height) :] = NEVER
    stained = np.clip(3 * (crust - stain), 0, 1)  # 1 where only a streak covers the paint
    thick = np.clip(1 - stained * (0.35 - fibres), 0.4, 1)
    return _blurred(onset, max(width / 2000, 0.3)), np.asarray(thick, np.float32)


def _frayed(fields: list[Field], rng: np.random.Generator) -> list[Field]:
    """The same fields with their shapes bent by noise, all in the same way."""
    height, width = shape = fields[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x += _noise(rng, shape, width / 50, 6) * (width / 450)
    y += _noise(rng, shape, width / 50, 6) * (width / 450)
    bent = (cv2.remap(f, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for f in fields)
    return [np.asarray(f, np.float32) for f in bent]


def _from_lines(surface: Surface, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Rust that starts along parts of the seams and of the plates' edges."""
    height, width = shape
    lines = np.full(shape, 255, np.uint8)
    scale = np.array((width, height, width, height))
    for x0, y0, x1, y1 in (np.array([*surface.plates, *surface.seams]) * scale).astype(int):
        cv2.rectangle(lines, (x0, y0), (x1, y1), 0)
    lines[:2], lines[-2:], lines[:, :2], lines[:, -2:] = 255, 255, 255, 255
    away = np.asarray(cv2.distanceTransform(lines, cv2.DIST_L2, 5), np.float32)
    vigour = np.clip(0.5 * _noise(rng, shape, width / 7, 4) - 0.1, 0.02, 1)
    return np.asarray(np.minimum(away / (width / 45 * vigour), NEVER), np.float32)


def _spread(onset: Field, x: float, y: float, reach: float) -> None:
    """Rust that grows round a point and has come `reach` pixels far at age 1."""
    window, distance = _around(onset, x, y, 2 * reach + 1)
    np.minimum(window, distance / (reach + 0.1), out=window)


def _run_down(onset: Field, x: float, y: float, breadth: float, length: float) -> None:
    """A streak below a point, narrower and later the further it has run; in pixels."""
    top, left = max(int(y), 0), max(int(x - 2 * breadth), 0)
    window = onset[top : int(y + 2 * length) + 1, left : int(x + 2 * breadth) + 1]
    down, across = np.mgrid[: window.shape[0], : window.shape[1]].astype(np.float32)
    narrow = breadth * (0.35 + 0.65 / (1 + 4 * down / (length + 1)))
    arrival = down / (length + 1) + ((across + left - x) / narrow) ** 2 * 0.6
    np.minimum(window, arrival + 0.1, out=window)


def _rusted(base: Field, light: Field, onset: Field, thick: Field, rng: np.random.Generator) -> Rgb:
    """How every pixel looks once it has rusted: scaly, pitted, older in the middle."""
    shape, width = onset.shape, onset.shape[1]
    scale = _noise(rng, shape, width / 60, 7)
    tone = (
        0.36
        + 0.16 * scale
        + 0.22 * np.clip(onset, 0, 1)
        + 0.05 * rng.standard_normal(shape, np.float32)
    )
    tone[_noise(rng, shape, width / 220, 3) > 1.5] -= 0.3  # pits
    ramp = np.linspace(0, 1, len(RUST_TONES))
    table = np.stack(
        [np.interp(np.linspace(0, 1, 256), ramp, tones) for tones in zip(*RUST_TONES, strict=True)]
    ).T.astype(np.float32)
    rust = table[(np.clip(tone, 0, 1) * 255).astype(np.uint8)]
    rust *= (1 + 0.4 * np.tanh(1.5 * sum(_slopes(scale))))[..., None]
    return _shone(base + (rust - base) * thick[..., None], light)


# --- shapes and noise


def _box(rect: Rect, shape: tuple[int, int]) -> tuple[slice, slice]:
    """A rectangle given in shares, as rows and columns."""
    (height, width), (x0, y0, x1, y1) = shape, rect
    return slice(round(y0 * height), round(y1 * height)), slice(
        round(x0 * width), round(x1 * width)
    )


def _around(field: Field, x: float, y: float, reach: float) -> tuple[Field, Field]:
    """The part of a field that is near a point, as a view, and its distances from the point."""
    top, left = max(int(y - reach), 0), max(int(x - reach), 0)
    window = field[top : int(y + reach) + 2, left : int(x + reach) + 2]
    rows, columns = (np.arange(n, dtype=np.float32) for n in window.shape)
    return window, np.hypot(columns[None] + left - x, rows[:, None] + top - y)


def _slopes(field: Field) -> tuple[Field, Field]:
    """Its rise per pixel to the right and downwards."""
    right, down = (cv2.Scharr(field, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return np.asarray(right / 32, np.float32), np.asarray(down / 32, np.float32)


def _blurred(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def _noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: float | tuple[float, float],
    octaves: int,
) -> Field:
    """Fractal noise (h, w), mean about 0 and deviation 1; `cell` is its coarsest grain."""
    cells = np.maximum(np.array(cell) * (1.0, 1.0), 1)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid_h, grid_w = np.ceil(shape / np.maximum(cells / 2**octave, 1)).astype(int) + 1
        grid = rng.standard_normal((grid_h, grid_w), np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return np.asarray(total / total.std(), np.float32)


# --- the files


def write(
    path: Path,
    *,
    size: tuple[int, int] = (1280, 720),
    seconds: float = 8.0,
    fps: Fraction = Fraction(30),
    seed: int = 7,
    overwrite: bool = False,
) -> Path:
    """Write the footage (H.264 and an AAC tone) to `path` and its true masks beside it.

    The masks, at `files.masks_of(path)`, are FFV1, gray, 0 or 255, of the same size and frame times
    (to the millisecond, which is all that Matroska keeps). Both files appear whole or not at all.
    Raises UsageError for a size, length or suffix that cannot be, SinkError for a file that is in
    the way or cannot be written. Returns `path`.
    """
    if min(size) < 64 or size[0] % 2 or size[1] % 2:
        raise UsageError(f"demo: width and height must be even and at least 64, received {size}")
    if not math.isfinite(seconds) or round(Fraction(seconds) * fps) < 1:
        raise UsageError(
            f"demo: {seconds} s at {fps} frames/s is less than one frame; ask for more"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    for target in (path, masks_of(path)):
        if target.exists() and not overwrite:
            raise SinkError(f"{target}: exists already; choose another name or pass --overwrite")
    with _whole(path, masks_of(path)) as (film, truth):
        _encode(film, truth, scenes(size, fps, seconds, seed), size, fps)
    return path


@contextmanager
def _whole(*targets: Path) -> Iterator[list[Path]]:
    """Names to write to: they become the targets at the end, and are gone after any error."""
    parts = [target.with_name(f"{target.stem}.part{target.suffix}") for target in targets]
    try:
        yield parts
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    except (OSError, av.error.FFmpegError) as exc:
        reason = exc.strerror or exc
        raise SinkError(
            f"{targets[0]}: cannot be written: {reason}; check folder and space"
        ) from exc
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()


def _encode(
    film_path: Path,
    truth_path: Path,
    frames: Iterator[tuple[Rgb, NDArray[np.uint8]]],
    size: tuple[int, int],
    fps: Fraction,
) -> None:
    with av.open(str(film_path), "w") as film, av.open(str(truth_path), "w") as truth:
        options = {"preset": "superfast", "crf": "23"}
        video = film.add_stream("libx264", rate=fps, options=options, pix_fmt="yuv420p")
        masks = truth.add_stream("ffv1", rate=fps, pix_fmt="gray")
        sound = film.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        video.width, video.height = masks.width, masks.height = size
        video.colorspace = video.color_primaries = video.color_trc = BT709
        video.color_range = LIMITED_RANGE
        for index, (rgb, mask) in enumerate(frames):
            film.mux(video.encode(_yuv(rgb)))
            film.mux(sound.encode(_tone(index, fps)))
            truth.mux(masks.encode(av.VideoFrame.from_ndarray(mask * np.uint8(255), "gray")))
        film.mux(video.encode(None))
        film.mux(sound.encode(None))
        truth.mux(masks.encode(None))


def _yuv(rgb: Rgb) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")


def _tone(index: int, fps: Fraction) -> av.AudioFrame:
    """The sound that belongs to one frame: a quiet hum."""
    start, end = (round((index + i) / fps * SAMPLE_RATE) for i in (0, 1))
    hum = 0.04 * np.sin(2 * np.pi * 220 / SAMPLE_RATE * np.arange(start, end))
    frame = av.AudioFrame.from_ndarray(hum[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
    return frame
