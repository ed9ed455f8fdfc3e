"""The synthetic footage of `rustvid demo`, and the clips of media.py that other tests rest on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from conftest import children
from numpy.typing import NDArray

from rustvid import demo
from rustvid.errors import SinkError, UsageError
from rustvid.files import masks_of

SIZE = (160, 120)
FPS = Fraction(10)
SECONDS = 4.0
Frames = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """40 frames: four scenes of ten."""
    return list(demo.scenes(SIZE, FPS, SECONDS, seed=7))


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.mp4"
    return demo.write(path, size=SIZE, seconds=SECONDS, fps=FPS, seed=7)


# --- the pictures and their masks


def test_frames_and_masks_have_the_promised_form(frames: Frames) -> None:
    assert len(frames) == 40
    for rgb, mask in frames:
        assert rgb.shape == (120, 160, 3) and rgb.dtype == np.uint8
        assert mask.shape == (120, 160) and mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}


def test_the_same_seed_gives_the_same_pixels(frames: Frames) -> None:
    again = list(demo.scenes(SIZE, FPS, SECONDS, seed=7))
    for (rgb, mask), (other_rgb, other_mask) in zip(frames, again, strict=True):
        assert np.array_equal(rgb, other_rgb)
        assert np.array_equal(mask, other_mask)


def test_another_seed_gives_another_surface(frames: Frames) -> None:
    other_rgb, other_mask = next(demo.scenes(SIZE, FPS, SECONDS, seed=8))
    assert not np.array_equal(frames[0][0], other_rgb)
    assert not np.array_equal(frames[0][1], other_mask)


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_the_mask_covers_what_is_rust_coloured(frames: Frames, scene: int) -> None:
    rgb, mask = frames[scene * 10 + 9]
    redness = rgb[..., 0].astype(int) - rgb[..., 2]
    steel = slice(0, 70)  # the brick wall is below
    inside, outside = redness[steel][mask[steel] == 1], redness[steel][mask[steel] == 0]
    assert np.median(inside) > np.median(outside) + 25


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_rust_grows_while_a_scene_lasts(frames: Frames, scene: int) -> None:
    shares = [mask.mean() for _, mask in frames[scene * 10 : scene * 10 + 10]]
    assert np.mean(shares[:3]) < np.mean(shares[3:6]) < np.mean(shares[6:])
    assert 0.01 < shares[-1] < 0.6


def test_the_last_scene_has_no_rust(frames: Frames) -> None:
    assert not any(mask.any() for _, mask in frames[30:])


# --- the files


def test_film_and_masks_have_the_same_frames_and_times(footage: Path, frames: Frames) -> None:
    times = media.frame_times(footage)
    mask_times = media.frame_times(masks_of(footage))
    assert times == [Fraction(i, 10) for i in range(40)]
    assert mask_times == times
    with av.open(str(masks_of(footage))) as truth:
        stored = [frame.to_ndarray(format="gray") for frame in truth.decode(video=0)]
    assert all(np.array_equal(a, m * 255) for a, (_, m) in zip(stored, frames, strict=True))


def test_the_film_shows_the_painted_colours(footage: Path, frames: Frames) -> None:
    for seen, (rgb, _) in zip(media.decode_rgb(footage), frames, strict=True):
        difference = seen.astype(int) - rgb
        assert np.abs(difference).mean() < 6
        assert np.abs(difference.mean(axis=(0, 1))).max() < 3  # the right matrix and range


def test_the_film_has_a_sound_as_long_as_the_picture(footage: Path) -> None:
    with av.open(str(footage)) as film:
        sound = film.streams.audio[0]
        assert sound.codec_context.name == "aac"
        assert abs(float((sound.duration or 0) * (sound.time_base or 0)) - SECONDS) < 0.05
        samples = np.concatenate([f.to_ndarray()[0] for f in film.decode(sound)])
    assert samples.std() > 0.01


@pytest.mark.parametrize("which", [lambda p: p, masks_of])
def test_an_existing_file_is_kept(tmp_path: Path, which: Any) -> None:
    path = tmp_path / "demo.mp4"
    which(path).write_text("precious")
    with pytest.raises(SinkError, match=r"exists already.*--overwrite"):
        demo.write(path, size=SIZE, seconds=0.5, fps=FPS)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["precious"]


def test_overwrite_replaces_both_files(tmp_path: Path) -> None:
    path = tmp_path / "demo.mp4"
    path.write_text("old")
    masks_of(path).write_text("old")
    assert demo.write(path, size=SIZE, seconds=0.5, fps=FPS, overwrite=True) == path
    assert len(media.frame_times(path)) == len(media.frame_times(masks_of(path))) == 5
    assert len(list(tmp_path.iterdir())) == 2


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"nowhere/demo\.mp4: cannot be written: No such file"):
        demo.write(tmp_path / "nowhere" / "demo.mp4", size=SIZE, seconds=0.5, fps=FPS)


def test_a_failure_on_the_way_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demo.mp4"
    path.write_text("old")

    def breaking(*args: Any) -> Iterator[Any]:
        yield from demo_scenes(*args)
        raise KeyboardInterrupt

    demo_scenes = demo.scenes
    monkeypatch.setattr(demo, "scenes", breaking)
    with pytest.raises(KeyboardInterrupt):
        demo.write(path, size=SIZE, seconds=0.5, fps=FPS, overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("demo.mp4", "old")]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("demo.mp4", {"size": (161, 120)}),
        ("demo.mp4", {"size": (0, 0)}),
        ("demo.mp4", {"seconds": 0}),
        ("demo.txt", {}),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"demo"):
        demo.write(tmp_path / name, **wrong)
    assert not list(tmp_path.iterdir())


# --- the test clips themselves

FULL_601 = {"pix_fmt": "yuvj420p", "matrix": "bt601", "full_range": True}


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("h264.mp4", {}),
        ("h264.avi", {}),
        ("hevc.mp4", {"codec": "libx265"}),
        ("hevc10.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "size": (161, 121)}),
        ("av1.mkv", {"codec": "libsvtav1"}),
        ("mjpeg.avi", {"codec": "mjpeg", **FULL_601}),
        ("mpeg4.mov", {"codec": "mpeg4"}),
        ("mpeg4.ts", {"codec": "mpeg4", "matrix": "bt601"}),
        ("ffv1.mkv", {"codec": "ffv1", "size": (161, 121), "matrix": "bt2020"}),
    ],
)
def test_every_frame_tells_its_number_and_colours(
    tmp_path: Path, name: str, look: dict[str, Any]
) -> None:
    look = {"frames": 8, **look}
    seen = media.decode_rgb(media.clip(tmp_path / name, **look))
    assert [media.frame_number(rgb) for rgb in seen] == list(range(8))
    size = look.get("size", SIZE)
    error = np.abs(seen[5].astype(int) - media.picture(5, size))
    assert error.mean() < 4
    assert error[media.patch_mask(size) == 1].mean() < 12


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_clip_is_seen_upright(tmp_path: Path, rotation: int) -> None:
    path = media.clip(tmp_path / "turned.mp4", frames=3, rotation=rotation)
    assert [media.frame_number(rgb) for rgb in media.decode_rgb(path)] == [0, 1, 2]
    with av.open(str(path)) as source:
        stored = next(source.decode(video=0))
    assert (stored.rotation - rotation) % 360 == 0
    assert (stored.width > stored.height) == (rotation == 180)


def test_uneven_times_are_kept(uneven_clip: Path) -> None:
    times = media.frame_times(uneven_clip)
    assert times == [Fraction(t, 120) for t in media.Clip(vfr=True).ticks]
    assert len({b - a for a, b in pairwise(times)}) == 5


def test_all_tracks_are_there(many_tracks: Path) -> None:
    with av.open(str(many_tracks)) as source:
        assert [s.type for s in source.streams] == ["video", "audio", "audio", "subtitle"]
        assert [c["metadata"]["title"] for c in source.chapters()] == ["first half", "second half"]
        assert source.metadata["title"] == "a bridge"
    assert len(media.packets(many_tracks, "subtitle")) == 2


def test_faulty_files_are_faulty(tmp_path: Path) -> None:
    path = media.clip(tmp_path / "long.mkv", frames=100)
    assert 20 < len(media.frame_times(media.truncated(path, 0.6))) < 90
    sizes = [p[2] for p in media.packets(path, "video")]
    spoilt = media.noisy(path)
    assert [p[2] for p in media.packets(spoilt, "video")] == sizes
    assert media.packets(spoilt, "video") != media.packets(path, "video")
    assert media.packets(spoilt, "audio") == media.packets(path, "audio")


def test_children_are_seen_and_seen_to_go() -> None:
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        assert child.pid in children()
    assert child.pid not in children()
