"""The model card: what a stranger must know before trusting the weights."""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import version

from rustvid.training.data import PhotoSet
from rustvid.training.recipe import TrainConfig


def write(photos: PhotoSet, held_out: int, config: TrainConfig) -> str:
    """Markdown with data, recipe, versions and limits; the metrics are added by who measures."""
    corroded = len(photos.where(True))
    faults = ", ".join(f"{count} {name}" for name, count in sorted(photos.faults.items()))
    recipe = "\n".join(f"| {k} | {v} |" for k, v in dataclasses.asdict(config).items())
    packages = ", ".join(f"{name} {version(name)}" for name in ("keras", "numpy"))
    return f"""# Model card: rustvid-student

## Data
{corroded} photographs with corrosion, {len(photos.photos) - corroded} without, each with that one
label and nothing else: no pixel was labelled by hand. Left out: {faults or "none"}.
{held_out} of these photographs were kept out of training for validation.
SHA-256 of the listing (names and content): `{photos.listing}`

## Recipe
| option | value |
|---|---|
{recipe}

Python {platform.python_version()}, {packages}.

## Limits
Trained on web photographs, most without a stated licence, which are not redistributed.
"""
