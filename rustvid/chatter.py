"""What libraries write to stderr while they load, kept from the people who read it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LEVEL = ("TF_CPP_MIN_LOG_LEVEL", "3")
_OTHERS = (("SVT_LOG", "1"),)


def ask_for_quiet() -> None:
    """Have TensorFlow and the encoders say as little as they can, unless the user has a wish."""
    for name, value in (_LEVEL, *_OTHERS):
        os.environ.setdefault(name, value)


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing reaches stderr, where quiet was asked for: for the moments of loading only.

    TensorFlow and LiteRT write some lines before any of their settings is read: only the file
    descriptor itself stops those.
    """
    name, quiet = _LEVEL
    if os.environ.get(name) != quiet:
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
