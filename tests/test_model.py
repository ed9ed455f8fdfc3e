"""A model: what computes it, in what precision, on what device; networks that are kept."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid.config import Config, ModelConfig, apply
from rustvid.errors import ConfigError, ModelError, UsageError
from rustvid.method import compiled as store
from rustvid.method import framework
from rustvid.method import model as module
from rustvid.method.model import Model, compiles, engine_of, loads_tensorflow
from rustvid.method.models import find, shipped

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(ModelConfig(name="rustseg-lite", precision="float32", device="cpu", batch=2))


def photo(seed: int, side: int = 572) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@pytest.mark.parametrize("engine", ["keras", "litert"])
def test_an_answer_does_not_depend_on_the_pictures_beside_it(engine: str) -> None:
    config = ModelConfig(name="rustvid-student", precision="float32", size=64, batch=2)
    model = Model(apply(config, f"engine={engine}"))
    alone, both = model.look([photo(1, 64)]), model.look([photo(1, 64), photo(2, 64)])
    assert alone.probability.shape == (1,)
    assert alone.evidence.shape == (1, 32, 32)
    assert both.probability.shape == (2,)
    np.testing.assert_allclose(alone.probability[0], both.probability[0], atol=1e-5)
    np.testing.assert_allclose(alone.evidence[0], both.evidence[0], atol=1e-5)


def test_answers_are_float32_between_0_and_1(model: Model) -> None:
    answer = model.look([photo(1)])
    for array in (answer.probability, answer.evidence):
        assert array.dtype == np.float32
        assert array.min() >= 0
        assert array.max() <= 1


def test_a_model_knows_its_name_size_file_and_busy_time(model: Model) -> None:
    assert model.name == "rustseg-lite"
    assert model.size == (572, 572)
    assert model.precision == "float32"
    assert len(model.digest) == 64
    before = model.seconds
    model.look([photo(1)])
    assert model.seconds > before


@pytest.mark.parametrize(
    ("asked", "processor_has_it", "device", "used"),
    [
        ("auto", True, "cpu:0", "bfloat16"),
        ("auto", False, "cpu:0", "float32"),
        ("auto", True, None, "bfloat16"),
        ("auto", True, "gpu:0", "float32"),
        ("float32", True, "cpu:0", "float32"),
        ("bfloat16", False, "cpu:0", "bfloat16"),
        ("float16", True, "gpu:0", "float16"),
    ],
)
def test_auto_precision_is_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    processor_has_it: bool,
    device: str | None,
    used: str,
) -> None:
    monkeypatch.setattr(module, "_cpu_has_bfloat16", lambda: processor_has_it)
    monkeypatch.setattr(module, "_gpus", list)
    assert module._precision(asked, device) == used


@pytest.mark.parametrize("asked", ["tpu", "gpu:first", "auto:1", "cpu:7", "cpu:x"])
@pytest.mark.parametrize("engine", ["auto", "litert", "keras"])
def test_a_device_that_is_none_is_told_at_once(asked: str, engine: str) -> None:
    with pytest.raises(UsageError, match=f"must be auto, cpu, gpu or gpu:N, received '{asked}'"):
        engine_of(ModelConfig(device=asked, engine=engine))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["gpu", "gpu:2"])
def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr(framework, "gpus", list)
    told = f"model.device {asked}: the backend sees 0 GPUs; use auto or cpu"
    with pytest.raises(UsageError, match=told):
        framework.device_of(asked)


def test_an_unknown_model_is_told_with_those_that_are_shipped() -> None:
    with pytest.raises(ModelError, match=r"model rustseg-huge: .*rustseg-lite.*npz"):
        find("rustseg-huge")
    assert "rustseg-lite" in [path.stem for path in shipped()]


# --- what computes it


@pytest.mark.parametrize("name", ["rustvid-student", "rustseg-lite"])
def test_litert_answers_as_keras_does(name: str) -> None:
    size = 96 if name == "rustvid-student" else None
    config = ModelConfig(name=name, precision="float32", size=size, batch=2)
    keras, litert = (Model(apply(config, f"engine={e}")) for e in ("keras", "litert"))
    assert (keras.engine, litert.engine) == ("keras", "litert")
    pictures = [photo(seed, keras.size[0]) for seed in (1, 2)]
    pictures[1] //= 4  # a dark one
    wanted, found = keras.look(pictures), litert.look(pictures)
    assert np.ptp(wanted.evidence) > 0.01  # there is something to compare
    np.testing.assert_allclose(found.probability, wanted.probability, atol=1e-5)
    np.testing.assert_allclose(found.evidence, wanted.evidence, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_litert_answers_the_same_however_many_threads_compute(threads: int) -> None:
    config = ModelConfig(name="rustvid-student", size=64, engine="litert")
    alone = Model(config, threads=1).look([photo(3, 64)])
    found = Model(config, threads=threads).look([photo(3, 64)])
    np.testing.assert_array_equal(found.evidence, alone.evidence)


@pytest.mark.parametrize(
    ("assignments", "bfloat16", "gpus", "used"),
    [
        ([], False, 0, "litert"),
        ([], True, 0, "keras"),  # bfloat16 in hardware is quicker still
        ([], False, 1, "keras"),
        (["device=cpu"], False, 1, "litert"),
        (["device=gpu"], False, 1, "keras"),
        (["precision=bfloat16"], False, 0, "keras"),
        (["precision=float32"], True, 0, "litert"),
        (["engine=keras"], False, 0, "keras"),
        (["engine=litert"], True, 1, "litert"),
    ],
)
def test_auto_takes_litert_on_a_processor_in_float32(
    monkeypatch: pytest.MonkeyPatch, assignments: list[str], bfloat16: bool, gpus: int, used: str
) -> None:
    monkeypatch.setattr(module, "_cpu_has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(module, "_gpu_may_be_there", lambda: gpus > 0)
    monkeypatch.setattr(module, "_gpus", lambda: ["gpu:0"] * gpus)
    monkeypatch.setattr(module, "_backend", lambda: "tensorflow")
    config = ModelConfig()
    for assignment in assignments:
        config = apply(config, assignment)
    assert engine_of(config) == used


@pytest.mark.parametrize(
    ("variable", "file", "used"),
    [
        ("jax", None, "keras"),
        (None, '{"backend": "torch"}', "keras"),
        ("tensorflow", '{"backend": "torch"}', "litert"),
        (None, '{"floatx": "float32"}', "litert"),
        (None, "[]", "litert"),
        (None, "not JSON", "litert"),
        (None, None, "litert"),
    ],
)
def test_a_backend_that_somebody_chose_is_used(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str | None,
    file: str | None,
    used: str,
) -> None:
    monkeypatch.setattr(module, "_cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(module, "_gpu_may_be_there", lambda: False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if variable:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    if file is not None:
        (tmp_path / "keras.json").write_text(file)
    assert engine_of(ModelConfig()) == used


@pytest.mark.parametrize("assignment", ["device=gpu:0", "precision=bfloat16"])
def test_litert_where_it_cannot_be_is_told(assignment: str) -> None:
    config = apply(ModelConfig(engine="litert"), assignment)
    with pytest.raises(UsageError, match="litert computes on processors and in float32, received"):
        engine_of(config)


def test_two_threads_may_ask_one_model() -> None:
    model = Model(ModelConfig(name="rustvid-student", size=64, engine="litert"))
    pictures = [photo(seed, 64) for seed in range(4)]
    wanted = [model.look([picture]).evidence for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda picture: model.look([picture]).evidence, pictures))
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other)


def test_whether_tensorflow_loads_is_known_before(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(size=64, engine="litert")
    loaded: dict[str, None] = {}
    monkeypatch.setattr(module, "sys", SimpleNamespace(modules=loaded))
    assert not loads_tensorflow(config, "exp")  # another process compiles
    assert loads_tensorflow(replace(config, engine="keras"), "exp")
    monkeypatch.setattr(module, "can_start", lambda: False)
    assert loads_tensorflow(config, "exp")  # it must be this one
    Model(config)
    assert not loads_tensorflow(config, "exp")
    loaded["tensorflow"] = None
    assert loads_tensorflow(config, "exp")  # it is there already


def test_whether_a_network_is_to_be_compiled_is_known_before(kept: Path) -> None:
    config = ModelConfig(size=64, engine="litert")
    weights = find(config.name)
    assert compiles(config, "exp") == weights
    Model(config)
    assert compiles(config, "exp") is None
    assert compiles(config, "sigmoid") == compiles(replace(config, size=96), "exp") == weights
    assert compiles(replace(config, engine="keras"), "exp") is None


def test_an_engine_is_one_of_three() -> None:
    with pytest.raises(ConfigError, match=r"model\.engine"):
        apply(Config(), "model.engine=onnx")


# --- networks that are kept


def test_a_network_is_made_once_and_read_again(kept: Path) -> None:
    assert store.compiled("a", lambda: b"network") == b"network"
    assert store.compiled("a", lambda: b"another") == b"network"
    assert store.compiled("b", lambda: b"another") == b"another"
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_network_is_made_anew(kept: Path, damage: str) -> None:
    store.compiled("a", lambda: b"network" * 100)
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes({"cut": content[:300], "bit": bytes(content), "empty": b""}[damage])
    assert store.compiled("a", lambda: b"made anew") == b"made anew"
    assert store.compiled("a", lambda: b"not asked") == b"made anew"


def test_only_the_last_few_are_kept(kept: Path) -> None:
    for number in range(store._KEPT + 3):
        store.compiled(str(number), lambda: b"network")
        for age, file in enumerate(sorted(kept.iterdir(), key=lambda f: f.stat().st_mtime)):
            os.utime(file, (1e9 + age, 1e9 + age))  # clocks of file systems are coarse
    assert len(list(kept.iterdir())) == store._KEPT
    made: list[str] = []
    store.compiled("0", lambda: made.append("0") or b"network")
    store.compiled(str(store._KEPT + 2), lambda: made.append("last") or b"network")
    assert made == ["0"]


def test_where_nothing_can_be_kept_it_is_made_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rustvid").write_text("a file, where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.compiled("a", lambda: b"network") == b"network"
    assert store.compiled("a", lambda: b"another") == b"another"
    assert [path.name for path in tmp_path.iterdir()] == ["rustvid"]


def test_a_network_that_may_only_be_read_is_read(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    store.compiled("a", lambda: b"network")
    monkeypatch.setattr(os, "utime", forbidden)
    assert store.compiled("a", lambda: b"another") == b"network"


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert not store.is_kept("a")
    assert store.compiled("a", lambda: b"network") == b"network"
    assert store.compiled("a", lambda: b"another") == b"another"
    assert module._backend() == "tensorflow"


def test_other_libraries_make_another_network(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.compiled("a", lambda: b"network")
    monkeypatch.setattr(store, "version", lambda name: "99")
    assert store.compiled("a", lambda: b"another") == b"another"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where networks are kept, a new one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = store.folder()
    folder.mkdir()
    return folder
