"""What the machine has, looked at before the start: the figure needed and the figure there."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path

from rustvid.errors import RustVidError, WorkerError
from rustvid.video.source import SourceInfo

_FILES, _FILES_PER_WORKER = 64, 6  # descriptors: measured 40 without workers, 4 a worker
_BITS_PER_PIXEL = 0.15  # of an annotated film: generous for what is shipped, h264 at crf 20
_SHARED_MEMORY = Path("/dev/shm")


def check_descriptors(workers: int) -> None:
    """Raise the limit of open files where it is too low; RustVidError where that is forbidden."""
    needed = _FILES + _FILES_PER_WORKER * workers
    there, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if there == resource.RLIM_INFINITY or there >= needed:
        return
    if most != resource.RLIM_INFINITY and most < needed:
        raise RustVidError(
            f"open files: {needed} are needed and {most} are allowed; raise `ulimit -n`, "
            "or use fewer --workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def check_shared_memory(workers: int, size: int) -> list[str]:
    """A warning where fewer frames than wanted fit in; WorkerError where not even one does.

    size: of the refinement's pictures, pixels a side
    """
    if not workers:
        return []
    slot = size * size * (3 + 4 + 3)  # picture, evidence, and as much as the largest for the result
    try:
        there = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return []  # the system shows none: the pool finds out
    free = there.f_bavail * there.f_frsize
    if not there.f_blocks or free >= 2 * workers * slot:
        return []
    told = f"{_SHARED_MEMORY}: {2 * workers * slot} bytes are wanted and {free} are free"
    if free < slot // 4:  # what the smallest task takes
        raise WorkerError(
            f"{told}: make it larger (in a container --shm-size), or run with --workers 0"
        )
    return [f"{told}: fewer frames are refined at once; make it larger (--shm-size)"]


def disk_warnings(outputs: Sequence[Path], info: SourceInfo) -> list[str]:
    """A warning for a folder where the films, by a generous estimate, do not fit."""
    if not info.expected_frames:
        return []
    each = info.width * info.height * info.expected_frames * _BITS_PER_PIXEL / 8
    told = []
    for folder in {path.parent for path in outputs}:
        needed = each * sum(path.parent == folder for path in outputs)
        free = shutil.disk_usage(folder).free
        if free < needed:
            told.append(
                f"{folder}: about {needed / 1e6:.0f} MB may be needed and {free / 1e6:.0f} MB are "
                "free; if the run stops there, make room and add --resume"
            )
    return told
