"""A mask stays on its rust while the camera moves, and is given up at a cut."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid import tracking
from rustvid.frames import Classified, Frame, Localised, Picture, Refined
from rustvid.tracking import track

Array = NDArray[Any]
SIZE = 572


def localised(index: int, image: Array) -> Localised:
    picture = Picture((image[..., 0],), "gray", 8, 0, 0, "bt601", True)
    frame = Frame(index, Fraction(index, 25), Fraction(1, 25), picture, image)
    return Localised(Classified(frame, None), None)


def refined(index: int, image: Array, mask: Array) -> Refined:
    return Refined(localised(index, image), mask)


def wall(width: int = SIZE, seed: int = 1, light: tuple[int, int] = (40, 200)) -> Array:
    """A rough wall, (572, width, 3) uint8 RGB."""
    grain = np.random.default_rng(seed).normal(size=(SIZE, width, 3)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 4)
    low, high = grain.min(), grain.max()
    return (light[0] + (grain - low) * (light[1] - light[0]) / (high - low)).astype(np.uint8)


def patch(width: int = SIZE) -> Array:
    mask = np.zeros((SIZE, width), np.uint8)
    mask[180:360, 300:480] = 1
    return mask


def overlap(mask: Array, truth: Array) -> float:
    both, either = np.logical_and(mask, truth).sum(), np.logical_or(mask, truth).sum()
    return float(both / either)


@pytest.mark.parametrize("size", [SIZE, 286])
@pytest.mark.parametrize(("pixels", "frames"), [(8, 15), (3, 15), (1.5, 30), (0.3, 100)])
def test_a_mask_follows_a_pan_fast_or_slow(pixels: float, frames: int, size: int) -> None:
    """A slow pan moves less than a pixel a frame: what is rounded away there is lost for good."""
    room = SIZE + int(pixels * frames) + 1
    whole, mask = wall(room), patch(room)

    def view(picture: Array, index: int) -> Array:
        pan = np.float32([[1, 0, -index * pixels], [0, 1, 0]])
        return np.asarray(cv2.warpAffine(picture, pan, (SIZE, SIZE), flags=cv2.INTER_LINEAR))

    def truth(index: int) -> Array:
        exact = cv2.resize(view(255 * mask, index), (size, size))
        return (exact > 127).astype(np.uint8)

    first = refined(0, view(whole, 0), truth(0))
    rest = (localised(index, view(whole, index)) for index in range(1, frames + 1))
    *_, last = track([first, *rest])
    assert overlap(truth(0), truth(frames)) < 0.8  # it did move
    assert overlap(last.working_mask, truth(frames)) >= 0.9
    assert last.working_mask.dtype == np.uint8
    assert set(np.unique(last.working_mask)) == {0, 1}


def test_a_still_camera_keeps_the_mask_as_it_is() -> None:
    image, mask = wall(), patch()
    results = list(track([refined(0, image, mask), *(localised(i, image) for i in range(1, 6))]))
    np.testing.assert_array_equal(results[-1].working_mask, mask)


def test_a_change_of_exposure_is_no_cut() -> None:
    image, mask = wall(), patch()
    results = list(track([refined(0, image, mask), localised(1, image + np.uint8(30))]))
    assert overlap(results[1].working_mask, mask) >= 0.9


def test_a_cut_ends_the_track_until_the_next_analysed_frame() -> None:
    night, day = wall(light=(0, 60)), wall(seed=2, light=(150, 255))
    mask = patch()
    results = track(
        [
            refined(0, night, mask),
            localised(1, night),
            localised(2, day),  # the cut
            localised(3, day),
            localised(4, night),  # back again, but the track has ended
            refined(5, day, mask),
            localised(6, day),
        ]
    )
    assert [bool(r.working_mask.any()) for r in results] == [1, 1, 0, 0, 0, 1, 1]


def test_an_empty_mask_stays_empty() -> None:
    nothing = np.zeros((64, 64), np.uint8)
    results = track([refined(0, wall(), nothing), localised(1, wall(seed=2))])
    assert not any(result.working_mask.any() for result in results)


def test_analysed_frames_pass_untouched_and_the_others_say_that_they_were_tracked() -> None:
    image, mask = wall(), patch()
    given = [refined(0, image, mask), localised(1, image), refined(2, image, mask)]
    results = list(track(given))
    assert results[0] is given[0]
    assert results[2] is given[2]
    assert [r.mask_from for r in results] == ["analysed", "tracked", "analysed"]
    assert [r.frame.index for r in results] == [0, 1, 2]
    assert results[1].localised is given[1]


def test_the_masks_given_are_not_written_to() -> None:
    image, mask = wall(), patch()
    kept = mask.copy()
    list(track([refined(0, image, mask), localised(1, np.roll(image, 9, axis=1))]))
    np.testing.assert_array_equal(mask, kept)


def test_every_result_comes_before_the_next_frame_is_asked_for() -> None:
    asked = []

    def frames() -> Iterator[Refined | Localised]:
        asked.append(0)
        yield refined(0, wall(), patch())
        asked.append(1)
        yield localised(1, wall())

    results = track(frames())
    next(results)
    assert asked == [0]


def test_a_first_frame_without_analysis_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="frame 7 has no analysed frame before it"):
        next(track([localised(7, wall())]))


# --- known motion, forward and both ways


def moved(kind: str, index: int) -> Array:
    """The motion of a camera after `index` frames, 2×3, from the picture to the view."""
    if kind == "pan":
        return np.float32([[1, 0, -4.0 * index], [0, 1, 1.5 * index]])
    if kind == "zoom":
        scale = 1.012**index
        return np.float32(cv2.getRotationMatrix2D((286, 286), 0, scale))
    if kind == "rotation":
        return np.float32(cv2.getRotationMatrix2D((286, 286), 0.8 * index, 1))
    if kind == "hand shake":
        shift = np.random.default_rng(index).normal(0, 6, 2)
        return np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
    return np.float32([[1, 0, 0], [0, 1, 0]])


def shot(kind: str, count: int) -> list[tuple[Array, Array]]:
    """Views of a wall with a mask on it, and the true masks, both (572, 572, …)."""
    picture, mask = wall(seed=3), 255 * patch()
    frames = []
    for index in range(count):
        way = moved(kind, index)
        seen = cv2.warpAffine(picture, way, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)
        true = cv2.warpAffine(mask, way, (SIZE, SIZE))
        frames.append((seen, (true > 127).astype(np.uint8)))
    return frames


def tracked(frames: list[tuple[Array, Array]], every: int, ahead: bool = True) -> list[Refined]:
    given = (
        refined(index, image, mask) if index % every == 0 else localised(index, image)
        for index, (image, mask) in enumerate(frames)
    )
    results = list(track(given, ahead))
    assert [result.frame.index for result in results] == list(range(len(frames)))
    return results


@pytest.mark.parametrize(
    ("kind", "least"), [("pan", 0.9), ("zoom", 0.8), ("rotation", 0.8), ("hand shake", 0.9)]
)
@pytest.mark.parametrize("ahead", [False, True], ids=["forward", "both ways"])
def test_the_mask_is_on_its_rust_after_30_frames(kind: str, least: float, ahead: bool) -> None:
    frames = shot(kind, 31)
    results = tracked(frames, every=100, ahead=ahead)  # nothing comes after: forward, all the way
    assert overlap(frames[0][1], frames[30][1]) < 0.8 or kind == "hand shake"  # it did move
    for result, (_, truth) in zip(results, frames, strict=True):
        assert overlap(result.working_mask, truth) >= least


@pytest.mark.parametrize("kind", ["pan", "zoom", "rotation", "hand shake", "still"])
def test_both_ways_is_at_least_as_good_as_forward(kind: str) -> None:
    frames = shot(kind, 31)

    def worst(ahead: bool) -> float:
        results = tracked(frames, every=30, ahead=ahead)
        return min(overlap(r.working_mask, t) for r, (_, t) in zip(results, frames, strict=True))

    assert worst(ahead=True) >= 0.9
    assert worst(ahead=True) >= worst(ahead=False) - 0.01


def test_masks_that_disagree_are_blended_by_the_distance_in_time() -> None:
    image, empty = wall(), np.zeros((SIZE, SIZE), np.uint8)
    given = [refined(0, image, patch()), *(localised(i, image) for i in range(1, 10))]
    results = list(track([*given, refined(10, image, empty)], ahead=True))
    assert [bool(r.working_mask.any()) for r in results] == [True] * 5 + [False] * 6


def test_rust_that_comes_into_view_is_marked_before_it_is_analysed() -> None:
    """A pan onto a patch that the first analysed frame does not show."""
    picture, whole = wall(width=SIZE + 240), np.zeros((SIZE, SIZE + 240), np.uint8)
    whole[100:400, SIZE + 20 : SIZE + 220] = 1
    views = [
        (picture[:, 8 * i : 8 * i + SIZE].copy(), whole[:, 8 * i : 8 * i + SIZE].copy())
        for i in range(31)
    ]
    both, forward = tracked(views, every=30), tracked(views, every=30, ahead=False)
    assert views[0][1].sum() == 0
    assert overlap(both[20].working_mask, views[20][1]) >= 0.9
    assert forward[20].working_mask.sum() == 0
    gone = np.zeros((SIZE, SIZE), np.uint8)
    gone[:, SIZE - 160 :] = 1  # what has come into view by then
    unknown = forward[20].unknown
    assert unknown is not None
    assert overlap(cv2.resize(unknown, (SIZE, SIZE), interpolation=0), gone) >= 0.8
    assert both[20].unknown_share < 0.05


def test_no_line_is_left_where_the_edge_of_an_analysed_frame_lay() -> None:
    """All is rust: between two looks, what both, one or the other have seen join without a seam."""
    picture = wall(width=SIZE + 240)
    views = [
        (picture[:, 8 * i : 8 * i + SIZE].copy(), np.ones((SIZE, SIZE), np.uint8))
        for i in range(31)
    ]
    for result in tracked(views, every=30):
        unknown = np.zeros((1, 1), np.uint8) if result.unknown is None else result.unknown
        known = cv2.resize(unknown, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) == 0
        assert known.mean() > 0.95
        assert result.working_mask[known].mean() > 0.9995


def test_a_still_camera_knows_everything() -> None:
    image = wall()
    noisy = [
        np.clip(image + np.random.default_rng(i).normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        for i in range(12)
    ]
    results = tracked([(picture, patch()) for picture in noisy], every=5)
    assert all(result.unknown_share < 0.001 for result in results)
    assert all(overlap(result.working_mask, patch()) > 0.98 for result in results)


def test_after_a_cut_the_next_analysed_frame_is_asked_and_before_it_the_last() -> None:
    """Frames 0 and 8 are analysed, the scene changes at 4; 12 to 15 are of a third scene."""
    scenes = [wall(seed=1), wall(seed=2), wall(seed=4)]
    first, second = patch(), np.roll(patch(), -150, axis=1)
    frames = [(scenes[0], first)] * 4 + [(scenes[1], second)] * 8 + [(scenes[2], first)] * 4
    results = tracked(frames, every=8)
    for result, (_, truth) in zip(results[:12], frames[:12], strict=True):
        assert overlap(result.working_mask, truth) > 0.95
        assert result.unknown_share < 0.01
    for result in results[12:]:  # nobody has looked at it
        assert not result.working_mask.any() and result.unknown_share == 1.0


@pytest.mark.parametrize("ahead", [False, True], ids=["forward", "both ways"])
def test_cuts_every_few_frames_mark_nothing_of_another_scene(ahead: bool) -> None:
    scenes = [wall(seed=seed) for seed in range(8)]
    frames = [(scenes[index // 3], patch()) for index in range(24)]
    results = tracked(frames, every=12, ahead=ahead)
    shown = {0, 1, 2, 12, 13, 14}  # the scenes of the analysed frames
    for result in results:
        if result.frame.index in shown:
            assert overlap(result.working_mask, patch()) > 0.95
        else:
            assert not result.working_mask.any() and result.unknown_share > 0.9


@pytest.mark.parametrize("ahead", [False, True], ids=["forward", "both ways"])
def test_a_fade_is_followed_and_nothing_is_seen_in_the_black(ahead: bool) -> None:
    picture = wall()
    lights = [*np.linspace(1, 0, 13), 0, *np.linspace(0, 1, 13)]
    frames = [((picture * light).astype(np.uint8), patch()) for light in lights]
    results = tracked(frames, every=26, ahead=ahead)
    assert all(overlap(result.working_mask, patch()) > 0.9 for result in results[:10])
    assert len(results) == 27


@pytest.mark.parametrize(("count", "every"), [(1, 5), (2, 5), (4, 5), (7, 1000), (9, 1)])
def test_a_clip_shorter_than_the_interval_gets_all_its_masks(count: int, every: int) -> None:
    frames = shot("pan", count)
    for ahead in (False, True):
        results = tracked(frames, every, ahead)
        assert all(
            overlap(r.working_mask, t) > 0.9 for r, (_, t) in zip(results, frames, strict=True)
        )


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(240), Fraction(30000, 1001)])
def test_any_frame_rate(rate: Fraction) -> None:
    frames = shot("pan", 11)
    given = []
    for index, (image, mask) in enumerate(frames):
        result = refined(index, image, mask)
        frame = replace(result.frame, time=index / rate, duration=1 / rate)
        local = Localised(Classified(frame, None), None)
        given.append(Refined(local, mask) if index % 5 == 0 else local)
    for result, (_, truth) in zip(track(given, ahead=True), frames, strict=True):
        assert overlap(result.working_mask, truth) > 0.95


def test_a_failed_refinement_is_shown_as_such_and_tracked_over() -> None:
    image, mask = wall(), patch()
    failed = replace(refined(2, image, np.zeros_like(mask)), mask_from="failed")
    given = [refined(0, image, mask), localised(1, image), failed, localised(3, image)]
    results = list(track([*given, refined(4, image, mask)], ahead=True))
    kinds = ["analysed", "tracked", "failed", "tracked", "analysed"]
    assert [r.mask_from for r in results] == kinds
    assert results[2] is failed and failed.unknown_share == 1.0
    assert overlap(results[3].working_mask, mask) > 0.98


def test_behind_a_first_frame_whose_refinement_failed_nothing_is_known() -> None:
    """Its empty mask says nothing: the frames after it are unknown, not clean."""
    image, mask = wall(), patch()
    failed = replace(refined(0, image, np.zeros_like(mask)), mask_from="failed")
    given = [failed, localised(1, image), localised(2, image)]
    for ahead in (True, False):
        assert [r.unknown_share for r in track(given, ahead)] == [1.0, 1.0, 1.0]
    *_, last, _ = track([*given, refined(3, image, mask)], ahead=True)
    assert last.unknown_share < 0.01 and overlap(last.working_mask, mask) > 0.98


@pytest.mark.parametrize(("error", "marked"), [(24.0, True), (30.0, False)])
def test_what_is_counted_as_unknown_is_not_marked(error: float, marked: bool) -> None:
    """A way that is off by more than five pixels is no evidence, for the mask neither."""
    way = np.full_like(tracking._NOWHERE_ELSE, (0, 0, error))
    known = tracking.trust(way)
    votes = tracking.votes_of(np.ones((SIZE, SIZE), np.uint8))
    assert (known > 0).all() == marked
    assert tracking.blended([(votes, way, known)], SIZE).any() == marked


def test_waiting_frames_are_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand frames without an analysed one: the oldest go on their way, in order."""
    image = wall()[::4, ::4].copy()
    monkeypatch.setattr(tracking, "_WAITING_BYTES", 10 * image[..., 0].nbytes)
    asked = 0

    def frames() -> Iterator[Refined | Localised]:
        nonlocal asked
        yield refined(0, image, patch()[::4, ::4].copy())
        for index in range(1, 60):
            asked = index
            yield localised(index, image)

    for result in track(frames(), ahead=True):
        assert asked - result.frame.index <= 11 or asked == 59
        assert result.frame.index == 0 or result.mask_from == "tracked"


def test_the_bound_holds_for_all_that_waits_not_for_small_pictures_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = wall()[::4, ::4].copy()
    monkeypatch.setattr(tracking, "_WAITING_BYTES", 20_000_000)
    given = [refined(0, image, patch()[::4, ::4].copy())]
    given += [localised(index, image) for index in range(1, 60)]  # 5 MB of pictures
    given.append(refined(60, image, patch()[::4, ::4].copy()))
    tracemalloc.start()
    try:
        count = sum(1 for _ in track(given, ahead=True))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 61 and peak < 30_000_000


def test_tracking_flickers_less_than_analysing_every_frame() -> None:
    """Analysis that is wrong at the border, differently on every frame."""
    frames = shot("pan", 31)
    random = np.random.default_rng(7)
    rough = []
    for image, mask in frames:
        noise = cv2.GaussianBlur(random.normal(size=mask.shape).astype(np.float32), (0, 0), 6)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 8)
        rough.append((image, (soft + 3 * noise > 0.5).astype(np.uint8)))

    def steadiness(results: list[Refined]) -> float:
        pairs = itertools.pairwise(results)
        return float(np.mean([consistency(*pair) for pair in pairs]))

    assert steadiness(tracked(rough, every=10)) > steadiness(tracked(rough, every=1)) + 0.05


def consistency(before: Refined, after: Refined) -> float:
    """IoU of a mask, moved along the true pan, with the next one."""
    step = moved("pan", 1)
    shifted = cv2.warpAffine(255 * before.working_mask, step, (SIZE, SIZE)) > 127
    return overlap(shifted[:, :-8], after.working_mask[:, :-8])
