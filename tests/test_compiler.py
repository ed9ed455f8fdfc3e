"""A network is compiled by another process, which takes TensorFlow with it when it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rustvid.config import ModelConfig
from rustvid.errors import Interrupted, ModelError, RustVidError
from rustvid.method import compiler, conversion
from rustvid.method import model as module
from rustvid.method.compiler import compiled_apart
from rustvid.method.model import Model
from rustvid.method.models import find

pytestmark = pytest.mark.usefixtures("no_leftovers")

WEIGHTS = find("rustvid-student")
SIZE = (64, 64)
# A script as people write them: without a guard, and with a module beside it that is not meant.
LOOK = """
import sys
from pathlib import Path
from rustvid.chatter import ask_for_quiet
ask_for_quiet()
import numpy as np
import rustvid.pipeline
from rustvid.config import ModelConfig
from rustvid.method.model import Model
picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
answer = Model(ModelConfig(engine="litert", size=64)).look([picture])
answer.evidence.tofile(sys.argv[1])
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rustvid"


def test_neither_the_first_run_nor_a_later_one_holds_tensorflow(
    cache: Path, tmp_path: Path
) -> None:
    """Its seconds of loading and its memory are what is saved; the answer is the same."""
    script = tmp_path / "script.py"
    script.write_text(LOOK)
    answers = []
    for run in ("first", "later"):
        told = subprocess.run(
            [sys.executable, str(script), str(tmp_path / run)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (told.stdout, told.stderr) == ("[]\n", "")
        answers.append(np.fromfile(tmp_path / run, np.float32))
    (file,) = cache.iterdir()
    file.unlink()
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    here = Model(ModelConfig(engine="litert", size=64)).look([picture])  # pytest has TensorFlow
    for answer in answers:
        np.testing.assert_array_equal(answer, here.evidence.ravel())


def test_an_error_of_the_child_is_the_error_that_it_is_here(tmp_path: Path) -> None:
    """Weights that are a student's by their names, and of nothing by their shapes."""
    with np.load(WEIGHTS) as arrays:
        wrong = {name: array[..., :1] for name, array in arrays.items()}
    weights = tmp_path / "wrong weights.npz"
    np.savez(weights, **wrong)
    with pytest.raises(ModelError, match="wrong weights") as here:
        conversion.converted(weights, "exp", SIZE)
    with pytest.raises(ModelError) as there:
        compiled_apart(weights, "exp", SIZE)
    assert str(there.value) == str(here.value) and type(there.value) is type(here.value)


def test_modules_are_found_where_they_are_found_here_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the folder in which somebody works must not be taken for a library."""
    (tmp_path / "keras.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert compiled_apart(WEIGHTS, "exp", SIZE)


# --- children that do not do their work


def played_by(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell script is what is started in the place of Python."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(compiler.sys, "executable", str(program))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_child_that_was_asked_to_stop_ends_the_run(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Ctrl-C or `timeout`, which reach all processes."""
    played_by(f"kill -{int(number)} $$", tmp_path, monkeypatch)
    with pytest.raises(Interrupted) as told:
        compiled_apart(WEIGHTS, "exp", SIZE)
    assert told.value.exit_code == 128 + number


def test_a_child_that_was_killed_is_told_with_the_signal_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process the same would kill the run."""
    played_by("kill -9 $$", tmp_path, monkeypatch)
    with pytest.raises(RustVidError, match=r"rustvid-student.*signal 9 \(Killed\).*free some"):
        compiled_apart(WEIGHTS, "exp", SIZE)


def test_a_child_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    played_by(f'echo "$CUDA_VISIBLE_DEVICES" > {tmp_path}/seen; exit 1', tmp_path, monkeypatch)
    assert compiled_apart(WEIGHTS, "exp", SIZE) is None
    assert (tmp_path / "seen").read_text() == "-1\n"


@pytest.mark.parametrize("way", ["no word", "no file", "no name", "frozen"])
def test_where_no_child_can_do_it_this_process_does(
    way: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    played_by("exit 3", tmp_path, monkeypatch)
    if way == "frozen":
        monkeypatch.setattr(compiler.sys, "frozen", True, raising=False)
    elif way != "no word":
        name = "" if way == "no name" else str(tmp_path / "missing")
        monkeypatch.setattr(compiler.sys, "executable", name)
    monkeypatch.setattr(module, "sys", SimpleNamespace(modules={}))  # not loaded yet, it is told
    config = ModelConfig(engine="litert", size=64)
    answer = Model(config).look([np.zeros((64, 64, 3), np.uint8)])
    assert answer.evidence.shape == (1, 32, 32)
    assert "TensorFlow stays in its memory" in caplog.text and str(WEIGHTS) in caplog.text
    assert len(list(cache.iterdir())) == 1
