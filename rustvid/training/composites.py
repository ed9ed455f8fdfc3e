"""Composites: pictures whose every pixel is known to be rust or not, with no human mask.

A background, and on it any number of pastes: rust (its soft mask is the label), decoys (clean
textures through the same shapes: the label forgets what they cover) and parts painted in the
colours of rust. Everything that
could give rust away, the outline, the light, the blur, the JPEG, happens to decoys alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.training import shapes
from rustvid.training.data import Image

Floats = NDArray[np.float32]
T = TypeVar("T")
IGNORE = -1.0  # label of a pixel, or a picture, that teaches nothing


@dataclass(frozen=True)
class Sample:
    """image (s, s, 3) uint8 RGB; label (s, s) float32: 1 corrosion, 0 clean, -1 unknown;
    corroded: the whole picture's label, 1, 0 or -1."""

    image: Image
    label: Floats
    corroded: float


def view(
    rng: np.random.Generator,
    image: Image,
    label: Floats | None,
    size: int,
    zoom: tuple[float, float],
) -> tuple[Image, Floats | None]:
    """A random square of the picture, its scale changed by `zoom` and the aspect by up to 1.2,
    mirrored at random; what lies outside the picture is reflected. Label unknown stays unknown."""
    scale = np.exp(rng.uniform(*np.log(zoom)))
    scale = max(scale, size / max(image.shape[:2]) * 0.8)
    stretch = np.exp(rng.uniform(-0.18, 0.18))
    angle = rng.normal(0, 0.12) + (rng.integers(0, 4) * np.pi / 2 if rng.random() < 0.15 else 0)
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * stretch * flip, scale / stretch])
    slack = np.maximum(np.array(image.shape[1::-1]) - size / scale, 0) / 2
    centre = np.array(image.shape[1::-1]) / 2 + rng.uniform(-1, 1, 2) * slack
    matrix = np.column_stack([linear, size / 2 - linear @ centre])
    if scale < 0.8:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / scale), np.uint8)
    seen = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    if label is None:
        return np.asarray(seen, np.uint8), None
    marked = cv2.warpAffine(
        label,
        matrix,
        (size, size),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=IGNORE,
    )
    return np.asarray(seen, np.uint8), np.asarray(marked, np.float32)


def texture(rng: np.random.Generator, patch: Image, size: int) -> Floats:
    """The patch (h, w, 3) enlarged, turned and mirrored to fill the picture: (s, s, 3) float32."""
    scale = np.exp(rng.uniform(-0.5, 0.7))
    angle = rng.choice([0, 0, 90, 180, rng.uniform(0, 360)])
    height, width = patch.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    place = rng.uniform(0, size, 2) - np.array([width, height]) / 2
    matrix = np.column_stack([matrix[:, :2], matrix[:, 2] + place])
    image = cv2.warpAffine(patch, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(image, np.float32)


def paste(rng: np.random.Generator, below: Floats, patch: Image) -> tuple[Floats, Floats]:
    """Put the patch on the picture (s, s, 3) float32: the new picture, and alpha (s, s)."""
    size = below.shape[0]
    above = texture(rng, patch, size)
    alpha = shapes.any_shape(rng, below) * np.float32(rng.uniform(0.8, 1.0))
    lit = _lit(rng, _toned(rng, above), below)
    mixed = below + alpha[..., None] * (lit - below)
    return np.asarray(mixed, np.float32), alpha


def _toned(rng: np.random.Generator, above: Floats) -> Floats:
    """Rust is not always orange: wet, old or badly lit it is dark and dull, and so are decoys."""
    dull = float(rng.uniform(0.5, 1.15))
    mix = np.exp(rng.normal(-0.15, 0.25)) * (dull * np.eye(3) + (1 - dull) / 3)
    return np.asarray(cv2.transform(above, mix), np.float32)


def _lit(rng: np.random.Generator, above: Floats, below: Floats) -> Floats:
    """The patch in the light of the picture it lies on, or as a stain through which one sees."""
    kind = rng.random()
    if kind < 0.25:
        through = above / (np.percentile(above[::4, ::4], 95) + 1)
        return np.asarray(0.5 * above + 0.5 * below * through, np.float32)
    return above if kind > 0.9 else _in_the_light_of(rng, above, below)


def _in_the_light_of(rng: np.random.Generator, above: Floats, below: Floats) -> Floats:
    """Brighter and darker where the picture below is."""
    window = (max(below.shape[0] // 8, 1),) * 2
    light = np.maximum(cv2.blur(cv2.cvtColor(below, cv2.COLOR_RGB2GRAY), window), 1)
    ratio = (light / (float(above.mean()) + 1)) ** np.float32(rng.uniform(0, 0.8))
    return np.asarray(above * ratio[..., None], np.float32)


def compose(
    rng: np.random.Generator,
    background: Image | Floats,
    base: Floats,
    rust: Sequence[Image],
    decoys: Sequence[Image],
    *,
    only_decoys: bool = False,
    stamp: float = 0.0,
    paint: float = 0.0,
) -> Sample:
    """Paste rust (unless only_decoys), decoys and paint in random order on a background (s, s, 3)
    with known labels `base`; stamp, paint: how probably a camera wrote its date on it, and parts
    painted in the colours of rust stand in it."""
    picture = background.astype(np.float32)
    label = base.copy()
    pastes = ["rust"] * int(rng.choice(4, p=[0.15, 0.45, 0.25, 0.15]) * (not only_decoys))
    pastes += ["decoy"] * int(rng.choice(4, p=[0.3, 0.4, 0.2, 0.1]))
    pastes += ["paint"] * (paint > 0 and rng.random() < paint)
    rng.shuffle(pastes)
    for kind in pastes:
        if kind == "paint":
            picture, alpha = coat(rng, picture)
        else:
            patch = pick(rng, rust) if kind == "rust" else _decoy(rng, rust, decoys)
            picture, alpha = paste(rng, picture, patch)
        label = _marked(label, alpha, is_rust=kind == "rust")
    return finish(rng, picture, label, stamp=stamp)


def lay(
    rng: np.random.Generator, below: Floats, label: Floats, ground: Image
) -> tuple[Floats, Floats]:
    """Cover one side of a picture (s, s, 3) and its label by clean ground (s, s, 3)."""
    alpha = shapes.side(rng, below.shape[0])
    above = ground.astype(np.float32)
    lit = _in_the_light_of(rng, above, below) if rng.random() < 0.5 else above
    mixed = below + alpha[..., None] * (lit - below)
    return np.asarray(mixed, np.float32), _marked(label, alpha, is_rust=False)


def coat(rng: np.random.Generator, below: Floats) -> tuple[Floats, Floats]:
    """Put one to four parts of one paint, in a colour of rust, on the picture (s, s, 3) float32:
    the new picture, and alpha (s, s). Paint is smooth, brightest where a part faces the light."""
    size = below.shape[0]
    colour = _paint(rng)
    glossy, rounded = rng.uniform(0, 0.6) * (rng.random() < 0.6), rng.random() < 0.5
    picture, covered = below, np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        alpha, across = shapes.part(rng, size)
        facing = across - np.float32(rng.uniform(-0.6, 0.6))
        shade = 1 - np.float32(0.6 * rounded) * facing**2
        shade = shade * (1 + np.float32(rng.uniform(0, 0.15)) * shapes.noise(rng, size, 2, 2))
        above = np.maximum(shade, 0.15)[..., None] * colour
        above += 255 * np.float32(glossy) * np.exp(-((facing / 0.2) ** 2))[..., None]
        above += rng.normal(0, rng.uniform(0, 4), (size, size, 1)).astype(np.float32)
        lit = _in_the_light_of(rng, above, below) if rng.random() < 0.5 else above
        picture = picture + alpha[..., None] * (lit - picture)
        covered = np.maximum(covered, alpha)
    return np.asarray(picture, np.float32), covered


def _paint(rng: np.random.Generator) -> Floats:
    """Red, oxide red, brown, orange or ochre paint: (3,) RGB; as often bright as dull."""
    hue, value = rng.uniform(-15, 42) % 360, rng.uniform(0.3, 1)
    saturation = rng.uniform(0.7, 1) if rng.random() < 0.5 else rng.uniform(0.4, 0.7)
    colour = np.array([[[hue, saturation, value]]], np.float32)
    return 255 * np.asarray(cv2.cvtColor(colour, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items, each as probable as the other."""
    return items[int(rng.integers(len(items)))]


def _decoy(rng: np.random.Generator, rust: Sequence[Image], decoys: Sequence[Image]) -> Image:
    """A clean texture; or one painted in the colour of rust; or rust painted in another colour."""
    kind = rng.random()
    if kind < 0.55:
        return pick(rng, decoys)
    if kind < 0.8:  # soil and dirty concrete are that, too: brown, but with another grain
        colour = pick(rng, rust).mean(axis=(0, 1))
        dull = rng.uniform(0.3, 1)
        return _painted(pick(rng, decoys), dull * colour + (1 - dull) * colour.mean())
    colour = 255 * rng.dirichlet(np.ones(3)) * rng.uniform(0.7, 1.6)
    order = [0, 1, 2] if rng.random() < 0.5 else [1, 2, 0]  # blue or green, never red
    return _painted(pick(rng, rust), np.sort(colour)[order])


def _painted(patch: Image, colour: NDArray[np.float64]) -> Image:
    """The patch's light and shade under one colour of paint."""
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    shade = 0.5 + 0.5 * grey / (grey.mean() + 1)
    return np.asarray(np.clip(shade[..., None] * colour, 0, 255), np.uint8)


def _marked(label: Floats, alpha: Floats, is_rust: bool) -> Floats:
    """Where the paste is opaque it decides; where it is half seen nobody knows."""
    label = np.where(alpha > 0.5, np.float32(is_rust), label)
    unsure = (alpha > 0.3) & (alpha <= 0.5) if is_rust else np.zeros_like(alpha, bool)
    return np.asarray(np.where(unsure & (label == 0), IGNORE, label), np.float32)


def finish(
    rng: np.random.Generator,
    picture: Floats,
    label: Floats,
    corroded: float | None = None,
    stamp: float = 0.0,
) -> Sample:
    """What happens to every picture alike: shadow, light, marker, text, blur, noise, JPEG.

    Without `corroded` the label of the whole picture follows from its pixels.
    """
    if rng.random() < 0.3:
        picture = _shadowed(rng, picture)
    picture = _relit(rng, picture)
    if rng.random() < 0.15:
        picture, label = _marker(rng, picture, label)
    if rng.random() < 0.1:
        picture = _watermark(rng, picture)
    if stamp and rng.random() < stamp:
        picture, label = _dated(rng, picture, label)
    image = _degraded(rng, picture)
    if corroded is None:
        amount = float((label > 0.5).mean())
        corroded = 1.0 if amount > 0.005 else IGNORE if (label != 0).any() else 0.0
    return Sample(image, label, corroded)


def _shadowed(rng: np.random.Generator, picture: Floats) -> Floats:
    size = picture.shape[0]
    outline = shapes.band(rng, size) if rng.random() < 0.5 else shapes.body(rng, size)
    shade = cv2.GaussianBlur(outline, (0, 0), rng.uniform(0.5, 6))
    return np.asarray(picture * (1 - rng.uniform(0.2, 0.7) * shade[..., None]), np.float32)


def _relit(rng: np.random.Generator, picture: Floats) -> Floats:
    """Exposure, gamma, white balance, saturation: as cameras and days differ."""
    gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.12))
    contrast = np.exp(rng.normal(0, 0.12))
    curve = (np.arange(256) / 255) ** gamma * gain
    curve = np.clip(((curve - 0.45) * contrast + 0.45) * 255, 0, 255).astype(np.float32)
    x = curve[np.clip(picture, 0, 255).astype(np.uint8)]
    warm = rng.normal(0.03, 0.12)  # lamps and flashes make grey concrete brown
    balance = np.diag(np.exp(rng.normal(0, 0.04, 3) + np.array([warm, 0, -warm])))
    saturation = np.exp(rng.normal(-0.05, 0.3))
    mix = saturation * np.eye(3) + (1 - saturation) / 3
    return np.asarray(cv2.transform(x, mix @ balance), np.float32)


def _marker(rng: np.random.Generator, picture: Floats, label: Floats) -> tuple[Floats, Floats]:
    """A fiducial marker: corroded photos in the collection hold them, clean ones do not."""
    size, cells = picture.shape[0], int(rng.integers(4, 8))
    code = np.zeros((cells + 2, cells + 2), np.float32)
    code[1:-1, 1:-1] = rng.random((cells, cells)) < 0.5
    tile = cv2.resize(code, (96, 96), interpolation=cv2.INTER_NEAREST) * 200 + 20
    side = size * rng.uniform(0.06, 0.25)
    corner = rng.uniform(0, size - side, 2)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    there = np.asarray(corner + side * (square + rng.normal(0, 0.08, (4, 2))), np.float32)
    matrix = cv2.getPerspectiveTransform(square * 95, there)
    drawn = cv2.warpPerspective(tile, matrix, (size, size))
    alpha = cv2.warpPerspective(np.ones_like(tile), matrix, (size, size))
    mixed = picture + alpha[..., None] * (drawn[..., None] - picture)
    return np.asarray(mixed, np.float32), np.where(alpha > 0.5, np.float32(0), label)


def _watermark(rng: np.random.Generator, picture: Floats) -> Floats:
    text = "".join(rng.choice(list("abcdefghikmnopstuvxy0123456789 "), 12))
    ink = np.zeros(picture.shape[:2], np.uint8)
    place = (int(rng.integers(-20, picture.shape[1] // 2)), int(rng.integers(20, picture.shape[0])))
    cv2.putText(
        ink,
        text,
        place,
        int(rng.integers(0, 4)),
        rng.uniform(0.3, 1.2),
        255,
        int(rng.integers(1, 3)),
        cv2.LINE_AA,
    )
    colour = rng.choice(np.array([(255, 255, 255), (255, 150, 40), (20, 20, 20)], np.float32))
    alpha = ink[..., None].astype(np.float32) / 255 * np.float32(rng.uniform(0.2, 1))
    return np.asarray(picture + alpha * (colour - picture), np.float32)


def _dated(rng: np.random.Generator, picture: Floats, label: Floats) -> tuple[Floats, Floats]:
    """The date that a camera writes near a corner, glowing in the colours of rust."""
    size = picture.shape[0]
    ink = np.zeros((size, size), np.uint8)
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1990, 2030)
    gap = str(rng.choice([" ", ".", "/", "-", "'"]))
    text = gap.join([f"{month:02}", f"{day:02}", str(year)])
    font, scale = int(rng.integers(0, 4)), rng.uniform(0.25, 0.8)
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    margin = int(size * rng.uniform(0.02, 0.1))
    left = margin if rng.random() < 0.25 else size - margin - width
    top = margin + height if rng.random() < 0.2 else size - margin
    thick = 2 if scale > 0.5 and rng.random() < 0.5 else 1
    cv2.putText(ink, text, (left, top), font, scale, 255, thick, cv2.LINE_AA)
    glow = cv2.GaussianBlur(ink, (0, 0), 1.2).astype(np.float32) / 255
    alpha = np.maximum(ink.astype(np.float32) / 255, glow) * np.float32(rng.uniform(0.6, 1))
    hue = np.array([255, rng.uniform(20, 190), rng.uniform(0, 80)], np.float32)
    mixed = picture + alpha[..., None] * (hue * np.float32(rng.uniform(0.6, 1)) - picture)
    clean = cv2.dilate(ink, np.ones((3, 3), np.uint8)) > 60
    return np.asarray(mixed, np.float32), np.where(clean & (label < 0.5), 0, label)


def _degraded(rng: np.random.Generator, picture: Floats) -> Image:
    """Lost detail, blur, grain and JPEG, as photographs, drones and phones have them."""
    size = picture.shape[0]
    worse = picture
    if rng.random() < 0.35:
        small = int(size * rng.uniform(0.4, 0.9))
        shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        worse = np.asarray(cv2.resize(shrunk, (size, size)), np.float32)
    elif rng.random() < 0.3:
        worse = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6)), np.float32)
    if rng.random() < 0.5:
        channels = 1 if rng.random() < 0.5 else 3
        grain = rng.standard_normal((size, size, channels), np.float32)
        worse = worse + np.float32(rng.uniform(1, 12)) * grain
    image = np.clip(worse, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(rng.integers(30, 96))
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image
