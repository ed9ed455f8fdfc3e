"""Classify: pictures in, p(corrosion) and the evidence map out, in one pass of the network."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.config import ModelConfig
from rustvid.errors import SourceError, UsageError
from rustvid.frames import Classified, Frame, Localised
from rustvid.method import network, redness, student, tiles
from rustvid.method.models import Kind, find, kind_of, read_weights

STUDENT_SIZE = 448  # 576 marks no better and costs 1.7 times as much (benchmarks/masks.md)


@dataclass(frozen=True)
class Answer:
    """What the network says of n pictures, all in [0, 1].

    probability: (n,) float32, of corrosion; evidence: (n, h, w) float32
    """

    probability: NDArray[np.float32]
    evidence: NDArray[np.float32]


class Network(Protocol):
    """What the pipeline asks of a model.

    kind: what its evidence is: a classifier's heat map or a student's probability of pixels
    name: as asked for; digest: SHA-256 of the weights file, hexadecimal
    precision: the arithmetic in use; batch: pictures in one pass
    size: (width, height) of the pictures it takes
    seconds: time spent in the network so far
    """

    kind: Kind
    name: str
    digest: str
    precision: str
    batch: int
    size: tuple[int, int]
    seconds: float

    def look(self, images: Sequence[NDArray[np.uint8]]) -> Answer: ...


class Model:
    """A Keras network with its weights, ready to look at pictures.

    shapes: numbers of pictures in a pass for which it is compiled, besides `config.batch`; others
        are padded to the next one
    """

    def __init__(self, config: ModelConfig, score: str = "exp", shapes: Sequence[int] = ()) -> None:
        path = find(config.name)
        arrays = read_weights(path)
        self.kind = kind_of(arrays, str(path))
        self.name = config.name
        self.device = _device(config.device)
        self.precision = _precision(config.precision, self.device)
        self.batch = config.batch
        self._shapes = sorted({*shapes, config.batch})
        self._grid = grid_of(config, self.kind)
        self.size = self._grid.size
        self._redness = config.redness
        self.seconds = 0.0
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with self._on_device():
            self._network = _ready(
                arrays, str(path), score, self.precision, (self._grid.width, self._grid.height)
            )

    def look(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Classify 1 to `batch` pictures (h, w, 3) uint8 RGB of this model's size."""
        if not 0 < len(images) <= self.batch:
            raise ValueError(f"look takes 1 to {self.batch} pictures, received {len(images)}")
        started = time.perf_counter()
        views = [view for image in images for view in self._grid.cut(image)]
        starts = range(0, len(views), self.batch)
        passes = [self._pass(views[start : start + self.batch]) for start in starts]
        probability = np.concatenate([found.probability for found in passes])
        evidence = np.concatenate([found.evidence for found in passes])
        whole = evidence.reshape(len(images), self._grid.count, *evidence.shape[1:])
        seen = np.stack([self._grid.stitch(maps) for maps in whole])
        if self.kind == "student":
            pairs = zip(seen, images, strict=True)
            seen = np.stack([redness.weighed(e, image, self._redness) for e, image in pairs])
        self.seconds += time.perf_counter() - started
        return Answer(probability.reshape(len(images), -1).max(axis=1), seen)

    def _pass(self, views: Sequence[NDArray[np.uint8]]) -> Answer:
        """One pass of the network over 1 to `batch` tiles."""
        # The last are padded: a fixed shape is compiled once.
        shape = next(shape for shape in self._shapes if shape >= len(views))
        stack = np.stack([*views, *[views[-1]] * (shape - len(views))])
        with self._on_device():
            answer = self._network.predict_on_batch(stack)
        return Answer(
            np.asarray(answer["probability"], np.float32)[: len(views)],
            np.asarray(answer["evidence"], np.float32)[: len(views)],
        )

    def _on_device(self) -> AbstractContextManager[Any]:
        return keras.device(self.device) if self.device else nullcontext()


def _ready(
    arrays: dict[str, NDArray[Any]], origin: str, score: str, precision: str, size: tuple[int, int]
) -> Any:
    """The network of these weights on uint8 pictures of (width, height)."""
    if kind_of(arrays, origin) == "student":
        inner = student.build(precision)
    else:
        filters = int(arrays["conv1_1/kernel"].shape[-1])
        inner = network.build(filters, score=score, dtype=precision)
    network.assign_weights(inner, arrays, origin)
    width, height = size
    pictures = keras.Input((height, width, 3), dtype="uint8", name="pictures")
    model = keras.Model(pictures, inner(ops.cast(pictures, "float32") / 127.5 - 1.0))
    model.compile(jit_compile=False)  # on a CPU, XLA measured no faster and compiles for long
    return model


def grid_of(config: ModelConfig, kind: Kind) -> tiles.Grid:
    """How a frame is seen, in one part or in tiles; raises UsageError."""
    return tiles.grid(config.tiles, input_size(config, kind))


def input_size(config: ModelConfig, kind: Kind) -> tuple[int, int]:
    """(width, height) that the network sees; raises UsageError where it cannot see that."""
    if kind == "classifier":
        if config.size not in (None, network.INPUT_SIZE):
            raise UsageError(
                f"model.size {config.size}: the paper's classifier sees {network.INPUT_SIZE} "
                "only; leave it null"
            )
        return network.INPUT_SIZE, network.INPUT_SIZE
    side = config.size or STUDENT_SIZE
    if side % student.MULTIPLE:
        raise UsageError(
            f"model.size must be a multiple of {student.MULTIPLE} for a student, received {side}"
        )
    return side, side


def _precision(asked: str, device: str | None) -> str:
    """auto: bfloat16 on a CPU that multiplies it in hardware, else float32."""
    if asked != "auto":
        return asked
    on_gpu = (device or "").startswith("gpu") or (device is None and bool(_gpus()))
    return "float32" if on_gpu or not _cpu_has_bfloat16() else "bfloat16"


def _cpu_has_bfloat16() -> bool:
    if platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _gpus() -> list[str]:
    try:
        return list(keras.distribution.list_devices("gpu"))
    except (RuntimeError, AttributeError):  # JAX where there is none; on PyTorch Keras cannot list
        return []


def _device(asked: str) -> str | None:
    """Keras's name of the device; None leaves the choice to the backend."""
    kind, _, number = asked.partition(":")
    if asked == "auto":
        return None
    if kind not in ("cpu", "gpu") or not (number or "0").isdigit():
        raise UsageError(f"model.device must be auto, cpu, gpu or gpu:N, received {asked!r}")
    count = len(_gpus()) if kind == "gpu" else 1
    if int(number or 0) >= count:
        raise UsageError(
            f"model.device {asked}: the backend sees {count} {kind.upper()}s; use auto or cpu"
        )
    return f"{kind}:{number or 0}"


def classify(
    chosen: Iterable[tuple[Frame, bool]], model: Network, threshold: float
) -> Iterator[Localised]:
    """Classify and localise the chosen frames, in batches; the others pass through, in order.

    chosen: frames with whether to look at them. A frame has an evidence map only where
    p(corrosion) > threshold ("Workflow": greater than 50 %).
    """
    waiting: list[tuple[Frame, bool]] = []
    looks = 0
    try:
        for frame, look in chosen:
            waiting.append((frame, look))
            looks += look
            if looks in (0, model.batch) or len(waiting) >= 8 * model.batch:
                yield from _answered(waiting, model, threshold)
                waiting, looks = [], 0
    except SourceError:  # a film that is cut short: the frames before the cut are whole
        yield from _answered(waiting, model, threshold)
        raise
    yield from _answered(waiting, model, threshold)


def _answered(
    waiting: list[tuple[Frame, bool]], model: Network, threshold: float
) -> Iterator[Localised]:
    images = [frame.image for frame, look in waiting if look]
    answer = model.look(images) if images else None
    number = 0
    for frame, look in waiting:
        if not look or answer is None:
            yield Localised(Classified(frame, None), None)
            continue
        probability = float(answer.probability[number])
        evidence = answer.evidence[number] if probability > threshold else None
        number += 1
        yield Localised(Classified(frame, probability), evidence)
