"""The network is the paper's Fig. 3, its answer 0 is corrosion, and bad weights are refused."""

from __future__ import annotations

import ast
import inspect
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from rustvid.errors import ModelError
from rustvid.method import localise, network
from rustvid.method.models import find, read_weights

Array = NDArray[Any]
LAYERS = [f"conv{section}_{half}" for section in range(1, 6) for half in (1, 2)]
TINY = 2  # filters: 1/32 of the paper's, for what does not depend on their number


# --- Fig. 3


@pytest.mark.parametrize(("filters", "parameters"), [(64, 19.6e6), (16, 1.38e6)])
def test_the_network_is_fig_3(filters: int, parameters: float) -> None:
    model = network.build(filters)
    shape = {layer.name: tuple(layer.output.shape) for layer in model.layers[:-1]}
    assert shape["image"] == (None, 572, 572, 3)
    sides = [570, 568, 282, 280, 138, 136, 66, 64, 30, 28]  # the numbers under the figure
    widths = [filters * 2**section for section in range(5) for _ in (1, 2)]
    for name, side, width in zip(LAYERS, sides, widths, strict=True):
        assert shape[name] == (None, side, side, width)
    assert model.output["evidence"].shape == (None, 28, 28)
    assert model.output["probability"].shape == (None,)
    assert model.count_params() == pytest.approx(parameters, rel=0.01)


def test_layers_come_in_the_order_and_by_the_names_of_the_weights_file() -> None:
    order = ["image"]
    for section in range(1, 6):
        order += [f"pool{section - 1}"] * (section > 1)
        order += [f"conv{section}_1", f"conv{section}_2"]
    assert [layer.name for layer in network.build(TINY).layers] == [*order, "head"]


def test_every_convolution_is_3x3_with_relu_and_he_uniform() -> None:
    model = network.build(TINY)
    for name in LAYERS:
        layer = model.get_layer(name)
        assert layer.kernel_size == (3, 3)
        assert layer.padding == "valid"
        assert layer.activation.__name__ == "relu"
        assert type(layer.kernel_initializer).__name__ == "HeUniform"
        assert not ops.convert_to_numpy(layer.bias).any()


@pytest.mark.parametrize("module", [network, localise])
def test_keras_alone_is_used_so_every_backend_will_do(module: Any) -> None:
    tree = ast.parse(inspect.getsource(module))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    foreign = {"tensorflow", "torch", "jax"}
    assert not {name.partition(".")[0] for name in imported} & foreign
    assert not {"tf", *foreign} & names
    assert not any(name.startswith("keras.src") or "backend" in name for name in imported)


# --- the head: 0 is corrosion, and the flattened map is (row, column, channel)


def head(kernel: Array, bias: float) -> network.GradCamHead:
    layer = network.GradCamHead("exp")
    layer.build((None, *kernel.shape))
    layer.set_weights([kernel.reshape(-1, 1), np.array([bias])])
    return layer


@pytest.mark.parametrize(("logit", "corrosion"), [(-3.0, 0.9526), (0.0, 0.5), (3.0, 0.0474)])
def test_the_neurons_own_answer_is_0_for_corrosion(logit: float, corrosion: float) -> None:
    probability, _ = head(np.zeros((3, 4, 2)), bias=logit)(np.ones((1, 3, 4, 2), np.float32))
    assert float(probability[0]) == pytest.approx(corrosion, abs=1e-4)


def test_a_feature_with_negative_weight_speaks_for_corrosion_at_its_own_place() -> None:
    kernel = np.zeros((3, 4, 2))
    kernel[1, 3, 0], kernel[2, 0, 1] = -1, 1  # for corrosion; against it
    features = np.zeros((1, 3, 4, 2), np.float32)
    features[0, 1, 3, 0] = 2
    probability, heat = head(kernel, bias=0)(features)
    assert float(probability[0]) == pytest.approx(1 / (1 + np.exp(-2)))
    only_there = np.zeros((3, 4))
    only_there[1, 3] = 1
    np.testing.assert_array_equal(heat[0], only_there)


def test_a_pictures_answer_does_not_depend_on_the_pictures_beside_it() -> None:
    path = find("rustseg-lite")
    arrays = read_weights(path)
    model = network.build(arrays["conv1_1/kernel"].shape[-1])
    network.assign_weights(model, arrays, str(path))
    random = np.random.default_rng(0)
    one, two, three = random.uniform(-1, 1, (3, 1, 572, 572, 3)).astype(np.float32)
    beside_two = model.predict_on_batch(np.concatenate([one, two]))
    beside_three = model.predict_on_batch(np.concatenate([three * 0.1, one]))
    for name in ("probability", "evidence"):
        np.testing.assert_allclose(beside_two[name][0], beside_three[name][1], atol=1e-5)


# --- weights files


def some_arrays() -> dict[str, Array]:
    """float16 arrays that fit the tiny network."""
    random = np.random.default_rng(7)
    return {
        f"{layer.name}/{variable.name}": random.normal(0, 0.1, variable.shape).astype("float16")
        for layer in network.build(TINY).layers
        for variable in layer.weights
    }


def test_weights_written_are_the_weights_read(tmp_path: Path) -> None:
    arrays, path = some_arrays(), tmp_path / "weights.npz"
    model = network.build(TINY)
    network.assign_weights(model, arrays, "memory")
    network.save_weights(model, path)
    read = read_weights(path)
    assert read.keys() == arrays.keys()
    for key, value in read.items():
        assert value.dtype == np.float16
        np.testing.assert_array_equal(value, arrays[key])
    assert list(tmp_path.iterdir()) == [path]


def test_the_shipped_weights_are_of_16_filters_and_their_kernels_float16() -> None:
    arrays = read_weights(find("rustseg-lite"))
    assert {key.partition("/")[0] for key in arrays} == {*LAYERS, "head"}
    assert arrays["conv1_1/kernel"].shape == (3, 3, 3, 16)
    assert arrays["head/kernel"].shape == (28 * 28 * 256, 1)
    assert all(array.dtype == np.float16 for key, array in arrays.items() if "kernel" in key)


def wrong_shape(arrays: dict[str, Array]) -> None:
    arrays["conv3_1/kernel"] = arrays["conv3_1/kernel"][..., :-1]


def missing_key(arrays: dict[str, Array]) -> None:
    del arrays["conv3_1/kernel"]


def not_finite(arrays: dict[str, Array]) -> None:
    arrays["conv3_1/kernel"][0, 0, 0, 0] = np.nan


def text_instead_of_numbers(arrays: dict[str, Array]) -> None:
    arrays["conv3_1/kernel"] = np.full(arrays["conv3_1/kernel"].shape, "rust")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (wrong_shape, r"conv3_1/kernel has shape \(3, 3, 4, 7\).* needs \(3, 3, 4, 8\)"),
        (missing_key, "lacks conv3_1/kernel"),
        (not_finite, "conv3_1/kernel holds values that are not finite"),
        (text_instead_of_numbers, "conv3_1/kernel"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_file_and_key(
    damage: Callable[[dict[str, Array]], None], told: str
) -> None:
    arrays = some_arrays()
    damage(arrays)
    with pytest.raises(ModelError, match=rf"^my\.npz: .*{told}"):
        network.assign_weights(network.build(TINY), arrays, "my.npz")


def no_zip(path: Path) -> None:
    path.write_text("weights, honestly")


def empty(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()


def missing(path: Path) -> None:
    """There is no such file."""


def pickle_inside(path: Path) -> None:
    np.savez(path, **{"conv1_1/kernel": np.array([{"os": "system"}], dtype=object)})


def one_array_under_the_wrong_name(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def zip_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv1_1/kernel", "not an array")


def cut_short(path: Path) -> None:
    np.savez_compressed(path, weights=np.arange(1000.0))
    path.write_bytes(path.read_bytes()[:-200])


def scrambled(path: Path) -> None:
    np.savez_compressed(path, weights=np.random.default_rng(0).normal(size=2000))
    content = bytearray(path.read_bytes())
    content[60:70] = b"\xff" * 10  # the beginning of the compressed stream
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        no_zip,
        empty,
        folder,
        missing,
        pickle_inside,
        one_array_under_the_wrong_name,
        zip_of_something_else,
        cut_short,
        scrambled,
    ],
)
def test_a_file_that_is_not_weights_is_refused_by_its_name(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "weights.npz"
    make(path)
    with pytest.raises(ModelError) as refused:
        read_weights(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
