"""What a classifier's heat map is worth, by how it is made: Grad-CAM++, Grad-CAM, signed evidence.

    python benchmarks/evidence.py --data ../shared [--model rustseg-lite] [--half tune]

Every map is enlarged to its picture and cut at each of 19 levels, nothing refined, no gate on p.
Prints a Markdown table: pooled intersection over union at the level that is best on this very half
(so it flatters the maps), with precision, recall and area there; the same at the paper's own
threshold (eq. 8); the area under the ROC of the pixels, where 0.5 is chance. The floors: the HSV
rule, and a mask that covers the whole picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import machine
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(machine.ROOT))

from rustvid.errors import UsageError
from rustvid.method import localise, network
from rustvid.method.framing import framed
from rustvid.method.models import find, kind_of, read_weights
from rustvid.method.refine.threshold import dynamic_threshold
from rustvid.method.sizes import CLASSIFIER_SIZE
from rustvid.training import masks, metrics, tables
from rustvid.training.examples import HALVES, Example, ExampleSet

LEVELS = np.linspace(0.05, 0.95, 19)
SIZE = 143  # true masks are compared at this size: a quarter of the picture the network sees
PAPERS = "Grad-CAM++ (exp), not framed"  # as in the paper
HEADER = (
    *("set", "evidence", "best IoU", "level", "precision", "recall", "area"),
    *("IoU at eq. 8", "pixel AUC", "true area", "n"),
)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Maps:
    """Of one picture: the truth (s, s), and the maps (s, s) in [0, 1] with their eq. 8 each."""

    truth: NDArray[np.bool_]
    maps: dict[str, Floats]
    dynamic: dict[str, float]


class Classifier:
    """The paper's classifier with its last feature map laid open."""

    def __init__(self, name: str) -> None:
        path = find(name)
        arrays = read_weights(path)
        if kind_of(arrays, str(path)) != "classifier":
            raise UsageError(f"{path}: is a student; heat maps are a classifier's")
        model = network.build(int(arrays["conv1_1/kernel"].shape[-1]))
        network.assign_weights(model, arrays, str(path))
        self._features = keras.Model(model.input, model.get_layer("conv5_2").output)
        self._kernel = -np.asarray(model.get_layer("head").kernel)
        self._bias = -float(np.asarray(model.get_layer("head").bias)[0])

    def maps(self, example: Example) -> Maps:
        """All kinds of evidence for one picture, from one pass."""
        side = (CLASSIFIER_SIZE, CLASSIFIER_SIZE)
        picture = cv2.resize(example.image, side, interpolation=cv2.INTER_AREA)
        papers, features = (self._features_of(seen) for seen in (picture, framed(picture)))
        weights = self._kernel.reshape(1, *features.shape[1:])
        logit = float((features * weights).sum()) + self._bias
        p = np.array([1 / (1 + np.exp(-logit))], np.float32)
        small = {
            PAPERS: localise.grad_cam_plus_plus(papers, weights, p, "exp"),
            "Grad-CAM++ (exp)": localise.grad_cam_plus_plus(features, weights, p, "exp"),
            "Grad-CAM++ (sigmoid)": localise.grad_cam_plus_plus(features, weights, p, "sigmoid"),
            "Grad-CAM": localise.grad_cam(features, weights),
            "signed evidence": localise.signed_evidence(features, weights),
        }
        arrays = {name: np.asarray(heat, np.float32)[0] for name, heat in small.items()}
        enlarged = {name: np.asarray(cv2.resize(a, (SIZE, SIZE))) for name, a in arrays.items()}
        floors = {"HSV rule": masks.hsv_rule(example.image), "everything": np.ones((2, 2))}
        for name, mask in floors.items():
            enlarged[name] = np.asarray(_fitted(mask) > 0.5, np.float32)
        dynamic = {name: dynamic_threshold(a) for name, a in arrays.items()}
        return Maps(_fitted(example.mask) > 0.5, enlarged, dynamic)

    def _features_of(self, picture: NDArray[np.uint8]) -> Floats:
        """The last feature map (1, 28, 28, K) of a picture (572, 572, 3) uint8 RGB."""
        scaled = picture[None].astype(np.float32) / 127.5 - 1
        return np.asarray(self._features.predict_on_batch(scaled), np.float32)


def _fitted(mask: NDArray[Any]) -> Floats:
    """Share of each of (s, s) pixels that a mask covers."""
    covered = cv2.resize(mask.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(covered, np.float32)


def rows(name: str, found: list[Maps]) -> Iterator[list[str]]:
    """A row of the table for every kind of evidence on a set."""
    truth = np.stack([one.truth for one in found])
    for kind in found[0].maps:
        heat = np.stack([one.maps[kind] for one in found])
        counts = [metrics.confusion(truth, heat > level) for level in LEVELS]
        best = int(np.argmax([count.iou for count in counts]))
        count = counts[best]
        own = "–"
        if kind in found[0].dynamic:
            levels = np.array([one.dynamic[kind] for one in found]).reshape(-1, 1, 1)
            own = f"{metrics.confusion(truth, heat >= levels).iou:.3f}"
        auc = metrics.auc(truth[:, ::3, ::3].ravel(), heat[:, ::3, ::3].ravel())
        is_map = kind in found[0].dynamic
        cells = [f"{count.iou:.3f}", f"{LEVELS[best]:.2f}" if is_map else "–"]
        cells += [f"{count.precision:.2f}", f"{count.recall:.2f}", f"{count.marked:.2f}", own]
        cells += [f"{auc:.2f}", f"{truth.mean():.2f}", str(len(found))]
        yield [name, kind, *cells]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=machine.ROOT.parent / "shared")
    parser.add_argument("--model", default="rustseg-lite", help="a classifier")
    parser.add_argument("--half", choices=HALVES, default="tune")
    args = parser.parse_args()
    classifier = Classifier(args.model)
    table: list[list[str]] = []
    for name in ("bridge", "mixed"):
        examples = ExampleSet(args.data / "data" / "segment" / name, args.half)
        table += rows(name, [classifier.maps(example) for example in examples])
    print(tables.markdown(HEADER, table))


if __name__ == "__main__":
    main()
