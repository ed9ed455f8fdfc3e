"""Adapt: teach the student what rusts at your own plant, from some twenty pictures with masks.

The student that ships never saw a pixel label. Where its masks are not good enough, a few masks of
one's own footage say what counts as corrosion there. A quarter of the pictures is kept out, and
judged before and after: whoever adapts sees what it was worth on pictures that taught nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from rustvid.config import Config, as_yaml, differences
from rustvid.errors import UsageError
from rustvid.files import made_folder, replacing
from rustvid.method import models, network, student
from rustvid.method.model import Model
from rustvid.training import batches, data, masks
from rustvid.training.batches import Labelled, Mix, Stock
from rustvid.training.data import Photo
from rustvid.training.examples import Example, ExampleSet
from rustvid.training.losses import pixel_loss
from rustvid.training.masks import MaskReport
from rustvid.training.pupils import student_ready
from rustvid.training.recipe import ADAPT_STEPS, TrainConfig
from rustvid.training.train import State, compile_for
from rustvid.training.watch import Tell
from rustvid.video import check_file

FEWEST = 12  # pictures below which a quarter of them says nothing
HELD_OUT = 0.25
HELD, TAUGHT = 1280, 640  # pixels of the longest side: of 4K footage, too, the network sees 448
_PICTURES = 8  # of a step
_LEVEL = 0.5


@dataclass(frozen=True)
class Adapted:
    """The weights, a configuration that uses them, and the masks of the pictures that were kept
    out, before and after."""

    weights: Path
    settings: Path
    start: str
    taught: int
    steps: int
    before: MaskReport
    after: MaskReport

    @property
    def text(self) -> str:
        """The result as a person reads it."""
        then, now = self.before.estimates, self.after.estimates
        told = (
            f"{self.start}, taught by {self.taught} pictures in {self.steps} steps; on "
            f"{len(self.after.counts)} others pooled IoU {then['IoU']} → {now['IoU']}, area error "
            f"{then['area error'].value:.1f} → {now['area error'].value:.1f} points"
        )
        better = self.after.pooled.iou > self.before.pooled.iou
        return told if better else f"{told}\nno gain on unseen pictures: stay with {self.start}"


def adapt(
    sets: Sequence[ExampleSet],
    out: Path,
    config: Config,
    steps: int = ADAPT_STEPS,
    tell: Tell = lambda step, total, loss: None,
    *,
    overwrite: bool = False,
) -> Adapted:
    """Go on training the student `config.model` with masks.

    Writes `out`/adapted.npz, its card, and adapted.yaml: the configuration that uses it.

    overwrite: what an earlier one wrote there, but never the model that it begins with
    sets: pictures with true masks; a quarter, chosen by a hash of their names, only judges
    steps: of eight views of 224 × 224 pixels each; tell: called after every step
    Raises UsageError where the model is no student or there are too few pictures, SinkError where
    `out` cannot be written.
    """
    name = config.model.name
    path = models.find(name)
    if models.kind_of_file(path) != "student":
        raise UsageError(f"model {name}: is no student, and only a student learns from masks")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, received {steps}")
    weights, settings = out / "adapted.npz", out / "adapted.yaml"
    made_folder(out)  # before minutes are spent
    for result in (weights, settings, weights.with_suffix(".md")):
        own = result.exists() and result.samefile(path)
        if own or (result.exists() and not overwrite):
            remedy = "" if own else " or add --overwrite"
            raise UsageError(f"{result}: exists; choose another --out{remedy}")
        check_file(result)
    taught, held_out = _split([_small(one, HELD) for examples in sets for one in examples])
    before = _judged(held_out, config)
    recipe = _recipe(name, steps)
    keras.utils.set_random_seed(recipe.seed)
    arrays = models.read_weights(path)
    world = student.knows_world(arrays)
    model = student.build(None, logits=True, world=world)
    network.assign_weights(model, arrays, str(path))
    _freeze(model)
    compile_for(model, recipe, pixel_loss(recipe.dice_weight))
    state = State(model, recipe, student_ready(world=world))
    stock = Stock([], [], [], [], [_labelled(_small(one, TAUGHT)) for one in taught])
    mix = Mix(recipe.crop, 0, 0, 0, 0, 0, _PICTURES)
    with batches.stream(stock, mix, recipe.seed) as made:
        while state.step < steps:
            tell(state.step + 1, steps, float(state.advance(*next(made))[0]))
    state.fold()
    network.save_weights(state.ready(), weights)
    used = _with(config, weights)
    with replacing(settings) as part:
        part.write_text(as_yaml(differences(used, Config())), encoding="utf-8")
    after = _judged(held_out, used)
    found = Adapted(weights, settings, name, len(taught), steps, before, after)
    notes = "".join(f"\n- {examples.note}" for examples in sets if examples.note)
    card = (
        f"# Model card: adapted\n\n{found.text}\n\nPixels were labelled by hand, for one plant.\n"
        f"{notes}"
    )
    with replacing(weights.with_suffix(".md")) as part:
        part.write_text(card, encoding="utf-8")
    return found


def _with(config: Config, weights: Path) -> Config:
    """What pixel labels taught needs no help from redness, and is a probability as it stands."""
    model = replace(config.model, name=str(weights.resolve()), redness=0.0)
    return replace(config, model=model, refine=replace(config.refine, level=_LEVEL))


def _freeze(model: Any) -> None:
    """Only the way back up learns. With the encoder, p(corrosion) stays as it was, and with it the
    gate: taught by pictures of which nearly all are corroded, it would call everything so."""
    for layer in model.layers:
        layer.trainable = layer.name.startswith(("up", "evidence_head"))


def _recipe(start: str, steps: int) -> TrainConfig:
    """One round, then all is steady."""
    warmup = max(1, steps // 8)
    return TrainConfig(
        start=start, first=steps, rounds=1, rate=5e-4, warmup=warmup, horizon=max(10, steps // 3)
    )


def _split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """(to teach, to judge); raises UsageError where there are too few."""
    rusty = [example for example in examples if example.mask.any()]
    if len(examples) < FEWEST or not rusty:
        raise UsageError(
            f"adapt needs {FEWEST} pictures with masks or more, and rust in some; found "
            f"{len(examples)}, {len(rusty)} with rust"
        )
    units = _units(examples)
    held_out: set[str] = set()
    for kind in ({units[e.name] for e in rusty}, set(units.values())):
        wanted = max(1, round(HELD_OUT * len(kind))) - len(held_out & kind)
        held_out |= set(sorted(kind - held_out, key=data.share)[: max(0, wanted)])
    taught = [e for e in examples if units[e.name] not in held_out]
    if not any(e.mask.any() for e in taught):
        raise UsageError("all pictures with rust are nearly the same: none is left to judge by")
    return taught, [e for e in examples if units[e.name] in held_out]


def _units(examples: list[Example]) -> dict[str, str]:
    """Name of a picture → of its unit: near-identical pictures, and a second of a film, are one."""
    units = {example.name: example.group for example in examples}
    photos = [Photo(example.name, example.image, True) for example in examples]
    for first, *others in data.near_groups(photos):
        for other in others:
            old, new = units[other.name], units[first.name]
            units = {name: new if unit == old else unit for name, unit in units.items()}
    return units


def _judged(examples: list[Example], config: Config) -> MaskReport:
    """The model's masks of these pictures, by the configuration as it is."""
    model: Any = Model(config.model, config.localise)
    return list(masks.judge("held out", examples, model, config).methods.values())[-1]


def _small(example: Example, longest: int) -> Example:
    """Both picture and mask, so that many frames of a film fit into memory."""
    image = data.fit_inside(example.image, longest)
    mask = example.mask.astype(np.uint8)
    fitted = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return replace(example, image=image, mask=fitted > 0, frame=None)


def _labelled(example: Example) -> Labelled:
    return Labelled(example.image, example.mask.astype(np.float32))
