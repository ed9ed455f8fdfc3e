"""RustVid finds rust in inspection footage.

>>> import rustvid
>>> for result in rustvid.process("footage.mp4"):  # doctest: +SKIP
...     print(result.frame.index, result.probability, result.mask.mean())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rustvid.config import Config
    from rustvid.errors import RustVidError
    from rustvid.live.cameras import watch_all
    from rustvid.live.named import read_cameras
    from rustvid.live.watch import watch
    from rustvid.pipeline import process, run

__version__ = "0.1.0"
__all__ = [
    "Config",
    "RustVidError",
    "__version__",
    "process",
    "read_cameras",
    "run",
    "watch",
    "watch_all",
]

_HOMES = {
    "Config": "rustvid.config",
    "RustVidError": "rustvid.errors",
    "process": "rustvid.pipeline",
    "read_cameras": "rustvid.live.named",
    "run": "rustvid.pipeline",
    "watch": "rustvid.live.watch",
    "watch_all": "rustvid.live.cameras",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562), so that --help stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rustvid' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
