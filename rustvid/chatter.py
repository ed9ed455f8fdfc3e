"""What libraries write to stderr, kept from the people who read it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SETTINGS = (("TF_CPP_MIN_LOG_LEVEL", "3"), ("SVT_LOG", "1"), ("OPENCV_LOG_LEVEL", "ERROR"))
_lock = threading.Lock()
_depth = 0  # of `silenced` within each other, or in several threads at once
_kept = -1  # the descriptor that stderr was
_wanted = False


def ask_for_quiet() -> None:
    """From now on `silenced` is, and TensorFlow and the encoders say as little as they can.

    For a program of ours: whose stderr another one shares is not muted.
    """
    global _wanted
    _wanted = True
    for name, value in _SETTINGS:
        os.environ.setdefault(name, value)


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing reaches stderr, where quiet was asked for: for moments only, while a library loads or
    decodes what is known to be damaged.

    TensorFlow and LiteRT write some lines before any of their settings is read: only the file
    descriptor itself stops those.
    """
    if not _wanted:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _depth, _kept
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            _kept = os.dup(2)
        except OSError:  # it is closed: nothing to keep quiet
            _kept = -1
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _leave() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0 and _kept >= 0:
            os.dup2(_kept, 2)
            os.close(_kept)
