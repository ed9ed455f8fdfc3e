"""A network compiled by a process of its own, which takes TensorFlow with it when it ends.

    this process              python -m rustvid.method.compiler WEIGHTS SCORE WIDTH HEIGHT
    compiled_apart ─────────► conversion.converted
                   ◄─ stdout: the network, or the error that it met
                   ── stdin:  its end is this process's end, and the child's

What TensorFlow takes stays in a process until that ends: for a camera, weeks. The child sees no
GPU, so that none is reserved. It is a plain command and not one of multiprocessing's processes:
those run the main program again, which then needs a guard.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rustvid.chatter import silenced
from rustvid.errors import Interrupted, RustVidError

_STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_compiling: set[subprocess.Popen[bytes]] = set()


def can_start() -> bool:
    """Whether there is a Python to start: a frozen program has none but itself."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def compiled_apart(path: Path, score: str, size: tuple[int, int]) -> bytes | None:
    """What conversion.converted returns; raises what that raises.

    None where no process can be started, or it ends without a word: what is wrong then shows
    itself where it is done in this one. Raises Interrupted where a signal that asks to stop ended
    it, and RustVidError where another one did.
    """
    if not can_start():
        return None
    words = [sys.executable, "-P", "-m", "rustvid.method.compiler", str(path), score]
    try:
        with silenced():  # the child keeps the stderr that it starts with
            child = subprocess.Popen(
                [*words, *map(str, size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_surroundings(),
            )
    except OSError:
        return None
    with child:
        _compiling.add(child)
        try:
            answer = child.stdout.read() if child.stdout else b""
            code = child.wait()
        finally:
            child.kill()
            _compiling.discard(child)
    return _opened(answer, code, path)


def pass_on(number: int) -> None:
    """Send a signal to what is compiling; it may have come to this process alone."""
    for child in tuple(_compiling):
        child.send_signal(number)


def _surroundings() -> dict[str, str]:
    """Modules are found where they are found here (-P: nowhere else), and no GPU is."""
    found_in = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": found_in, "CUDA_VISIBLE_DEVICES": "-1"}


def _opened(answer: bytes, code: int, path: Path) -> bytes | None:
    if -code in _STOPS:
        raise Interrupted(-code)
    if code < 0:
        raise RustVidError(
            f"{path}: compiling the network was ended by signal {-code} "
            f"({signal.strsignal(-code)}), as when memory runs out: free some, and run again"
        )
    if code:
        return None
    found = pickle.loads(answer)  # from a program of our own
    if isinstance(found, Exception):
        raise found
    return bytes(found)


# --- inside the child


def _begun() -> int:
    """Make ready to end with the parent, and at once when asked to; the file for the answer."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    answer = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    return answer


def _follow_parent() -> None:
    os.read(0, 1)  # there is never anything to read
    os._exit(1)


def _end(answer: int, found: Any) -> None:
    with os.fdopen(answer, "wb") as file:
        pickle.dump(found, file)
    os._exit(0)  # TensorFlow's own leave-taking takes a second


if __name__ == "__main__":
    _place = _begun()
    try:
        from rustvid.method.conversion import converted

        _path, _score, _width, _height = sys.argv[1:]
        _found: Any = converted(Path(_path), _score, (int(_width), int(_height)))
    except (RustVidError, MemoryError) as exc:
        _found = exc
    _end(_place, _found)
