"""A training's state on the disk: written at once or not at all, read back to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

Extra = dict[str, NDArray[Any]]


def save(path: Path, model: Any, extra: Extra) -> None:
    """Write the weights of a compiled model, its optimiser's variables, and what else there is."""
    arrays = dict(extra)
    arrays |= {f"own{i}": value for i, value in enumerate(model.get_weights())}
    for i, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer{i}"] = ops.convert_to_numpy(variable)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def restore(path: Path, model: Any) -> Extra:
    """Put weights and optimiser back; returns what else was saved."""
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    model.set_weights([arrays.pop(f"own{i}") for i in range(len(model.get_weights()))])
    for i, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays.pop(f"optimizer{i}"))
    return arrays
