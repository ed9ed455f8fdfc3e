"""Training in rounds: composites teach a pupil, then it labels the photos of the next.

    rustvid train DATA --out DIR --config train

The pupil is the student, or the paper's classifier (guided.py). Started again with the same --out,
it goes on from the last state that was saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from rustvid.config import ModelConfig
from rustvid.errors import UsageError
from rustvid.files import made_folder, replacing
from rustvid.method import models, network, student
from rustvid.method.model import Model
from rustvid.training import (
    batches,
    card,
    checkpoint,
    choose,
    data,
    evaluate,
    guided,
    losses,
    neuron,
    plots,
    probe,
    pupils,
)
from rustvid.training.pupils import Ready
from rustvid.training.recipe import TrainConfig
from rustvid.training.watch import Tell, Watch

__all__ = ["TrainConfig", "train"]

EVERY = 250  # steps between two states that are saved
LOG = ("loss", "evidence_loss", "probability_loss")
_ENOUGH = 20  # photos of a class that p(corrosion) is levelled by
# How the names of the student's layers begin that have a pace of their own.
ENCODER = ("stem", "stage", "top")
NEURON = "whole_head"


class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """In each round: warm-up, then half a cosine down to 1 % of the round's peak."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def __call__(self, step: Any) -> Any:
        config, step = self.config, ops.cast(step, "float32")
        later = ops.maximum(ops.ceil((step + 1 - config.first) / config.steps), 0.0)
        begin = ops.where(later > 0, config.first + (later - 1) * config.steps, 0.0)
        peak = ops.where(later > 0, config.later_rate, config.rate)
        length = ops.where(later > 0, float(config.steps), float(config.first))
        done = ops.minimum((step - begin) / length, 1.0)
        cosine = 0.01 + 0.99 * 0.5 * (1 + ops.cos(np.pi * done))
        return peak * cosine * ops.minimum((step - begin + 1) / config.warmup, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Keras asks for it when it saves an optimiser, which is not done here."""
        return {}


class Paced(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW whose steps are shorter for some layers of the student (`encoder_pace`,
    `neuron_pace`). A gradient that is not finite counts as none: one batch would end hours."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(Schedule(config), weight_decay=config.decay, global_clipnorm=5.0)
        self._slow = ((ENCODER, config.encoder_pace), (NEURON, config.neuron_pace))
        self._paces: list[float] = []

    def build(self, variables: Any) -> None:
        """Keras tells here which variables there are."""
        self._paces = [self._pace_of(variable.path) for variable in variables]
        super().build(variables)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """One step of all variables."""
        norm = sum(ops.sum(ops.square(gradient)) for gradient in grads)
        grads = [ops.where(ops.isfinite(norm), gradient, 0) for gradient in grads]
        super().apply(grads, trainable_variables)

    def _pace_of(self, path: str) -> float:
        return next((pace for layers, pace in self._slow if path.startswith(layers)), 1.0)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step."""
        pace = self._paces[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * pace)


def compile_for(model: Any, config: TrainConfig, pixels: losses.Loss) -> None:
    """Attach optimiser and losses; pixels: of the evidence."""
    model.compile(
        Paced(config),
        loss={"evidence": pixels, "probability": losses.image_loss},
        loss_weights={"evidence": 1.0, "probability": config.image_weight},
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)


class State:
    """Everything that changes while training: the model, its optimiser, and the mean weights.

    The mean over about `horizon` steps is steadier than any one step; it chooses the
    labels of the next round, and it is what ships.
    """

    def __init__(self, model: Any, config: TrainConfig, ready: Ready) -> None:
        self.model, self.config, self.step = model, config, 0
        self._folded = 0  # the step that the mean knows of
        self.mean = [np.array(value) for value in model.get_weights()]
        self._ready = ready

    def advance(self, images: Any, labels: Any) -> Any:
        """One step; returns the running means of the losses."""
        found = self.model.train_on_batch(images, labels)
        self.step += 1
        if self.step % 10 == 0:
            self.fold()
        return found

    def fold(self) -> None:
        """Let the mean know of the steps since it was last told: every tenth, and at an end."""
        steps, self._folded = self.step - self._folded, self.step
        if not steps:
            return
        keep = min(1 - steps / self.config.horizon, self.step / (self.step + 5 * steps))
        for mean, value in zip(self.mean, self.model.get_weights(), strict=True):
            mean += (1 - keep) * (value - mean)

    def skip_to(self, step: int) -> None:
        """The round is over early; the next one begins with these weights."""
        self.fold()
        self.step = self._folded = step
        self.model.optimizer.iterations.assign(step)  # the schedule counts by it

    def ready(self, dtype: str = "float32") -> Any:
        """The network as it runs, with the mean weights; the same one each time."""
        return self._ready(self.mean, dtype)

    def save(self, path: Path, came: checkpoint.Origin) -> None:
        """Write it all, atomically."""
        extra = {f"mean{i}": value for i, value in enumerate(self.mean)}
        extra |= {"step": np.array(self.step), "folded": np.array(self._folded)}
        checkpoint.save(path, self.model, came, extra)

    def restore(self, saved: checkpoint.Extra) -> None:
        """Go back to what was saved."""
        extra = checkpoint.restore(saved, self.model)
        self.step, self._folded = int(extra["step"]), int(extra["folded"])
        self.mean = [extra[f"mean{i}"] for i in range(len(self.mean))]


def run(state: State, photos: Sequence[data.Photo], watch: Watch, came: checkpoint.Origin) -> None:
    """All rounds that are not done yet."""
    config = state.config
    first = choose.first_stock(photos, config)
    for number in range(config.rounds):
        if state.step >= config.end(number):
            continue
        stock = _chosen(state, photos, first, number, watch.out)
        mix = batches.Mix(
            config.crop,
            config.composites,
            config.on_corroded,
            config.all_rust,
            config.clean,
            config.corroded,
            ground=config.ground,
            stamp=config.stamp,
            paint=config.paint,
        )
        with batches.stream(stock, mix, config.seed, state.step + 1) as made:
            _steps(state, config.end(number), made, watch, came)


def _chosen(
    state: State, photos: Sequence[data.Photo], first: batches.Stock, number: int, out: Path
) -> batches.Stock:
    """The round's stock, labelled by the network as it was when the round began; in round 0 by
    the teacher, if there is one."""
    config = state.config
    if not number:
        if not config.teacher:
            return first
        return choose.next_stock(photos, looking(config.teacher, config), first, config)
    path = out / f"round{number}.npz"
    if state.step == config.end(number - 1) or not path.exists():  # else the round is under way
        network.save_weights(state.ready(), path)
    return choose.next_stock(photos, looking(str(path), config), first, config)


def _pool(folder: Path, config: TrainConfig) -> data.PhotoSet:
    """The pool of noisy labels."""
    read = data.read_weak(folder, config.longest)
    if read is None:
        raise UsageError(f"weak: true, but there is no folder {folder / data.WEAK}; use weak=false")
    return read


def _weak(
    pool: Sequence[data.Photo], held_out: Sequence[data.Photo], config: TrainConfig
) -> Sequence[data.Photo]:
    """Of the pool what neither validation nor teacher speaks against."""
    photos = data.apart(pool, held_out)
    if not config.teacher:
        return photos
    return choose.agreed(photos, looking(config.teacher, config), config)


def looking(name: str, config: TrainConfig) -> list[Model]:
    """A student that labels photos, by nothing but what it has learned, once for each of
    `label_sizes`."""
    if models.kind_of_file(models.find(name)) != "student":
        raise UsageError(f"teacher {name}: is no student, whose evidence alone says where rust is")
    sizes = pupils.sizes_of(config.label_sizes)
    return [Model(ModelConfig(name=name, redness=0, size=size)) for size in sizes]


def _steps(state: State, end: int, made: Any, watch: Watch, came: checkpoint.Origin) -> None:
    """Train until `end`: a line of the log every 50 steps, the state and a validation every 250."""
    config = state.config
    watch.new_round()
    while state.step < end:
        found = state.advance(*next(made))
        if state.step == end:
            state.fold()
        watch.tell(state.step, config.total, float(found[0]))
        check = state.step % EVERY == 0 or state.step == end
        if check or state.step % 50 == 0:
            watch.note(state.step, found, state.ready(config.run_dtype) if check else None)
            state.model.reset_metrics()
        if check and watch.enough():
            state.skip_to(end)
        if check:
            state.save(watch.out / "state.npz", came)
            network.save_weights(state.ready(), watch.weights)


def save_with_probe(weights: Path, photos: Sequence[data.Photo], start: str | None) -> None:
    """Give the student of a file the second witness of p(corrosion), fitted to these photos."""
    encoder = probe.world(start)
    model = student.build(world=True)
    own, head = models.read_weights(weights), probe.fitted(photos, encoder)
    network.assign_weights(model, {**own, **encoder, **head}, str(weights))
    network.save_weights(model, weights)


def levelled(weights: Path, held_out: Sequence[data.Photo]) -> evaluate.ClassReport:
    """Move p(corrosion) of a student's file so that it suits photos that taught nothing, where
    there are enough of either class; returns how it answers on them then."""
    found = evaluate.classify(held_out, Model(ModelConfig(name=str(weights))))
    if min(found.truth.sum(), (~found.truth).sum()) < _ENOUGH:
        return found
    shift = probe.shift(found.probability, found.truth)
    arrays = models.read_weights(weights)
    moved = arrays["whole_head/bias"].astype(np.float32) + shift
    model = student.build(world=student.knows_world(arrays))
    network.assign_weights(model, {**arrays, "whole_head/bias": moved}, str(weights))
    network.save_weights(model, weights)
    return replace(found, probability=probe.shifted(found.probability, shift))


def train(
    folder: Path,
    out: Path,
    config: TrainConfig,
    tell: Tell = lambda step, total, loss: None,
) -> Path:
    """Train on `folder/{corrosion,not_corrosion}`; returns the weights file. Beside it: a card, the
    log, its curves where matplotlib is installed, and the state to go on from.

    tell: called after every step with its number, the steps in all and the loss
    """
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    pupils.check(config)
    made_folder(out)
    read = data.read_photos(folder, config.longest)
    pools = [_pool(folder, config)] if config.weak else []
    came = checkpoint.origin(config, read, *pools)
    saved = checkpoint.load(out / "state.npz", came)  # before minutes are spent
    photos, held_out = data.parted(folder, read, config.validation)
    weak = [photo for pool in pools for photo in _weak(pool.photos, held_out, config)]
    guide = config.network == "guided"
    pupil = guided.pupil(config) if guide else pupils.student_pupil(config)
    compile_for(pupil.model, config, pupil.pixels)
    state = State(pupil.model, config, pupil.ready)
    watch = Watch(out, held_out, config.patience, tell, LOG, pupil.size, pupil.name)
    if saved:
        state.restore(saved)
    watch.go_on(state.step)
    run(state, [*photos, *weak], watch, came)
    weights = watch.weights
    ready = state.ready()
    if config.probe and guide:
        neuron.refit(ready, photos, state.ready(config.run_dtype))
    network.save_weights(ready, weights)
    if config.probe and not guide:
        save_with_probe(weights, photos, config.start)
    validated = None
    if held_out and guide:
        validated = evaluate.classify(held_out, Model(ModelConfig(name=str(weights))))
    elif held_out:
        validated = levelled(weights, held_out)
    text = card.write(
        read, len(held_out), config, card.measured(validated), name=weights.stem, weak=len(weak)
    )
    with replacing(weights.with_suffix(".md")) as part:
        part.write_text(text, encoding="utf-8")
    if plots.available():
        plots.curves(out / "log.csv")
    return weights
