"""The command line with a network that sees colours, and nothing of Keras loaded: starts at once.

    python tests/lean.py film.mp4 --out annotated.mp4

For runs that are killed, starved or fed with garbage by the hundred (test_resume.py, test_fuzz.py,
benchmarks/faults.py). "ready" is printed on stdout when all is imported.
"""

from __future__ import annotations

import os
import sys
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
    return rustvid_main(arguments)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
