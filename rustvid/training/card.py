"""The model card: what a stranger must know before trusting the weights."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from importlib.metadata import version

from rustvid.training import data, tables
from rustvid.training.data import PhotoSet
from rustvid.training.evaluate import ClassReport
from rustvid.training.masks import SetReport
from rustvid.training.recipe import TrainConfig


def write(
    photos: PhotoSet,
    held_out: int,
    config: TrainConfig,
    metrics: str = "",
    *,
    name: str,
    weak: int = 0,
) -> str:
    """Markdown with data, recipe, versions and limits; metrics: see `measured`; weak: photographs
    with noisy labels that were used besides."""
    corroded = len(photos.where(True))
    faults = ", ".join(f"{count} {name}" for name, count in sorted(photos.faults.items()))
    near = [group for group in data.near_groups(photos.photos) if len(group) > 1]
    recipe = "\n".join(f"| {k} | {v} |" for k, v in dataclasses.asdict(config).items())
    packages = ", ".join(f"{name} {version(name)}" for name in ("keras", "numpy"))
    noisy = f"\n{weak} more with noisy labels were learned from." if weak else ""
    return f"""# Model card: {name}

## Data
{corroded} photographs with corrosion, {len(photos.photos) - corroded} without, each with that one
label and nothing else: no pixel was labelled by hand. Left out: {faults or "none"}.
{held_out} of these photographs were kept out of training for validation. {sum(map(len, near))}
are near-identical to another; those stay together on one side of the split.{noisy}
SHA-256 of the listing (names and content): `{photos.listing}`

## Recipe
| option | value |
|---|---|
{recipe}

Python {platform.python_version()}, {packages}.

## Limits
It knows what these photographs show. Of anything else, judge it first (`rustvid evaluate`).
{metrics}"""


def measured(photos: ClassReport | None = None, sets: Sequence[SetReport] = ()) -> str:
    """The card's section of metrics, Markdown, of what was evaluated."""
    parts = ["\n## Metrics"]
    if photos:
        values = ", ".join(f"{name} {value}" for name, value in photos.estimates.items())
        parts.append(
            f"p(corrosion) on {len(photos.names)} photographs, which taught nothing but a "
            f"student's level of p, at p > 0.5: {values}."
        )
    if sets:
        parts.append(tables.markdown(tables.MASK_HEADER, tables.mask_rows(sets)))
        parts += [line for found in sets if (line := tables.trust_line(found))]
    return "\n\n".join(parts) + "\n"
