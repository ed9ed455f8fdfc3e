"""Tiles: overlapping parts of a frame, and one map from theirs without a seam."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from rustvid.config import ModelConfig
from rustvid.errors import UsageError
from rustvid.method import model as module
from rustvid.method import tiles
from rustvid.method.classify import Answer
from rustvid.method.model import Model

SHAPES = [(1, 1), (2, 1), (1, 2), (3, 2), (5, 4)]


def picture(size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8: smooth, and nowhere the same twice."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_what_is_cut_is_stitched_without_a_seam(columns: int, rows: int) -> None:
    grid = tiles.Grid(columns, rows, 64, 96)
    image = picture(grid.size)
    maps = [tile[::2, ::2, 0].astype(np.float32) for tile in grid.cut(image)]
    assert len(maps) == columns * rows and {found.shape for found in maps} == {(48, 32)}
    assert np.allclose(grid.stitch(maps), image[::2, ::2, 0], atol=1e-4)


def test_where_neighbours_disagree_one_fades_into_the_other() -> None:
    grid = tiles.Grid(2, 1, 64, 64)
    row = grid.stitch([np.zeros((32, 32), np.float32), np.ones((32, 32), np.float32)])[16]
    assert row[0] == 0 and row[-1] == 1
    steps = np.diff(row)
    assert (steps >= 0).all() and steps.max() < 0.25  # four positions overlap: no step is a seam


@pytest.mark.parametrize("side", [8, 32, 36, 448, 572])
def test_every_position_of_the_whole_is_seen(side: int) -> None:
    seen = np.zeros(tiles.extent(3, side))
    for start in tiles.starts(3, side):
        seen[start : start + side] += tiles.ramp(side)
    assert (seen > 0).all()


@pytest.mark.parametrize("asked", ["2", "0x1", "1x0", "axb", "9x9", "-1x2", "2x1x1", "100x1", ""])
def test_what_is_no_grid_is_refused_by_name(asked: str) -> None:
    with pytest.raises(UsageError, match=r"model\.tiles must be columns x rows"):
        tiles.grid(asked, (64, 64))


def test_a_model_sees_each_tile_as_it_would_alone() -> None:
    """Its answer for the whole: the evidence of the parts, and the highest of their p."""
    config = ModelConfig(size=64, batch=2, precision="float32", redness=0.0)
    alone, tiled = Model(config), Model(replace(config, tiles="2x1"))
    assert tiled.size == (120, 64) and alone.size == (64, 64)
    frames = [picture(tiled.size), picture(tiled.size)[::-1].copy()]
    answer = tiled.look(frames)
    assert answer.evidence.shape == (2, 32, 60)
    for number, frame in enumerate(frames):
        parts = alone.look([frame[:, :64], frame[:, 56:]])
        assert answer.probability[number] == pytest.approx(parts.probability.max(), abs=1e-5)
        left, right = parts.evidence
        assert np.allclose(answer.evidence[number][:, :28], left[:, :28], atol=1e-5)
        assert np.allclose(answer.evidence[number][:, 32:], right[:, 4:], atol=1e-5)


def brightness(views: np.ndarray) -> Answer:
    """p is how bright a view is; every map reaches 1, as Grad-CAM++'s do, whatever p is."""
    shape = (len(views), 28, 28)
    return Answer((views.mean(axis=(1, 2, 3)) / 255).astype(np.float32), np.ones(shape, np.float32))


@pytest.fixture
def of_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of which no network is loaded."""
    monkeypatch.setattr(module, "_litert", lambda *_: brightness)


def halves(size: tuple[int, int], left: int, right: int) -> np.ndarray:
    """(h, w, 3) uint8: two shades, whose border is in the middle."""
    picture = np.full((size[1], size[0], 3), left, np.uint8)
    picture[:, size[0] // 2 :] = right
    return picture


@pytest.mark.usefixtures("of_brightness")
def test_of_a_classifier_only_tiles_that_are_called_corroded_have_evidence() -> None:
    """The map of a clean tile is scaled to 1, too: it says where, not whether."""
    config = ModelConfig(name="rustseg-lite", engine="litert", tiles="2x1", threshold=0.4)
    model = Model(config)
    answer = model.look([halves(model.size, 250, 20), halves(model.size, 20, 250)])
    for evidence in (answer.evidence[0], answer.evidence[1][:, ::-1]):
        width = evidence.shape[1]
        assert (evidence[:, : width * 3 // 8] == 1).all()
        assert (evidence[:, width * 5 // 8 :] == 0).all()
    assert (answer.probability > 0.8).all()


@pytest.mark.usefixtures("of_brightness")
@pytest.mark.parametrize(("name", "grid"), [("rustseg-lite", "1x1"), ("rustvid-student", "2x1")])
def test_a_frame_in_one_part_and_a_students_tiles_keep_their_evidence(name: str, grid: str) -> None:
    """A frame's own p is for the pipeline to weigh, and a student's evidence is sure of itself."""
    model = Model(ModelConfig(name=name, engine="litert", tiles=grid, redness=0.0))
    assert (model.look([halves(model.size, 20, 20)]).evidence == 1).all()
