"""The training recipe: every option, its default and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rustvid.config import option


@dataclass(frozen=True)
class TrainConfig:
    """Read by `rustvid.config.load(path, TrainConfig())`; a file holds differences."""

    seed: int = option(0, "of everything that is drawn at random")
    filters: int = option(16, "of the first section; 64 is the paper's network", low=1, high=256)
    precision: Literal["float32", "mixed_bfloat16"] = option(
        "float32", "arithmetic of a step; mixed_bfloat16 is twice as fast where the CPU has it"
    )
    longest: int = option(496, "photos are shrunk to this longest side", low=64)
    validation: float = option(
        0.1, "share of photos, by name, kept out of training", low=0, high=0.5
    )

    start: str | None = option(None, "a model whose encoder to begin with: shipped, or .npz")
    first: int = option(800, "steps of round 0, whose material is chosen by colour", low=1)
    steps: int = option(1000, "steps of each later round, material chosen by the network", low=1)
    rounds: int = option(1, "rounds, the first included", low=1, high=20)
    rate: float = option(1e-3, "peak learning rate; warm-up, then cosine over all rounds", low=0)
    decay: float = option(1e-4, "weight decay of AdamW", low=0)
    warmup: int = option(100, "steps of rising learning rate", low=1)
    horizon: int = option(200, "steps over which the weights that ship are averaged", low=10)

    crop: int = option(224, "side of a training picture, a multiple of 16", low=32)
    middle_crop: int = option(
        160, "the same in the rounds between first and last: half the cost, more pictures", low=32
    )
    composites: int = option(7, "pictures of a batch: rust and decoys on clean photos", low=0)
    on_corroded: int = option(2, "pictures of a batch: rust and decoys on corroded photos", low=0)
    clean: int = option(4, "pictures of a batch: clean photos", low=0)
    corroded: int = option(3, "pictures of a batch: corroded photos", low=0)

    image_weight: float = option(0.5, "of the loss on p(corrosion), beside the pixels'", low=0)
    dice_weight: float = option(0.5, "of the Dice loss, beside cross entropy", low=0)
    rust_window: float = option(
        0.7, "mean colour likelihood from which a window of a corroded photo is rust", low=0, high=1
    )
    decoy_window: float = option(
        0.4, "mean colour likelihood from which a window of a clean photo is a decoy", low=0, high=1
    )
    rust_share: float = option(
        0.14, "share of corroded photos' pixels, surest first, taken for rust in round 1", low=0
    )
    clean_share: float = option(
        0.55, "share of corroded photos' pixels, surest first, taken for clean in round 1", low=0
    )
    rust_growth: float = option(0.08, "added to rust_share in each later round", low=0)
    clean_growth: float = option(
        -0.15, "added to clean_share: what is rust but hard to see must not be taught as clean"
    )

    def shares(self, number: int) -> tuple[float, float]:
        """(clean, rust) shares of round 1, 2, …, within [0, 1] and not overlapping."""
        rust = min(self.rust_share + self.rust_growth * (number - 1), 1.0)
        clean = self.clean_share + self.clean_growth * (number - 1)
        return min(max(clean, 0.0), 1 - rust), rust

    @property
    def run_dtype(self) -> str:
        """Arithmetic of the network when it only looks."""
        return "bfloat16" if self.precision == "mixed_bfloat16" else "float32"

    def side(self, number: int) -> int:
        """Side of the pictures of a round."""
        return self.crop if number in (0, self.rounds - 1) else self.middle_crop

    @property
    def total(self) -> int:
        """Steps of all rounds."""
        return self.first + self.steps * (self.rounds - 1)
