"""Where FFmpeg's errors become ours, on the way out."""

from __future__ import annotations

import errno
from pathlib import Path
from types import TracebackType

import av

from rustvid.errors import SinkError


class border:
    """Turns what FFmpeg and the disk raise into SinkError, with the path and a remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (av.error.FFmpegError, OSError)):
            reason = error.strerror or str(error)
            remedy = (
                "free some space"
                if getattr(error, "errno", 0) == errno.ENOSPC
                else "check the folder"
            )
            raise SinkError(f"{self._path}: cannot be written ({reason}); {remedy}") from error
