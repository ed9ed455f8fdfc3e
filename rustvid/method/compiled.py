"""Networks compiled for LiteRT, kept for the next run.

To make one, TensorFlow has to load, which takes seconds and a gigabyte (see compiler.py). To read
one takes a blink. They lie in the user's cache folder, may be deleted at any time, and are made
anew where the weights, this code or the library that makes them are others.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

_KEPT = 8  # networks; each about twice as large as its weights file
_DIGEST = 32  # bytes of SHA-256 before the network itself: a damaged file is made anew
_A_DAY = 86_400.0  # seconds, after which what is half written is a killed run's
_MAKERS = ("tensorflow", "keras")


def compiled(key: str, make: Callable[[], bytes]) -> bytes:
    """The network of that key; `make` makes it where it is not kept yet.

    key: all that the network depends on, beside this code and the libraries
    """
    file = _file(key)
    network = _read(file)
    if network is None:
        network = make()
        _keep(file, network)
    return network


def is_kept(key: str) -> bool:
    """Whether the network of that key is there, by its name alone."""
    return _file(key).is_file()


def folder() -> Path:
    """Where they are kept: $XDG_CACHE_HOME/rustvid, else ~/.cache/rustvid."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "rustvid"
    try:
        return Path.home() / ".cache" / "rustvid"
    except RuntimeError:  # a user without a home, as in some containers: nothing can be kept
        return Path(os.devnull) / "rustvid"


def _file(key: str) -> Path:
    digest = hashlib.sha256(key.encode())
    for name in _MAKERS:
        digest.update(f"{name} {version(name)}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return folder() / f"{digest.hexdigest()[:32]}.tflite"


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        return None
    with suppress(OSError):  # it may be another user's, to be read only
        os.utime(file)  # the one that was used last is the last to go
    return content[_DIGEST:]


def _keep(file: Path, network: bytes) -> None:
    """Write it whole or not at all, and remove the oldest beyond a few; where nothing can be
    written, the next run makes it again."""
    scratch = file.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(hashlib.sha256(network).digest() + network)
            scratch.replace(file)
            kept = sorted(file.parent.glob("*.tflite"), key=lambda path: path.stat().st_mtime)
            began = time.time() - _A_DAY
            stale = [path for path in file.parent.glob("*.part") if path.stat().st_mtime < began]
            for old in [*kept[:-_KEPT], *stale]:
                old.unlink()
        finally:
            scratch.unlink(missing_ok=True)
