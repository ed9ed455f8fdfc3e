"""One measurement: what it found, and the clocks that it was found with."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = (572, 572)  # of the pictures for the network ("Workflow")

Kind = Literal["decode", "source", "transcode", "null", "refine", "pipeline"]


@dataclass
class Measurement:
    """One contestant, measured once.

    cpu_s: processor seconds of the process and its workers while it was measured
    others: share of all cores that other processes had meanwhile; None where unknown
    load_s: seconds for import, weights and the first pass, which are not part of `seconds`
    analysed, refined: frames that the network looked at, and frames with an evidence map
    peak_mb: most memory of the process and its workers together; None where unknown
    """

    frames: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    others: float | None = None
    load_s: float = 0.0
    analysed: int | None = None
    refined: int | None = None
    precision: str | None = None
    peak_mb: float | None = None
    stage_s: dict[str, float] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        return self.frames / self.seconds


@contextmanager
def stopwatch(result: Measurement) -> Iterator[None]:
    """Wall time, own processor time, and the share of the machine that others had."""
    cpu, busy, began = _own_cpu(), _machine_cpu(), time.perf_counter()
    try:
        yield
    finally:
        result.seconds = time.perf_counter() - began
        result.cpu_s = _own_cpu() - cpu
        if (after := _machine_cpu()) is not None and busy is not None:
            others = after - busy - result.cpu_s
            result.others = max(0.0, others / (result.seconds * (os.cpu_count() or 1)))


def _own_cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine_cpu() -> float | None:
    """Processor seconds that all processes together have had since the start."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def disc() -> NDArray[np.float32]:
    """(286, 286) float32 0 or 1: the evidence of a network that costs nothing, a disc of 20 %."""
    rows, columns = np.mgrid[-1:1:286j, -1:1:286j]
    return np.asarray(rows**2 + columns**2 < 0.25, np.float32)
