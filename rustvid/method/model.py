"""A model, ready to look at pictures: how they are cut, what computes them, what comes back.

What computes is LiteRT on a processor, and Keras on a GPU, on a processor that multiplies
bfloat16 in hardware, and wherever else it is asked for. Keras and TensorFlow load only where they
are needed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rustvid import budget
from rustvid.chatter import silenced
from rustvid.config import LocaliseConfig, ModelConfig
from rustvid.errors import UsageError
from rustvid.method import redness, tiles
from rustvid.method.classify import Answer
from rustvid.method.compiled import compiled, is_kept
from rustvid.method.compiler import can_start, compiled_apart
from rustvid.method.framing import framed
from rustvid.method.models import find, kind_of_file
from rustvid.method.sizes import grid_of

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, either within Windows

Pass = Callable[[NDArray[np.uint8]], Answer]  # (n, h, w, 3) uint8 RGB


class Model:
    """A network with its weights: offers what classify.Network asks for.

    shapes: numbers of pictures in a pass that Keras compiles, besides `config.batch`; others are
        padded to the next one
    threads: that LiteRT computes with; None: one for each core
    """

    def __init__(
        self,
        config: ModelConfig,
        localise: LocaliseConfig | None = None,
        shapes: Sequence[int] = (),
        threads: int | None = None,
    ) -> None:
        localise = localise or LocaliseConfig()
        score, path = localise.score, find(config.name)
        self.kind = kind_of_file(path)
        self.name = config.name
        self.digest = _digest(path)
        self.batch = config.batch
        self._grid = grid_of(config, self.kind)
        self.size = self._grid.size
        self._redness = config.redness
        self._threshold = config.threshold
        self._gated = self.kind == "classifier" and self._grid.count > 1
        self._framed = self.kind == "classifier" and localise.frame
        self.seconds = 0.0
        part = self._grid.width, self._grid.height
        self.engine = engine_of(config)
        if self.engine == "litert":
            self.precision = "float32"
            self._pass = _litert(path, self.digest, score, part, threads or budget.available())
        else:
            self.precision, self._pass = _keras(config, path, score, part, shapes)

    def look(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Classify 1 to `batch` pictures (h, w, 3) uint8 RGB of this model's size."""
        if not 0 < len(images) <= self.batch:
            raise ValueError(f"look takes 1 to {self.batch} pictures, received {len(images)}")
        started = time.perf_counter()
        views = [view for image in images for view in self._grid.cut(image)]
        views = [framed(view) for view in views] if self._framed else views
        starts = range(0, len(views), self.batch)
        passes = [self._pass(np.stack(views[start : start + self.batch])) for start in starts]
        probability = np.concatenate([found.probability for found in passes])
        evidence = np.concatenate([found.evidence for found in passes])
        if self._gated:
            evidence = tiles.gated(evidence, probability, self._threshold)
        whole = evidence.reshape(len(images), self._grid.count, *evidence.shape[1:])
        seen = np.stack([self._grid.stitch(maps) for maps in whole])
        if self.kind == "student":
            pairs = zip(seen, images, strict=True)
            seen = np.stack([redness.weighed(e, image, self._redness) for e, image in pairs])
        self.seconds += time.perf_counter() - started
        return Answer(probability.reshape(len(images), -1).max(axis=1), seen)


def engine_of(config: ModelConfig) -> str:
    """ "litert" or "keras", what "auto" means here; raises UsageError where it cannot be."""
    kind, _, _ = config.device.partition(":")
    if not re.fullmatch(r"auto|cpu(:0)?|gpu(:\d+)?", config.device):
        raise UsageError(
            f"model.device must be auto, cpu, gpu or gpu:N, received {config.device!r}"
        )
    if config.engine == "keras":
        return "keras"
    if config.engine == "litert":
        if kind == "gpu" or config.precision not in ("auto", "float32"):
            raise UsageError(
                "model.engine litert computes on processors and in float32, received "
                f"model.device {config.device} and model.precision {config.precision}; use keras"
            )
        return "litert"
    if config.precision not in ("auto", "float32") or kind not in ("auto", "cpu"):
        return "keras"
    if config.precision == "auto" and _cpu_has_bfloat16():
        return "keras"  # four pictures at once: 34 ms each of a student, LiteRT 65 (with AMX)
    if _backend() != "tensorflow":
        return "keras"  # somebody has chosen
    if kind == "auto" and _gpu_may_be_there():
        return "keras" if _gpus() else "litert"
    return "litert"


def loads_tensorflow(config: ModelConfig, score: str) -> bool:
    """Whether a model of this configuration needs Keras and TensorFlow in this process's memory.

    To look for a GPU, where a driver of one is there, they load themselves.
    """
    if engine_of(config) != "litert" or "tensorflow" in sys.modules:
        return True
    return not can_start() and compiles(config, score) is not None


def compiles(config: ModelConfig, score: str) -> Path | None:
    """The weights whose network is to be compiled first; None where it is kept, or none is."""
    path = find(config.name)
    grid = grid_of(config, kind_of_file(path))
    key = _key(_digest(path), score, (grid.width, grid.height))
    return None if engine_of(config) != "litert" or is_kept(key) else path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _key(digest: str, score: str, size: tuple[int, int]) -> str:
    return f"{digest} {score} {size}"


def _litert(path: Path, digest: str, score: str, size: tuple[int, int], threads: int) -> Pass:
    from rustvid.method.litert import LiteRTNetwork

    network = compiled(_key(digest, score, size), lambda: _made(path, score, size))
    return LiteRTNetwork(network, threads)


def _made(path: Path, score: str, size: tuple[int, int]) -> bytes:
    """By another process; by this one where TensorFlow is in memory already: it is quicker, and
    nothing is spared by another."""
    if "tensorflow" not in sys.modules:
        if (network := compiled_apart(path, score, size)) is not None:
            return network
        logging.getLogger("rustvid.method").warning(
            "%s: no other process could compile this network; it is done in this one, "
            "and TensorFlow stays in its memory",
            path,
        )
    with silenced():
        from rustvid.method.conversion import converted

        return converted(path, score, size)


def _keras(
    config: ModelConfig, path: Path, score: str, size: tuple[int, int], shapes: Sequence[int]
) -> tuple[str, Pass]:
    """The precision in use, and the network."""
    with silenced():
        from rustvid.method.framework import KerasNetwork, backend, device_of

        device = device_of(config.device)
        precision = _precision(config.precision, device)
        wanted = [*shapes, config.batch]
        if backend() == "tensorflow" and not _on_gpu(device):
            # It compiles two shapes at most, the second for any number; filling up costs a look
            # more for each picture, and most of a run that looks now and then are of one or two.
            wanted = [*range(1, config.batch + 1)]
        return precision, KerasNetwork(path, score, precision, size, wanted, device)


def _precision(asked: str, device: str | None) -> str:
    """auto: bfloat16 on a CPU that multiplies it in hardware, else float32."""
    if asked != "auto":
        return asked
    return "float32" if _on_gpu(device) or not _cpu_has_bfloat16() else "bfloat16"


def _on_gpu(device: str | None) -> bool:
    return (device or "").startswith("gpu") or (device is None and bool(_gpus()))


def _backend() -> str:
    """What Keras would compute with, by the places where it looks itself."""
    chosen = os.environ.get("KERAS_BACKEND")
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # the last: no home
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        chosen = chosen or json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    return chosen or "tensorflow"


def _cpu_has_bfloat16() -> bool:
    if platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _gpu_may_be_there() -> bool:
    """Whether it is worth asking the backend, which takes seconds to load."""
    return platform.system() != "Linux" or any(Path(path).exists() for path in _GPU_DRIVERS)


def _gpus() -> list[str]:
    with silenced():
        from rustvid.method.framework import gpus

        return gpus()
