"""The command line with a network that sees colours, and nothing of Keras loaded: starts at once.

    python tests/lean.py film.mp4 --out annotated.mp4
    python tests/lean.py --serve     # a JSON list of words on stdin: forks, tells the process's id,
                                     # and, when it has ended, its exit code; imports only once

For runs that are killed, starved or fed with garbage by the hundred (test_resume.py, test_fuzz.py,
benchmarks/faults.py). "ready" is printed on stdout when all is imported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

HERE = Path(__file__).resolve().parent


def without_keras() -> None:
    """Let modules import it; what would use it is not called."""
    for name in ("keras", "keras.ops", "keras.layers", "sklearn", "sklearn.cluster"):
        sys.modules[name] = MagicMock()


def main(arguments: list[str]) -> int:
    """`rustvid …` with that network."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    without_keras()
    from fakes import ColourModel

    import rustvid.pipeline
    from rustvid.cli import main as rustvid_main

    rustvid.pipeline.Model = lambda *_: ColourModel()
    print("ready", flush=True)
    if arguments == ["--serve"]:
        return serve(rustvid_main)
    return rustvid_main(arguments)


def serve(command: Callable[[list[str]], int]) -> int:
    """A process for every line; here no thread ever runs, so that a fork does no harm."""
    for line in sys.stdin:
        if not (child := os.fork()):
            os._exit(command(json.loads(line)))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
