"""A mask stays on its rust while the camera moves, and is given up at a cut."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

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
