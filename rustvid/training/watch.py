"""What is written down while training goes on, and when a round has had enough."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rustvid.training import metrics
from rustvid.training.data import Photo

MOST = 200  # photos that a validation looks at

Tell = Callable[[int, int, float], None]  # step, steps in all, loss


class Watch:
    """The log of a training (`out`/log.csv), its validation and its patience.

    held_out: photos that are not trained on; the area under the ROC of p(corrosion) over up to
        200 of them is the validation
    patience: validations in a row without a better one after which a round is over; 0: never
    tell: called after every step
    measures: names of what `note` gets; size: side of the pictures that the network sees
    name: of the weights file, `out`/name.npz
    """

    def __init__(
        self,
        out: Path,
        held_out: Sequence[Photo],
        patience: int,
        tell: Tell,
        measures: Sequence[str],
        size: int,
        name: str,
    ) -> None:
        self.out, self.tell = out, tell
        self.weights = out / f"{name}.npz"
        self._columns = ("step", "seconds", *measures, "validation_auc")
        self._size = (size, size)
        self._photos = held_out[:: len(held_out) // MOST + 1]
        self._patience = patience
        self._started = time.monotonic()
        self._best, self._worse = 0.0, 0

    def go_on(self, step: int) -> None:
        """Take up the log after this step: what it says of later ones, that no state holds, will
        be done again."""
        path = self.out / "log.csv"
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        kept = [row for row in rows[1:] if row and row[0].isdecimal() and int(row[0]) <= step]
        path.unlink()
        if kept:
            self._started -= float(kept[-1][1])
            self._write(self._columns, *kept)

    def new_round(self) -> None:
        """Each round has its own best."""
        self._best, self._worse = 0.0, 0

    def enough(self) -> bool:
        """Whether the validation has stopped getting better."""
        return 0 < self._patience <= self._worse

    def note(self, step: int, measured: Sequence[float], model: Any = None) -> None:
        """A line of the log; with the validation where a model is given to look at photos."""
        auc = self._validated(model) if model and self._photos else None
        if auc is not None and not math.isnan(auc):  # of photos of one class there is none
            self._worse = 0 if auc > self._best else self._worse + 1
            self._best = max(auc, self._best)
        seconds = round(time.monotonic() - self._started)
        numbers = [f"{value:.4f}" for value in measured]
        row = [step, seconds, *numbers, "" if auc is None or math.isnan(auc) else f"{auc:.4f}"]
        self._write(*([] if (self.out / "log.csv").exists() else [self._columns]), row)

    def _write(self, *rows: Sequence[object]) -> None:
        with (self.out / "log.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def _validated(self, model: Any) -> float:
        """Area under the ROC, at the size at which the pipeline looks."""
        if not model.compiled:
            model.compile(jit_compile=False)
        answers = []
        for photo in self._photos:
            seen = cv2.resize(photo.image, self._size, interpolation=cv2.INTER_AREA)
            found = model.predict_on_batch(seen[None].astype(np.float32) / 127.5 - 1)
            answers.append(float(found["probability"][0]))
        return metrics.auc(np.array([photo.corroded for photo in self._photos]), np.array(answers))
