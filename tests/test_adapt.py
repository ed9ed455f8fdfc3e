"""Adapt: who is taught, who judges, what comes out, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rustvid.cli import main
from rustvid.config import Config, load
from rustvid.errors import SinkError, UsageError
from rustvid.method import models
from rustvid.training import adapt as adapting
from rustvid.training import shapes
from rustvid.training.adapt import adapt
from rustvid.training.examples import Example, ExampleSet


def example(name: str, seed: int, rusty: bool = True, group: str = "") -> Example:
    """A picture of grain that is like no other; the mask is its left half, or empty."""
    field = shapes.noise(np.random.default_rng(seed), 64, 5)
    image = np.clip(120 + 60 * field[..., None] + np.zeros(3), 0, 255).astype(np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = rusty
    return Example(name, image, mask, group or name)


def write(folder: Path, count: int, size: int = 128) -> None:
    """Grey grain with a blue patch; the masks say that at this plant the patch is corrosion."""
    folder.mkdir()
    for index in range(count):
        rng = np.random.default_rng(index)
        field = shapes.noise(rng, size, 6)[..., None]
        image = np.clip(128 * (1 + 0.25 * field) + np.zeros(3), 0, 255)
        patch = shapes.blob(rng, size) > 0.5
        image = np.where(patch[..., None], image * np.array([0.3, 0.5, 1.6]), image)
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.jpg"), pixels[:, :, ::-1])
        cv2.imwrite(str(folder / f"{index}.png"), patch.astype(np.uint8))


def names(examples: list[Example]) -> set[str]:
    return {one.name for one in examples}


def test_a_quarter_of_either_kind_judges_and_the_rest_teaches() -> None:
    pictures = [example(f"rust{n}", n) for n in range(16)]
    pictures += [example(f"clean{n}", 50 + n, rusty=False) for n in range(8)]
    taught, held_out = adapting._split(pictures)
    assert names(taught) | names(held_out) == names(pictures)
    assert not names(taught) & names(held_out)
    assert len(held_out) == 6 and sum(bool(e.mask.any()) for e in held_out) == 4


def test_what_is_nearly_the_same_or_of_one_second_stays_on_one_side() -> None:
    pictures = [example(f"film/{n}", n, group=f"film/{n // 5} s") for n in range(40)]
    twin = replace(pictures[7], name="twin", group="twin")
    taught, held_out = adapting._split([*pictures, twin])
    assert held_out and taught
    assert not {e.group for e in taught} & {e.group for e in held_out}
    assert ("twin" in names(taught)) == ("film/7" in names(taught))


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        ([example(str(n), n) for n in range(11)], "12 pictures with masks or more.*found 11"),
        ([example(str(n), n, rusty=False) for n in range(20)], "found 20, 0 with rust"),
        ([example(str(n), 1) for n in range(20)], "nearly the same"),
    ],
)
def test_too_few_pictures_are_refused(pictures: list[Example], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        adapting._split(pictures)


def test_a_student_learns_what_corrosion_is_at_this_plant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "plant", 16)
    out = tmp_path / "out"
    words = ["adapt", str(tmp_path / "plant"), "--out", str(out), "--steps", "60"]
    size = ["--set", "model.size=128", "--set", "model.threshold=0.0"]
    assert main([*words, *size]) == 0
    told = capsys.readouterr().out
    assert "taught by 12 pictures in 60 steps; on 4 others pooled IoU" in told
    before, after = map(float, re.findall(r"(?:IoU|\)) (?:→ )?(0\.\d+) \(", told)[:2])
    assert after > before + 0.1 and "no gain" not in told and str(out / "adapted.npz") in told
    used = load(out / "adapted.yaml", Config())
    assert used.model.name == str((out / "adapted.npz").resolve()) and used.model.size == 128
    assert (used.model.redness, used.refine.level) == (0, 0.5)
    shipped, adapted = (
        models.read_weights(path)
        for path in (models.find("rustvid-student"), Path(used.model.name))
    )
    assert shipped.keys() == adapted.keys()
    kept = [name for name in shipped if not name.startswith(("up", "evidence_head"))]
    assert all(np.array_equal(shipped[name], adapted[name]) for name in kept)
    assert "IoU" in (out / "adapted.md").read_text(encoding="utf-8")


def test_what_an_earlier_one_wrote_stays_unless_it_may_go(tmp_path: Path) -> None:
    """And never the very model that it begins with, of which "stay with it" may be the result."""
    sets, out = [ExampleSet(tmp_path)], tmp_path / "out"
    out.mkdir()
    (out / "adapted.npz").write_bytes(models.find("rustvid-student").read_bytes())
    with pytest.raises(UsageError, match=r"adapted\.npz: exists; .* add --overwrite"):
        adapt(sets, out, Config())
    own = replace(Config(), model=replace(Config().model, name=str(out / "adapted.npz")))
    with pytest.raises(UsageError, match=r"adapted\.npz: exists; choose another --out$"):
        adapt(sets, out, own, overwrite=True)


def test_weights_are_found_beside_their_settings_when_both_have_moved(tmp_path: Path) -> None:
    (tmp_path / "adapted.npz").touch()
    (tmp_path / "adapted.yaml").write_text("model: {name: /gone/adapted.npz}", encoding="utf-8")
    used = load(tmp_path / "adapted.yaml", Config())
    assert used.model.name == str(tmp_path / "adapted.npz")


def test_what_cannot_be_adapted_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    sets = [ExampleSet(tmp_path)]
    config = Config()
    lite = replace(config, model=replace(config.model, name="rustseg-lite"))
    with pytest.raises(UsageError, match="rustseg-lite: is no student"):
        adapt(sets, tmp_path / "out", lite)
    with pytest.raises(UsageError, match="steps must be at least 1, received 0"):
        adapt(sets, tmp_path / "out", config, 0)
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be used"):
        adapt(sets, tmp_path / "file", config)
