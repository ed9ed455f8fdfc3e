"""A training's state on the disk: written at once or not at all, read back to the last bit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.files import replacing
from rustvid.training.data import PhotoSet

Extra = dict[str, NDArray[Any]]
Origin = dict[str, Any]
_PHOTOS = "photographs"
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error)


def origin(recipe: Any, *sets: PhotoSet) -> Origin:
    """What a training comes from: every option of its recipe by its dotted name, and a SHA-256 of
    its photographs and their sources, by which they are split."""
    digest = hashlib.sha256()
    for read in sets:
        told = [f"{photo.name}\t{photo.source}" for photo in read.photos]
        digest.update("\n".join([read.listing, *told]).encode(errors="surrogateescape"))
    return dict(_options(recipe, "")) | {_PHOTOS: digest.hexdigest()}


def _options(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            yield from _options(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", value


def save(path: Path, model: Any, came: Origin, extra: Extra) -> None:
    """Write the weights of a compiled model, its optimiser's variables, and what else there is."""
    arrays = extra | {"origin": np.array(json.dumps(came))}
    arrays |= {f"own{i}": value for i, value in enumerate(model.get_weights())}
    for i, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer{i}"] = ops.convert_to_numpy(variable)
    with replacing(path) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]


def load(path: Path, came: Origin) -> Extra | None:
    """What was saved; None where nothing was. Raises UsageError where it cannot be read, or is of
    a training with another recipe or other photographs: its card would tell of this one's."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        before = json.loads(str(arrays.pop("origin")))
    except KeyError as exc:
        raise UsageError(
            f"{path}: does not say by what recipe, an older RustVid saved it; use another --out"
        ) from exc
    except _UNREADABLE as exc:
        raise UsageError(f"{path}: is no state of a training, or cut; use another --out") from exc
    if told := _differences(before, came):
        raise UsageError(f"{path}: was trained with {told}; use another --out")
    return arrays


def _differences(before: Origin, now: Origin) -> str:
    """ "rate 0.001 (now 0.0005), other photographs"; "" if there are none."""
    names = [name for name in before | now if before.get(name) != now.get(name)]
    told = [f"{k} {_text(before.get(k))} (now {_text(now.get(k))})" for k in names if k != _PHOTOS]
    return ", ".join([*told, *[f"other {name}" for name in names if name == _PHOTOS]])


def _text(value: Any) -> str:
    return "null" if value is None else f"{value}"


def restore(arrays: Extra, model: Any) -> Extra:
    """Put weights and optimiser back; returns what else was saved."""
    extra = dict(arrays)
    try:
        model.set_weights([extra.pop(f"own{i}") for i in range(len(model.get_weights()))])
        for i, variable in enumerate(model.optimizer.variables):
            variable.assign(extra.pop(f"optimizer{i}"))
    except (KeyError, ValueError) as exc:
        raise UsageError("the saved state is of another network; use another --out") from exc
    return extra
