"""The encoder's beginning: PyTorch's file read without PyTorch, normalisation folded in."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from rustvid.errors import ModelError, UsageError
from rustvid.method import efficientnet
from rustvid.training import imagenet


class _Storage:
    """Pickled by reference, as PyTorch does: the numbers follow the pickles."""

    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Storage):
            kind = sys.modules["torch"].FloatStorage  # type: ignore[attr-defined]
            return ("storage", kind, obj.key, "cpu", obj.values.size, None)
        return None


class _Tensor:
    def __init__(self, storage: _Storage, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.parts = (storage, 0, shape, strides, False, {})

    def __reduce__(self) -> Any:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts  # type: ignore[attr-defined]


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just enough of PyTorch's names to write its format."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")

    class FloatStorage:
        __module__ = "torch"

    FloatStorage.__qualname__ = "FloatStorage"

    def _rebuild_tensor_v2(*parts: Any) -> Any:
        return parts

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(path: Path, tensors: dict[str, Any], keys: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(item, file, protocol=2)
        _Pickler(file, protocol=2).dump(tensors)
        pickle.dump(sorted(keys), file, protocol=2)
        for _, values in sorted(keys.items()):
            file.write(values.size.to_bytes(8, "little") + values.astype("<f4").tobytes())


@pytest.mark.usefixtures("torch_names")
def test_a_transposed_tensor_is_read_by_its_strides(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    tensors = {
        "plain": _Tensor(_Storage("7", values), (2, 3), (3, 1)),
        "transposed": _Tensor(_Storage("8", values), (3, 2), (1, 3)),
    }
    write(tmp_path / "w.pth", tensors, {"7": values, "8": values})
    found = imagenet.read_tensors(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["plain"], values.reshape(2, 3))
    np.testing.assert_array_equal(found["transposed"], values.reshape(2, 3).T)


@pytest.mark.usefixtures("torch_names")
def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path) -> None:
    values = np.zeros(4, np.float32)
    write(tmp_path / "w.pth", {"x": _Tensor(_Storage("1", values), (5,), (1,))}, {"1": values})
    with pytest.raises(ModelError, match="beyond"):
        imagenet.read_tensors(tmp_path / "w.pth")


class _Evil:
    def __reduce__(self) -> Any:
        return eval, ("1 + 1",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "w.pth").open("wb") as file:
        pickle.dump(_Evil(), file)
    with pytest.raises(ModelError, match="eval"):
        imagenet.read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"\x80\x02K\x01."])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.pth"):
        imagenet.read_tensors(tmp_path / "w.pth")


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(UsageError, match=r"rustvid\[train\]"):
        imagenet.weights()


def fake_tensors() -> dict[str, np.ndarray]:
    """Random tensors under the published network's names and shapes."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def add(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        tensors[f"{convolution}.weight"] = rng.normal(0, 0.1, shape).astype(np.float32)
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{name}"] = rng.uniform(0.5, 1.5, shape[0]).astype(np.float32)

    add("_conv_stem", "_bn0", (efficientnet.STEM, 3, 3, 3))
    width, index = efficientnet.STEM, 0
    for blocks, expansion, kernel, _, filters in efficientnet.STAGES:
        for _ in range(blocks):
            wide, block = width * expansion, f"_blocks.{index}."
            if expansion > 1:
                add(f"{block}_expand_conv", f"{block}_bn0", (wide, width, 1, 1))
            add(f"{block}_depthwise_conv", f"{block}_bn1", (wide, 1, kernel, kernel))
            add(f"{block}_project_conv", f"{block}_bn2", (filters, wide, 1, 1))
            width, index = filters, index + 1
    add("_conv_head", "_bn1", (efficientnet.TOP, width, 1, 1))
    return tensors


def test_folding_is_convolution_then_normalisation_to_1e_5() -> None:
    tensors = fake_tensors()
    arrays = imagenet.folded(tensors)
    x = np.random.default_rng(1).normal(0, 1, (1, 8, 8, 3)).astype(np.float32)
    kernel = tensors["_conv_stem.weight"].transpose(2, 3, 1, 0)
    seen = keras.ops.convert_to_numpy(keras.ops.conv(x, kernel, padding="same"))
    mean, variance = tensors["_bn0.running_mean"], tensors["_bn0.running_var"]
    normal = (seen - mean) / np.sqrt(variance + imagenet.EPSILON)
    expected = normal * tensors["_bn0.weight"] + tensors["_bn0.bias"]
    folded = keras.ops.conv(x, arrays["stem/kernel"], padding="same") + arrays["stem/bias"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(folded), expected, atol=1e-5)


def test_every_layer_of_the_encoder_finds_its_weights() -> None:
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, efficientnet.top(efficientnet.encoder(image)[-1]))
    arrays = imagenet.folded(fake_tensors())
    named = {f"{layer.name}/{v.name}": v.shape for layer in model.layers for v in layer.weights}
    assert {name: array.shape for name, array in arrays.items()} == named


@pytest.mark.parametrize(("offset", "strides"), [(4, (-3,)), (-1, (1,))])
def test_a_tensor_before_its_numbers_is_refused(offset: int, strides: tuple[int, ...]) -> None:
    tensor = imagenet._Tensor("0", "<f4", offset, (3,), strides)
    with pytest.raises(ValueError, match="beyond its numbers"):
        imagenet._strided(np.arange(8, dtype=np.float32), tensor)
