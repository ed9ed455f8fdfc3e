"""Training the paper's classifier (Fig. 3) by its recipe: "Model" and "Training" of RustSEG.

    rustvid train DATA --out DIR --config train_paper

He uniform, Adam, binary cross entropy, flips and rotations made outside the model, as many photos
of either class in an epoch. Started again with the same --out, it goes on after the last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from rustvid.config import LocaliseConfig, ModelConfig
from rustvid.errors import UsageError
from rustvid.files import made_folder, replacing
from rustvid.method import network
from rustvid.method.model import Model
from rustvid.method.sizes import CLASSIFIER_SIZE
from rustvid.threads import ReadAhead
from rustvid.training import card, checkpoint, data, evaluate, plots
from rustvid.training.recipe import PaperConfig, TrainConfig
from rustvid.training.watch import Tell, Watch

LOG = ("loss", "accuracy")
_AHEAD = 4  # batches that wait for the network

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


def augmented(rng: np.random.Generator, image: data.Image, rotation: float) -> data.Image:
    """The photo (h, w, 3) uint8 RGB at 572×572, flipped both ways at random and turned by up to
    `rotation` radians; what comes in from outside is its mirror image."""
    side = CLASSIFIER_SIZE
    seen = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    seen = seen[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    angle = math.degrees(rng.uniform(-rotation, rotation))
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    turned = cv2.warpAffine(
        np.ascontiguousarray(seen), matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(turned, np.uint8)


def batches(
    photos: Sequence[data.Photo], config: PaperConfig, seed: int, number: int
) -> Iterator[Batch]:
    """The batches of one epoch: as many photos of either class, in random order.

    Yields (B, 572, 572, 3) float32 in [-1, 1] and (B,) float32, 1 = corrosion. An epoch depends on
    seed and number alone.
    """
    rng = np.random.default_rng((seed, number))
    classes = [[p for p in photos if p.corroded == corroded] for corroded in (True, False)]
    fewest = min(map(len, classes))
    chosen = [group[i] for group in classes for i in rng.permutation(len(group))[:fewest]]
    order = rng.permutation(len(chosen))
    for start in range(0, len(order), config.batch):
        some = [chosen[i] for i in order[start : start + config.batch]]
        images = [augmented(rng, photo.image, config.rotation) for photo in some]
        labels = np.array([photo.corroded for photo in some], np.float32)
        yield np.stack(images).astype(np.float32) / 127.5 - 1, labels


def train(folder: Path, out: Path, config: TrainConfig, tell: Tell) -> Path:
    """Train the classifier on `folder/{corrosion,not_corrosion}`; returns the weights file, with a
    card beside it."""
    if config.weak or config.teacher:
        raise UsageError("weak and teacher are not of the paper's recipe; leave them out")
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy("float32")
    made_folder(out)
    read = data.read_photos(folder, config.longest)
    came = checkpoint.origin(config, read)
    saved = checkpoint.load(out / "state.npz", came)
    photos, held_out = data.parted(folder, read, config.validation)
    dtype = "mixed_bfloat16" if config.precision == "mixed_bfloat16" else "float32"
    whole = network.build(config.paper.filters, dtype=dtype)
    model = keras.Model(whole.input, whole.output["probability"])
    model.compile(
        keras.optimizers.Adam(config.paper.rate),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    watch = Watch(out, held_out, config.patience, tell, LOG, CLASSIFIER_SIZE, "rustseg")
    done = int(checkpoint.restore(saved, model)["epoch"]) if saved else 0
    watch.go_on(done)
    for number in range(done, config.paper.epochs):
        _epoch(number, model, whole, photos, config, watch)
        epoch = {"epoch": np.array(number + 1)}
        checkpoint.save(out / "state.npz", model, came, epoch)
        if watch.enough():
            break
    weights = watch.weights
    ready = Model(ModelConfig(name=str(weights)), LocaliseConfig(frame=False))  # as it was taught
    validated = evaluate.classify(held_out, ready) if held_out else None
    text = card.write(read, len(held_out), config, card.measured(validated), name=weights.stem)
    with replacing(weights.with_suffix(".md")) as part:
        part.write_text(text, encoding="utf-8")
    if plots.available():
        plots.curves(out / "log.csv")
    return weights


def _epoch(
    number: int,
    model: Any,
    whole: Any,
    photos: Sequence[data.Photo],
    config: TrainConfig,
    watch: Watch,
) -> None:
    """One epoch, a line of the log and the weights after it."""
    found = [math.nan, math.nan]
    made = batches(photos, config.paper, config.seed, number)
    with ReadAhead(made, _AHEAD, "rustvid-batches") as ahead:
        for images, labels in ahead:
            found = model.train_on_batch(images, labels)
            watch.tell(number, config.paper.epochs, float(found[0]))
    watch.note(number + 1, found, whole)
    model.reset_metrics()
    network.save_weights(whole, watch.weights)
