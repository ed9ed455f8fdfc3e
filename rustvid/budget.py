"""Who gets how many threads: one plan for decoder, network, workers and encoder.

The stages run at the same time, but seldom all at full speed, and the system shares the cores
among them. So each gets what it can use while the others wait, and no more: threads beyond that
cost memory (a decoder's hold a picture each) and switching. OpenCV and BLAS have one thread
everywhere, in the workers too.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from rustvid.config import Config

_DECODERS = 5  # one decodes 1080p several times as fast as anything that follows
_ENCODERS = 12  # more find too few rows of a 1080p picture to share
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": two cores; "max 100000": all
_NO_CRF = ("threshold", "student")  # a millisecond's work: not worth a process
_LIGHT_CRF = "student-crf"  # on the evidence's own grid, a sixth of the work


@dataclass(frozen=True)
class Threads:
    """Threads of the decoder, of the network's pool and of the encoder; worker processes."""

    decode: int
    network: int
    workers: int
    encode: int


def plan(cores: int, method: str, workers: int | None = None) -> Threads:
    """How a run shares its cores.

    method: of the refinement, settled; workers: as many as were asked for, None: one per core
    where there is a CRF to compute, half as many where it takes less than the network
    """
    if workers is None:
        workers = 0 if method in _NO_CRF else cores
        if method == _LIGHT_CRF:
            workers = max(1, cores // 2)
    return Threads(
        decode=min(cores + 1, _DECODERS) if cores > 1 else 1,  # FFmpeg's own measure, bounded
        network=cores,
        workers=workers,
        encode=min(cores + cores // 2, _ENCODERS),  # x264's own measure
    )


def threads_of(config: Config) -> Threads:
    """The plan of a configuration, on this machine where it says "auto"."""
    cores = available() if config.threads == "auto" else config.threads
    return plan(cores, config.refine.method, config.workers)


def available() -> int:
    """Cores that this process may use: its affinity, and what a container's quota leaves."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        allowed = within(_QUOTA.read_text(encoding="ascii"))
    except OSError:
        allowed = None
    return max(1, min(count or 1, allowed or count or 1))


def within(quota: str) -> int | None:
    """Whole cores of a cgroup's cpu.max, rounded up; None: no limit, or none that we read."""
    limit, _, period = quota.strip().partition(" ")
    if not (limit.isdigit() and period.isdigit() and int(period)):
        return None
    return max(1, math.ceil(int(limit) / int(period)))


def size_pool(threads: int) -> None:
    """Have TensorFlow make its pool of so many threads; before its first operation, or in vain.

    Who has set the variable has had reasons: it stays.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
