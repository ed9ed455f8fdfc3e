"""KERAS_BACKEND: the same trainings and the same answers on JAX and on PyTorch as on TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from rustvid.config import ModelConfig
from rustvid.method.classify import Model
from rustvid.training import data

OTHERS = ("jax", "torch")
SCRIPT = """
import json, sys
from pathlib import Path
import keras, numpy as np
from rustvid.config import ModelConfig
from rustvid.method.classify import Model
from rustvid.training import paper, train
from rustvid.training.recipe import PaperConfig
photos, out = Path(sys.argv[1]), Path(sys.argv[2])
assert keras.backend.backend() == sys.argv[3], keras.backend.backend()
small = train.TrainConfig(
    start=None, first=2, steps=2, rounds=2, crop=64, composites=1, on_corroded=1, all_rust=1,
    clean=1, corroded=1, warmup=1, validation=0.25,
    paper=PaperConfig(filters=1, epochs=1, batch=4),
)
weights = [
    train.train(photos, out / "student", small),
    paper.train(photos, out / "paper", small, lambda step, total, loss: None),
]
images = list(np.load(out / "images.npy"))
for number, path in enumerate(weights):
    own = json.loads(sys.argv[4 + number])
    model = Model(ModelConfig(name=str(path), precision="float32", batch=2, **own))
    found = model.look([np.resize(image, (*model.size[::-1], 3)) for image in images])
    np.savez(out / f"answer{number}.npz", p=found.probability, evidence=found.evidence)
    print(path)
"""
SETTINGS = ({"size": 64}, {})  # of the student, of the paper's classifier


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photos a class: orange grain, blue grain."""
    rng = np.random.default_rng(0)
    for label, colour in ((data.CORROSION, (175, 90, 40)), (data.CLEAN, (60, 90, 160))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(8):
            grain = cv2.resize(rng.normal(1, 0.25, (12, 12)), (96, 96))
            image = np.clip(np.array(colour) * grain[..., None], 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / label / f"{index}.png"), image[..., ::-1])
    return tmp_path / "photos"


@pytest.mark.parametrize("backend", OTHERS)
def test_trained_and_asked_elsewhere_the_networks_answer_the_same_here(
    backend: str, photos: Path, tmp_path: Path
) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; pip install {backend}")
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, photos, tmp_path, backend, *map(json.dumps, SETTINGS)],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr[-4000:]
    for number, path in enumerate(told.stdout.split()):
        model = Model(ModelConfig(name=path, precision="float32", batch=2, **SETTINGS[number]))
        here = model.look([np.resize(image, (*model.size[::-1], 3)) for image in images])
        there = np.load(tmp_path / f"answer{number}.npz")
        assert np.isfinite(there["evidence"]).all()
        assert np.allclose(here.probability, there["p"], atol=1e-3)
        assert np.allclose(here.evidence, there["evidence"], atol=1e-2)
