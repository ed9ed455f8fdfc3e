"""What literal.py runs: the paper's path with the usual libraries, ours, and how they agree."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import keras
import machine
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydensecrf import densecrf
from sklearn.cluster import KMeans

from rustvid.bench.suite import described, spread
from rustvid.config import Config, apply
from rustvid.frames import Measured
from rustvid.method import network
from rustvid.method.model import Model
from rustvid.method.models import find, read_weights
from rustvid.method.refine import refine
from rustvid.method.sizes import CLASSIFIER_SIZE
from rustvid.pipeline import run

SIZE = CLASSIFIER_SIZE
OURS = (
    *("model.name=rustseg-lite", "model.threshold=0", "sample.every=1", "localise.score=sigmoid"),
    "localise.frame=false",
    *("refine.method=advanced", "refine.size=572", "refine.iterations=10"),
)
DIAMOND = np.array(
    [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]], np.uint8
)

Mask = NDArray[np.uint8]


@dataclass
class Run:
    """Seconds for all frames; of every frame the picture, heat map and mask at 572 × 572."""

    seconds: float = 0.0
    pictures: list[Mask] = field(default_factory=list)
    heats: list[NDArray[np.float32]] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)


class Literal:
    """The classifier of Fig. 3 and the steps of the paper's Figure 6, with the usual libraries."""

    def __init__(self, config: Config) -> None:
        arrays = read_weights(find(config.model.name))
        image = keras.Input((SIZE, SIZE, 3), name="image")
        features = network.encoder(image, int(arrays["conv1_1/kernel"].shape[-1]))[-1]
        answer = keras.layers.Dense(1, activation="sigmoid", name="head")(
            keras.layers.Flatten()(features)
        )
        self.model = keras.Model(image, answer)  # 0: corrosion
        network.assign_weights(self.model, arrays, config.model.name)
        self.both = keras.Model(image, [features, answer])
        self.crf = config.refine.crf

    def __call__(self, bgr: Mask) -> tuple[Mask, NDArray[np.float32], Mask]:
        """Picture (572, 572, 3) RGB, heat map (28, 28) and mask (572, 572) of one frame."""
        picture = cv2.cvtColor(
            cv2.resize(bgr, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
        )
        batch = (picture.astype(np.float32) / 127.5 - 1.0)[None]
        corrosion = 1.0 - float(self.model.predict(batch, verbose=0)[0, 0])
        if corrosion <= 0.0:  # the paper: 0.5
            return picture, np.zeros((28, 28), np.float32), np.zeros((SIZE, SIZE), np.uint8)
        heat = self.heat_map(tf.constant(batch))
        return picture, heat, self.refined(picture, heat)

    def heat_map(self, batch: Any) -> NDArray[np.float32]:
        """Grad-CAM++ by "three nested tf.GradientTape() loops" (below eq. 7)."""
        with tf.GradientTape() as outer:
            with tf.GradientTape() as middle:
                with tf.GradientTape() as inner:
                    features, answer = self.both(batch)
                    score = 1.0 - answer[:, 0]
                first = inner.gradient(score, features)
            second = middle.gradient(first, features)
        third = outer.gradient(second, features)
        total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
        below = 2.0 * second + total * third
        alpha = tf.where(below != 0.0, second / tf.where(below != 0.0, below, 1.0), 0.0)
        weights = tf.reduce_sum(alpha * tf.nn.relu(first), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))[0].numpy()
        return np.asarray(heat / heat.max() if heat.max() > 0 else heat, np.float32)

    def refined(self, picture: Mask, heat: NDArray[np.float32]) -> Mask:
        """Eq. 8–9, K-means, erosion, CRF."""
        level = 1.0 - (heat.max() - heat.mean())
        large = cv2.resize(heat, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        mask = np.rint(np.where(large >= level, large, 0.0) * 255).astype(np.uint8)
        if not mask.any():
            return mask
        means = KMeans(2, init="random", n_init=10, random_state=0)
        labels = means.fit_predict(picture.reshape(-1, 3)).reshape(SIZE, SIZE)
        keep = int(np.count_nonzero((labels == 1) & (mask > 0)) * 2 >= np.count_nonzero(mask))
        mask = cv2.erode(np.where(labels == keep, mask, 0).astype(np.uint8), DIAMOND)
        return self.grown(picture, mask) if mask.any() else mask

    def grown(self, picture: Mask, mask: Mask) -> Mask:
        """The dense CRF with the parameters of `refine.crf`, ten iterations."""
        strength = mask.ravel() / 255.0
        inside = 0.5 + (self.crf.confidence - 0.5) * strength
        corroded = np.where(strength > 0, inside, 1.0 - self.crf.confidence)
        field_ = densecrf.DenseCRF2D(SIZE, SIZE, 2)
        field_.setUnaryEnergy(-np.log(np.stack([1 - corroded, corroded])).astype(np.float32))
        field_.addPairwiseGaussian(
            sxy=self.crf.smoothness_sigma_xy, compat=self.crf.smoothness_weight
        )
        field_.addPairwiseBilateral(
            sxy=self.crf.appearance_sigma_xy,
            srgb=self.crf.appearance_sigma_rgb,
            rgbim=np.ascontiguousarray(picture),
            compat=self.crf.appearance_weight,
        )
        found = np.argmax(field_.inference(10), axis=0).reshape(SIZE, SIZE)
        return found.astype(np.uint8)


def by_row_sums(literal: Literal, picture: Mask) -> NDArray[np.float32]:
    """What the nested tapes compute, in closed form: row sums, and no [A > 0]."""
    batch = tf.constant((picture.astype(np.float32) / 127.5 - 1.0)[None])
    features, answer = (found.numpy()[0] for found in literal.both(batch))
    g = -literal.model.get_layer("head").kernel.numpy().reshape(features.shape)
    p = 1.0 - float(answer[0])
    second = (1 - 2 * p) * g * g.sum()
    third = (1 - 6 * p + 6 * p**2) * g * g.sum() ** 2
    below = 2 * second + features.sum((0, 1)) * third
    alpha = np.where(below != 0, second / np.where(below != 0, below, 1), 0)
    heat = np.maximum((features * (alpha * np.maximum(g, 0)).sum((0, 1))).sum(-1), 0)
    return np.asarray(heat / heat.max() if heat.max() > 0 else heat, np.float32)


def literally(film: Path, frames: int, out: Path, literal: Literal) -> Run:
    """Read, mark, write; the frames' results are kept."""
    result, began = Run(), time.perf_counter()
    reader = cv2.VideoCapture(str(film))
    size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    kind = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(out), kind, reader.get(cv2.CAP_PROP_FPS), size)
    while len(result.masks) < frames:
        there, bgr = reader.read()
        if not there:
            break
        picture, heat, mask = literal(bgr)
        whole = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0
        bgr[whole] = (0.75 * bgr[whole] + 0.25 * np.array([224, 51, 255])).astype(np.uint8)
        writer.write(bgr)
        result.pictures.append(picture)
        result.heats.append(heat)
        result.masks.append(mask)
    reader.release()
    writer.release()
    result.seconds = time.perf_counter() - began
    return result


def ours(config: Config, frames: int, out: Path, model: Model) -> Run:
    """`rustvid.run` on the same frames."""
    result = Run()

    def keep(measured: Measured, expected: int | None) -> None:
        if measured.evidence is None:
            sys.exit(f"frame {measured.frame.index}: was not refined")
        result.heats.append(measured.evidence)
        result.masks.append(measured.refined.working_mask)

    end = frames / described(Path(str(config.input)))["frames_per_second"] - 0.001
    config = replace(config, source=replace(config.source, end=end))
    config = replace(config, output=replace(config.output, path=str(out), overwrite=True))
    began = time.perf_counter()
    run(config, keep, model).raise_for_error()
    result.seconds = time.perf_counter() - began
    return result


def iou(one: Mask, other: Mask) -> float:
    """1 where both are empty."""
    both, either = np.count_nonzero(one & other), np.count_nonzero(one | other)
    return both / either if either else 1.0


def agreement(method: Literal, literal: Run, own: Run, config: Config) -> dict[str, Any]:
    """How far the results are the same, over all frames."""
    explained = [by_row_sums(method, picture) for picture in literal.pictures]
    like = [
        iou(refine(picture, heat, config.refine), mask)
        for picture, heat, mask in zip(literal.pictures, literal.heats, literal.masks, strict=True)
    ]
    whole = [iou(a, b) for a, b in zip(literal.masks, own.masks, strict=True)]
    return {
        "heat maps, correlation": correlation(literal.heats, own.heats),
        "tapes and row sums in closed form, correlation": correlation(literal.heats, explained),
        "masks of the same heat map, IoU": spread(like, 4),
        "masks end to end, IoU": spread(whole, 4),
        "empty masks": {
            name: sum(not mask.any() for mask in one.masks)
            for name, one in (("literal", literal), ("ours", own))
        },
    }


def correlation(
    one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]
) -> dict[str, float] | None:
    """Of the frames in which both have something to tell."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a.std() and b.std()]
    found = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs]
    return spread(found, 4) if found else None


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The whole JSON."""
    config = Config(input=str(args.input))
    for assignment in (*OURS, *args.set):
        config = apply(config, assignment)
    model = Model(config.model, config.localise)
    literal = Literal(config)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    model.look([noise] * model.batch)  # the first passes compile
    literal(noise)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(args.rounds):
            for which in ("literal", "ours") if number % 2 == 0 else ("ours", "literal"):
                if which == "literal":
                    theirs = literally(args.input, args.frames, folder / "literal.mp4", literal)
                else:
                    own = ours(config, args.frames, folder / "ours.mp4", model)
            count = len(theirs.masks)
            if len(own.masks) != count:
                sys.exit(f"{count} frames were read literally, {len(own.masks)} by us")
            fps = {"literal": count / theirs.seconds, "ours": count / own.seconds}
            print(f"round {number + 1}: {fps}", file=sys.stderr)
            rounds.append(fps)
    return {
        "machine": machine.facts(),
        "films": {args.input.name: described(args.input)},
        "settings": [*OURS, *args.set],
        "frames": count,
        "precision": model.precision,
        "fps": {name: spread([one[name] for one in rounds]) for name in ("literal", "ours")},
        "ratio": spread([one["ours"] / one["literal"] for one in rounds]),
        "agreement": agreement(literal, theirs, own, config),
    }


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    lines = ["| | median | min–max |", "|---|---|---|"]
    rows = [(f"{name}, frames/s", of) for name, of in result["fps"].items()]
    rows += [("ours / literal", result["ratio"])]
    rows += [(name, of) for name, of in result["agreement"].items() if of and "median" in of]
    lines += [f"| {name} | {of['median']} | {of['min']}–{of['max']} |" for name, of in rows]
    empty = result["agreement"]["empty masks"]
    lines += [
        f"| empty masks, {name}, of {result['frames']} | {n} | |" for name, n in empty.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="The paper literally, against ours.")
    parser.add_argument("input", type=Path, help="video file")
    parser.add_argument("--frames", type=int, default=20, help="of the film's beginning")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of ours, for example refine.engine=fast",
    )
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    result = measure(args)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)
