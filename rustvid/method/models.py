"""Weights files: which ones there are, and what is in them. No network framework loads here.

A weights file is an .npz of float16 arrays named "<layer>/kernel" and "<layer>/bias", read
without pickle. A student is known by its head for evidence, a classifier by the paper's layers.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import ModelError

_UNREADABLE = (
    OSError,
    ValueError,
    AttributeError,
    EOFError,
    TypeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
Kind = Literal["classifier", "student"]


def shipped() -> list[Path]:
    """The weights that come with RustVid, by name."""
    folder = Path(str(resources.files("rustvid.method") / "weights"))
    return sorted(folder.glob("*.npz"), key=lambda path: path.stem)


def find(name: str) -> Path:
    """The weights file of a shipped model's name, or the path itself; raises ModelError."""
    if name.endswith(".npz"):
        path = Path(name)
        if not path.is_file():
            raise ModelError(f"{path}: no such file; `rustvid models` lists what is shipped")
        return path
    known = {path.stem: path for path in shipped()}
    if name not in known:
        raise ModelError(
            f"model {name}: is not shipped (there are {', '.join(known)}) "
            "and is not a path to .npz weights"
        )
    return known[name]


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a weights file; raises ModelError where it is missing or not such a file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: no such file; `rustvid models` lists what is shipped") from exc
    except _UNREADABLE as exc:
        raise ModelError(f"{path}: is not a weights file (.npz of arrays, no pickle)") from exc
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise ModelError(f"{path}: {name} is not an array of floating-point numbers")
    return arrays


def kind_of_file(path: Path) -> Kind:
    """What network a weights file is for, by the names in it alone; raises ModelError."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = list(archive.files)
    except _UNREADABLE as exc:
        raise ModelError(f"{path}: is not a weights file (.npz of arrays, no pickle)") from exc
    return kind_of(names, str(path))


def kind_of(names: Iterable[str], origin: str) -> Kind:
    """What network the arrays of these names belong to; raises ModelError if to none."""
    names = set(names)
    if "evidence_head/kernel" in names:
        return "student"
    if "conv1_1/kernel" in names:
        return "classifier"
    raise ModelError(
        f"{origin}: holds neither conv1_1/kernel nor evidence_head/kernel; "
        "these are not weights of RustVid"
    )
