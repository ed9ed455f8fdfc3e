"""Batches: composites, clean photos and corroded photos side by side, made by threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.threads import ReadAhead
from rustvid.training.composites import (
    IGNORE,
    Sample,
    compose,
    finish,
    lay,
    pick,
    texture,
    view,
)
from rustvid.training.data import Image, Photo

Floats = NDArray[np.float32]

_AHEAD = 6  # batches that wait for the network


@dataclass(frozen=True)
class Labelled:
    """A photo with what is known of its pixels: (h, w) float32 in [0, 1], or -1 unknown."""

    image: Image
    label: Floats


@dataclass(frozen=True)
class Stock:
    """All that batches are made of; masked: photos whose every pixel is labelled; earthy: clean
    photos in the colours of rust."""

    clean: Sequence[Photo]
    corroded: Sequence[Labelled]
    rust: Sequence[Image]
    decoys: Sequence[Image]
    masked: Sequence[Labelled] = ()
    earthy: Sequence[Photo] = ()


@dataclass(frozen=True)
class Mix:
    """How many pictures of each kind a batch holds, and their side in pixels; ground, stamp,
    paint: share of composites with another photo's ground, of all pictures with a date, and of
    composites with painted parts."""

    size: int
    composites: int
    on_corroded: int
    all_rust: int
    clean: int
    corroded: int
    masked: int = 0
    ground: float = 0.0
    stamp: float = 0.0
    paint: float = 0.0


Batch = tuple[Floats, dict[str, Floats]]


def batch(rng: np.random.Generator, stock: Stock, mix: Mix) -> Batch:
    """(B, s, s, 3) float32 in [-1, 1], and labels: "evidence" (B, s/2, s/2), "probability" (B,)."""
    samples = [_on_clean(rng, stock, mix) for _ in range(mix.composites)]
    samples += [_on_corroded(rng, stock, mix) for _ in range(mix.on_corroded)]
    samples += [_all_rust(rng, stock, mix) for _ in range(mix.all_rust)]
    samples += [_clean(rng, stock, mix) for _ in range(mix.clean)]
    samples += [_corroded(rng, stock, mix) for _ in range(mix.corroded)]
    samples += [_masked(rng, stock, mix) for _ in range(mix.masked)]
    images = np.stack([sample.image for sample in samples]).astype(np.float32) / 127.5 - 1
    evidence = np.stack([sample.label[::2, ::2] for sample in samples])
    whole = np.array([sample.corroded for sample in samples], np.float32)
    return images, {"evidence": evidence, "probability": whole}


def _known_clean(image: Image) -> Floats:
    return np.zeros(image.shape[:2], np.float32)


def _on_clean(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    photo = pick(rng, stock.clean)
    image, _ = view(rng, photo.image, None, mix.size, (0.4, 1.6))
    below, label = _grounded(rng, image, _known_clean(image), stock, mix)
    return _composed(rng, below, label, stock, mix)


def _on_corroded(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    photo = pick(rng, stock.corroded)
    image, label = view(rng, photo.image, photo.label, mix.size, (0.4, 1.6))
    assert label is not None
    below, label = _grounded(rng, image, label, stock, mix)
    return _composed(rng, below, label, stock, mix)


def _composed(
    rng: np.random.Generator,
    below: Image | Floats,
    label: Floats,
    stock: Stock,
    mix: Mix,
    *,
    only_decoys: bool = False,
) -> Sample:
    return compose(
        rng,
        below,
        label,
        stock.rust,
        stock.decoys,
        only_decoys=only_decoys,
        stamp=mix.stamp,
        paint=mix.paint,
    )


def _grounded(
    rng: np.random.Generator, image: Image | Floats, label: Floats, stock: Stock, mix: Mix
) -> tuple[Image | Floats, Floats]:
    """With a part of it covered by a clean photo's ground, now and then."""
    if not mix.ground or rng.random() >= mix.ground:
        return image, label
    photos = stock.earthy if stock.earthy and rng.random() < 0.6 else stock.clean
    ground, _ = view(rng, pick(rng, photos).image, None, mix.size, (0.4, 1.6))
    return lay(rng, image.astype(np.float32), label, ground)


def _all_rust(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    """Rust from edge to edge, perhaps with decoys on it: else rust is learned by its outline,
    and the middle of a plate that is all rust stays unmarked."""
    image = texture(rng, pick(rng, stock.rust), mix.size)
    known = np.ones((mix.size, mix.size), np.float32)
    below, label = _grounded(rng, image, known, stock, mix)
    return _composed(rng, below, label, stock, mix, only_decoys=True)


def _clean(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    photo = pick(rng, stock.clean)
    image, _ = view(rng, photo.image, None, mix.size, (0.35, 1.6))
    return finish(rng, image.astype(np.float32), _known_clean(image), 0.0, mix.stamp)


def _corroded(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    """Most of them nearly whole, so that the photo's own label holds for the view."""
    photo = pick(rng, stock.corroded)
    whole = rng.random() < 0.6
    zoom = (0.3, 0.55) if whole else (0.55, 1.6)
    image, label = view(rng, photo.image, photo.label, mix.size, zoom)
    assert label is not None
    corroded = 1.0 if whole or (label > 0.5).mean() > 0.01 else IGNORE
    return finish(rng, image.astype(np.float32), label, corroded, mix.stamp)


def _masked(rng: np.random.Generator, stock: Stock, mix: Mix) -> Sample:
    """Its pixels say what the picture's label is."""
    photo = pick(rng, stock.masked)
    image, label = view(rng, photo.image, photo.label, mix.size, (0.5, 1.3))
    assert label is not None
    return finish(rng, image.astype(np.float32), label, stamp=mix.stamp)


@contextmanager
def stream(stock: Stock, mix: Mix, seed: int, first: int = 1) -> Iterator[Iterator[Batch]]:
    """An endless iterator of the batches of steps first, first + 1, …, made ahead by a thread
    that ends with the context. A batch depends on seed and step alone, so that training can
    be taken up where it was broken off."""
    cv2.setNumThreads(1)
    made = (batch(np.random.default_rng((seed, step)), stock, mix) for step in count(first))
    with ReadAhead(made, _AHEAD, "rustvid-batches") as ahead:
        yield iter(ahead)
