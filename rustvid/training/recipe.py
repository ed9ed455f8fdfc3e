"""The training recipe: every option, its default and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rustvid.config import HIGHEST_SEED, option, section

ADAPT_STEPS = 150  # of `rustvid adapt`


@dataclass(frozen=True)
class PaperConfig:
    """Of the paper's classifier; what the paper states is the default."""

    filters: int = option(64, "of the first section", low=1, high=256)
    epochs: int = option(35, "passes over as many photos of either class", low=1)
    rate: float = option(1e-5, "learning rate of Adam", low=0)
    batch: int = option(8, "photos of a step; the paper does not say", low=1)
    rotation: float = option(0.2, "radians by which a photo is turned, either way", low=0, high=3.2)


@dataclass(frozen=True)
class TrainConfig:
    """Read by `rustvid.config.load(path, TrainConfig())`; a file holds differences."""

    network: Literal["student", "classifier", "guided"] = option(
        "student",
        "what is trained; classifier: the paper's, by its recipe (section paper); guided: the "
        "paper's with paper.filters, by this recipe, so that its heat map learns where rust is",
    )
    seed: int = option(0, "of everything that is drawn at random", low=0, high=HIGHEST_SEED)
    precision: Literal["float32", "mixed_bfloat16"] = option(
        "float32",
        "arithmetic of a step; mixed_bfloat16: a third of the time for the paper's network where "
        "the processor multiplies it in hardware (amx_bf16), measured slower for a student",
    )
    longest: int = option(496, "photos are shrunk to this longest side", low=64)
    validation: float = option(
        0.1, "share of photos, by name, kept out of training", low=0, high=0.5
    )

    weak: bool = option(False, "learn from DATA/weak too, whose labels are noisy")
    weak_doubt: float = option(
        0.3,
        "with a teacher: p(corrosion) from which a weak photo may be corroded, and its distance "
        "from 1 at which it may be clean; photos that contradict their label are left out",
        low=0,
        high=1,
    )
    start: str | None = option(
        "rustvid-student",
        "what to begin with: a model of the same kind, shipped or .npz (guided: with as many "
        "filters, or fewer); imagenet: the student's encoder alone (pip install 'rustvid[train]'); "
        "null: nothing",
    )
    teacher: str | None = option(
        None,
        "a student, shipped or .npz, whose evidence labels corroded photos in round 0 already; "
        "null: round 0 knows of them only what cannot be rust",
    )
    first: int = option(1000, "steps of round 0, whose material is chosen by colour", low=1)
    steps: int = option(700, "steps of each later round, taught by the round before", low=1)
    rounds: int = option(2, "rounds, the first included", low=1, high=20)
    rate: float = option(5e-4, "peak learning rate of round 0; warm-up, then a cosine", low=0)
    later_rate: float = option(2e-4, "the same of each later round", low=0)
    encoder_pace: float = option(
        1.0,
        "of the student's encoder, as a share of rate (weight decay is not slowed): slower, it "
        "keeps more of ImageNet",
        low=0,
        high=1,
    )
    neuron_pace: float = option(
        1.0,
        "of the student's neuron for p(corrosion), as a share of rate: it hears 1,280 features; "
        "at full pace its answer leaps from step to step",
        low=0,
        high=1,
    )
    decay: float = option(1e-4, "weight decay of AdamW", low=0)
    warmup: int = option(100, "steps of rising learning rate in each round", low=1)
    patience: int = option(
        0,
        "end a round early after so many validations (one in 250 steps) without a better area "
        "under the ROC; 0: never, for masks go on getting better when it no longer does",
        low=0,
    )
    horizon: int = option(200, "steps over which the weights that ship are averaged", low=10)

    probe: bool = option(
        True,
        "fit p(corrosion) to whole photos at the end; a student gets a second witness: a linear "
        "neuron on an encoder that stays as ImageNet left it; guided: its own neuron once more",
    )

    crop: int = option(
        224, "side of a training picture, a multiple of 32 (guided: 16 n + 140)", low=32
    )
    composites: int = option(5, "pictures of a batch: rust and decoys on clean photos", low=0)
    on_corroded: int = option(1, "pictures of a batch: rust and decoys on corroded photos", low=0)
    all_rust: int = option(1, "pictures of a batch: rust from edge to edge, decoys on it", low=0)
    clean: int = option(5, "pictures of a batch: clean photos", low=0)
    corroded: int = option(4, "pictures of a batch: corroded photos", low=0)

    ground: float = option(
        0.0,
        "share of composites partly covered by another, clean photo, preferably one in rust's "
        "colours: soil and rubble lie under rusting bridges",
        low=0,
        high=1,
    )
    stamp: float = option(
        0.0, "share of all pictures with a camera's date, in orange or red", low=0, high=1
    )

    paint: float = option(
        0.0,
        "share of composites with parts painted in the colours of rust, which are clean",
        low=0,
        high=1,
    )

    image_weight: float = option(0.5, "of the loss on p(corrosion), beside the pixels'", low=0)
    dice_weight: float = option(0.5, "of the Dice loss, beside cross entropy", low=0)
    rust_window: float = option(
        0.7, "mean colour likelihood from which a window of a corroded photo is rust", low=0, high=1
    )
    decoy_window: float = option(
        0.4, "mean colour likelihood from which a window of a clean photo is a decoy", low=0, high=1
    )
    labels: Literal["hard", "soft", "crf"] = option(
        "hard",
        "what a network's evidence teaches on corroded photos; hard: what it is sure of; "
        "soft: the evidence as a probability, ½ at rust_level; crf: what the dense CRF is sure "
        "of, which brings the evidence, neutral at rust_level, to the photo's edges and colours, "
        "and what the evidence does not contradict",
    )
    rust_level: float = option(
        0.35,
        "hard: evidence above which a corroded photo's pixel is taught as rust; soft, crf: neutral",
        low=0.01,
        high=0.99,
    )
    clean_level: float = option(
        0.04,
        "hard: evidence below which it is taught as clean, between the two it is unknown; crf: "
        "below which it is never taught as rust",
        low=0,
    )

    label_sizes: str = option(
        "",
        "sides in pixels, such as 320,448,576, at which the network that labels looks at a photo: "
        "the means of its evidence teach; empty: its own size",
    )

    paper: PaperConfig = section(PaperConfig, "network: classifier, and filters of guided")

    @property
    def run_dtype(self) -> str:
        """Arithmetic of the network when it only looks."""
        return "bfloat16" if self.precision == "mixed_bfloat16" else "float32"

    def end(self, number: int) -> int:
        """The last step of a round."""
        return self.first + number * self.steps

    @property
    def total(self) -> int:
        """Steps of all rounds."""
        return self.end(self.rounds - 1)
