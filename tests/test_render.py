"""The overlay changes what it must, nothing else, and looks the same on a turned picture."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import rustvid.render
from rustvid.config import RenderConfig
from rustvid.frames import Picture
from rustvid.render import outline_width, render

TEXT = "00:01:23.456  p 0.97  rust 12.3 %  analysed"
SUBSAMPLINGS = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0)}
VIEWS: Any = ("overlay", "heatmap", "mask", "side-by-side")
OVERLAY = RenderConfig()
PLAIN = RenderConfig(text=False)


def a_picture(
    height: int,
    width: int,
    *,
    bits: int = 8,
    chroma: str = "420",
    seed: int = 0,
    level: float | None = None,
    **more: Any,
) -> Picture:
    """Noise over all codes, or an even gray of this level, 0 to 1; read-only."""
    shift_x, shift_y = SUBSAMPLINGS[chroma]
    coarse = (-(-height >> shift_y), -(-width >> shift_x))
    dtype = np.uint8 if bits == 8 else np.uint16
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, 2**bits, shape, dtype) for shape in ((height, width), coarse, coarse)]
    if level is not None:
        planes[0][:] = round((16 + 219 * level) * 2 ** (bits - 8))
        planes[1][:] = planes[2][:] = 128 * 2 ** (bits - 8)
    for plane in planes:
        plane.flags.writeable = False
    y, u, v = planes
    layout: dict[str, Any] = {"matrix": "bt709", "full_range": False} | more
    return Picture((y, u, v), f"yuv{chroma}p", bits, shift_x, shift_y, **layout)


def blobs(height: int, width: int, seed: int = 0, share: float = 0.3) -> Any:
    noise = np.random.default_rng(seed).random((height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), max(1.0, min(height, width) / 20))
    mask = (smooth > np.quantile(smooth, 1 - share)).astype(np.uint8)
    mask.flags.writeable = False
    return mask


def large_blobs(height: int, width: int) -> Any:
    return cv2.resize(blobs(height // 10, width // 10), (width, height), interpolation=0)


def a_box(height: int, width: int, top: int, left: int, bottom: int, right: int) -> Any:
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def changed(before: Picture, after: Picture, plane: int = 0) -> Any:
    return before.planes[plane] != after.planes[plane]


def covering(luma: NDArray[np.bool_], picture: Picture) -> Any:
    """The chroma samples that cover at least one of these luma pixels."""
    rows, columns = np.nonzero(luma)
    touched = np.zeros(picture.planes[1].shape, bool)
    touched[rows >> picture.shift_y, columns >> picture.shift_x] = True
    return touched


def text_box(picture: Picture) -> Any:
    """The rectangle of what the text alone changes on an even picture of the same layout."""
    height, width = picture.shape
    blank = replace(picture, planes=a_picture(height, width, bits=picture.bits, level=1).planes)
    blank = replace(blank, shift_x=1, shift_y=1)
    touched = changed(blank, render(blank, a_box(height, width, 0, 0, 0, 0), None, TEXT, OVERLAY))
    rows, columns = np.nonzero(touched)
    box = np.zeros_like(touched)
    if not len(rows):  # the picture is smaller than the margin of the text
        return box
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return box


def rgb_of(picture: Picture, row: int, column: int) -> NDArray[np.float64]:
    """8-bit RGB of one pixel, by the inverse of the standards' own matrices."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[
        picture.matrix
    ]
    codes = [
        float(picture.planes[0][row, column]),
        *(float(p[row >> picture.shift_y, column >> picture.shift_x]) for p in picture.planes[1:]),
    ]
    unit = 2 ** (picture.bits - 8)
    if picture.full_range:
        top = 2**picture.bits - 1
        y, u, v = codes[0] / top, (codes[1] - 128 * unit) / top, (codes[2] - 128 * unit) / top
    else:
        y = (codes[0] / unit - 16) / 219
        u, v = ((code / unit - 128) / 224 for code in codes[1:])
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.array([r, g, b]) * 255


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    bits=st.sampled_from([8, 9, 10, 12, 16]),
    chroma=st.sampled_from(sorted(SUBSAMPLINGS)),
    rotation=st.integers(0, 3),
    text=st.booleans(),
    contour=st.booleans(),
    opacity=st.floats(0, 1),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_outside_the_mask_and_the_text_every_sample_is_the_decoded_one(
    size: tuple[int, int],
    bits: int,
    chroma: str,
    rotation: int,
    text: bool,
    contour: bool,
    opacity: float,
    share: float,
    seed: int,
) -> None:
    picture = a_picture(*size, bits=bits, chroma=chroma, seed=seed, rotation=rotation)
    mask = blobs(*size, seed=seed, share=share)
    config = RenderConfig(text=text, contour=contour, opacity=opacity)
    allowed = mask > 0  # at this size the outline lies inside the mask
    if text:
        allowed = allowed | text_box(picture)
    drawn = render(picture, mask, None, TEXT, config)
    assert not changed(picture, drawn)[~allowed].any()
    assert not changed(picture, drawn, 1)[~covering(allowed, picture)].any()
    assert not changed(picture, drawn, 2)[~covering(allowed, picture)].any()
    assert [p.dtype for p in drawn.planes] == [p.dtype for p in picture.planes]
    assert max(int(p.max()) for p in drawn.planes) < 2**bits


def test_a_broad_outline_stays_within_its_width_of_the_mask() -> None:
    picture, mask = a_picture(2160, 2400), large_blobs(2160, 2400)
    assert outline_width(picture.shape) == 4
    near = cv2.dilate(mask, np.ones((7, 7), np.uint8)) > 0  # two pixels and one of soft edge
    drawn = render(picture, mask, None, "", PLAIN)
    assert not changed(picture, drawn)[~near].any()
    assert not changed(picture, drawn, 1)[~covering(near, picture)].any()


@pytest.mark.parametrize("size, width", [(480, 1), (720, 1), (1080, 2), (1440, 3), (2160, 4)])
def test_the_outline_grows_with_the_picture(size: int, width: int) -> None:
    picture = a_picture(size, size, level=0.0)
    mask = a_box(size, size, size // 4, size // 4, size // 2, size // 2)
    drawn = render(picture, mask, None, "", replace(PLAIN, opacity=0, color="#ffffff"))
    profile = drawn.planes[0][size // 3, : size * 3 // 8].astype(float) - 16
    assert profile.sum() / 219 == pytest.approx(width, abs=0.05)


@pytest.mark.parametrize("chroma", ["444", "422", "420"])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("color", ["#ff33e0", "#00e5ff", "#123456", "#ffffff", "#000000"])
def test_an_opaque_tint_has_the_asked_colour(
    color: str, matrix: str, full_range: bool, bits: int, chroma: str
) -> None:
    picture = a_picture(33, 35, bits=bits, chroma=chroma, matrix=matrix, full_range=full_range)
    mask = a_box(33, 35, 9, 10, 33, 35)  # to the very edge of an odd picture
    drawn = render(picture, mask, None, "", replace(PLAIN, opacity=1, color=color))
    asked = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    tolerance = 2.2 if bits == 8 else 0.6  # what the rounding of Y, U and V amounts to in RGB
    for row, column in ((20, 20), (32, 34), (15, 34), (32, 12)):
        np.testing.assert_allclose(rgb_of(drawn, row, column), asked, atol=tolerance)


def test_a_tint_keeps_the_texture_under_it() -> None:
    picture = a_picture(64, 64)
    mask = np.ones((64, 64), np.uint8)
    drawn = render(picture, mask, None, "", replace(PLAIN, opacity=0.25, contour=False))
    before, after = (p.planes[0].astype(float).ravel() for p in (picture, drawn))
    assert np.corrcoef(before, after)[0, 1] > 0.999
    assert after.std() / before.std() == pytest.approx(0.75, abs=0.01)


def test_a_chroma_sample_is_tinted_by_the_share_of_its_pixels_in_the_mask() -> None:
    picture = a_picture(16, 16, level=0.5)
    mask = np.zeros((16, 16), np.uint8)
    mask[4, 4] = 1  # one of four
    mask[8:10, 4] = 1  # two of four
    mask[12:14, 4:6] = 1  # all
    drawn = render(picture, mask, None, "", replace(PLAIN, opacity=1, contour=False))
    change = drawn.planes[2].astype(int) - 128
    assert change[6, 2] > 50
    assert change[4, 2] == pytest.approx(change[6, 2] / 2, abs=1)
    assert change[2, 2] == pytest.approx(change[6, 2] / 4, abs=1)
    assert np.count_nonzero(change) == 3


@pytest.mark.parametrize("rotation", [1, 2, 3])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("chroma, size", [("444", (333, 470)), ("420", (320, 480))])
def test_a_picture_stored_on_its_side_is_seen_the_same(
    chroma: str, size: tuple[int, int], view: Any, rotation: int
) -> None:
    upright, mask = a_picture(*size, chroma=chroma), blobs(*size)
    evidence: Any = cv2.resize(mask.astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA)
    config = RenderConfig(view=view)
    expected = render(upright, mask, evidence, TEXT, config)
    turned = tuple(np.rot90(plane, -rotation) for plane in upright.planes)
    stored = replace(upright, planes=turned, rotation=rotation)
    drawn = render(stored, np.rot90(mask, -rotation), evidence, TEXT, config)
    assert drawn.rotation == rotation
    for seen, plane in zip(expected.planes, drawn.planes, strict=True):
        np.testing.assert_array_equal(np.rot90(plane, rotation), seen)


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_writes_into_its_input(view: Any) -> None:
    picture, mask = a_picture(121, 163), blobs(121, 163)  # both read-only
    evidence = np.random.default_rng(0).random((28, 28), np.float32)
    evidence.flags.writeable = False
    before = [plane.copy() for plane in picture.planes]
    render(picture, mask, evidence, TEXT, RenderConfig(view=view))
    for was, plane in zip(before, picture.planes, strict=True):
        np.testing.assert_array_equal(was, plane)


@pytest.mark.parametrize("view", ["overlay", "heatmap"])
def test_an_empty_mask_without_text_leaves_the_picture_alone(view: Any) -> None:
    picture = a_picture(77, 131, bits=10)
    drawn = render(picture, np.zeros((77, 131), np.uint8), None, TEXT, replace(PLAIN, view=view))
    for before, after in zip(picture.planes, drawn.planes, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("size", [300, 1200])
def test_the_outline_is_closed(size: int) -> None:
    picture = a_picture(size, size, level=0.0)
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (size // 2, size // 2), (size // 3, size // 5), 33, 0, 360, 1, cv2.FILLED)
    config = replace(PLAIN, opacity=0, color="#ffffff")
    line = (render(picture, mask, None, "", config).planes[0] > 120).astype(np.uint8)
    parts, labels = cv2.connectedComponents(1 - line, connectivity=4)
    assert parts == 3  # the line itself, outside, inside
    assert labels[0, 0] != labels[size // 2, size // 2]


def test_without_opacity_only_the_outline_is_drawn() -> None:
    picture, mask = a_picture(100, 100), a_box(100, 100, 20, 30, 80, 90)
    touched = changed(picture, render(picture, mask, None, "", replace(PLAIN, opacity=0)))
    assert not touched[21:79, 31:89].any()
    assert touched[20:80, 30].mean() > 0.9


def test_without_opacity_and_outline_nothing_is_drawn() -> None:
    picture, mask = a_picture(99, 99), blobs(99, 99)
    drawn = render(picture, mask, None, "", replace(PLAIN, opacity=0, contour=False))
    assert not any(changed(picture, drawn, plane).any() for plane in range(3))


def test_a_single_pixel_of_rust_is_seen() -> None:
    for size in (200, 1200):
        picture, mask = a_picture(size, size, level=0.5), a_box(size, size, 99, 99, 100, 100)
        drawn = render(picture, mask, None, "", replace(PLAIN, color="#ffffff"))
        assert drawn.planes[0][99, 99] > 200


def test_where_the_work_is_cut_into_strips_cannot_be_seen(monkeypatch: Any) -> None:
    picture, mask = a_picture(1201, 1111), large_blobs(1201, 1111)
    evidence = np.random.default_rng(0).random((28, 28), np.float32)
    for view in VIEWS:
        config = RenderConfig(view=view)
        cut = render(picture, mask, evidence, TEXT, config)
        with monkeypatch.context() as patch:
            patch.setattr(rustvid.render, "_STRIP", 4000)
            whole = render(picture, mask, evidence, TEXT, config)
        for one, other in zip(cut.planes, whole.planes, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_mask_view_is_black_and_white() -> None:
    picture, mask = a_picture(65, 67, bits=10), blobs(65, 67)
    drawn = render(picture, mask, None, "", replace(PLAIN, view="mask"))
    np.testing.assert_array_equal(drawn.planes[0], np.where(mask, 940, 64))
    assert all((plane == 512).all() for plane in drawn.planes[1:])


def test_a_heat_map_is_strong_where_the_evidence_is_and_absent_where_there_is_none() -> None:
    picture = a_picture(280, 280, level=0.5)
    evidence = np.zeros((28, 28), np.float32)
    evidence[4:8, 20:24] = 1
    empty = np.zeros((280, 280), np.uint8)
    drawn = render(picture, empty, evidence, "", replace(PLAIN, view="heatmap"))
    red, green, blue = rgb_of(drawn, 60, 220)
    assert red > 1.5 * max(green, blue)
    touched = changed(picture, drawn)
    assert touched[40:80, 200:240].all()
    assert not touched[100:].any() and not touched[:, :180].any()


def test_a_heat_map_shows_the_outline_of_the_mask() -> None:
    picture, mask = a_picture(100, 100), a_box(100, 100, 20, 30, 80, 90)
    touched = changed(picture, render(picture, mask, None, "", replace(PLAIN, view="heatmap")))
    assert touched[20:80, 30].mean() > 0.9
    assert not touched[21:79, 31:89].any()


@pytest.mark.parametrize("rotation", range(4))
@pytest.mark.parametrize("chroma", ["444", "422", "420", "411"])
@pytest.mark.parametrize("size", [(64, 96), (61, 97), (63, 98)])
def test_side_by_side_is_the_original_on_the_left_and_the_overlay_on_the_right(
    size: tuple[int, int], chroma: str, rotation: int
) -> None:
    picture = a_picture(*size, chroma=chroma, rotation=rotation)
    mask, config = blobs(*size), replace(PLAIN, view="side-by-side")
    both = render(picture, mask, None, "", config)
    coarse = (-(-both.shape[0] >> both.shift_y), -(-both.shape[1] >> both.shift_x))
    assert both.planes[1].shape == both.planes[2].shape == coarse
    height, width = picture.upright_shape
    assert both.upright_shape[0] == height
    assert both.upright_shape[1] == width + -(-width // 4) * 4
    overlay = render(picture, mask, None, "", PLAIN)
    seen = both.upright(both.planes[0])
    line = 1
    np.testing.assert_array_equal(
        seen[:, : width - line], picture.upright(picture.planes[0])[:, : width - line]
    )
    np.testing.assert_array_equal(
        seen[:, line - width :], overlay.upright(overlay.planes[0])[:, line - width :]
    )
    assert (seen[:, width - line : seen.shape[1] - width + line] == 235).all()


@pytest.mark.parametrize("view", ["overlay", "heatmap", "mask"])
def test_other_views_keep_the_size(view: Any) -> None:
    picture = a_picture(61, 98, rotation=1)
    drawn = render(picture, blobs(61, 98), None, TEXT, RenderConfig(view=view))
    assert (drawn.shape, drawn.rotation) == ((61, 98), 1)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(480, 854), (1080, 1920), (2160, 3840)])
def test_text_is_light_on_dark_on_any_background(size: tuple[int, int], level: float) -> None:
    picture = a_picture(*size, level=level)
    drawn = render(picture, np.zeros(size, np.uint8), None, TEXT, OVERLAY)
    box = drawn.planes[0][text_box(picture)].astype(float)
    light = np.percentile(box, 98)  # letters
    dark = np.percentile(box, 50)  # the box behind them
    assert (light - dark) / 219 > 0.5
    assert abs(drawn.planes[1].astype(int) - 128).max() <= 1


@pytest.mark.parametrize("size", [(480, 854), (1080, 1920), (2160, 3840), (1920, 1080), (64, 64)])
def test_text_takes_one_line_of_the_top_left_corner(size: tuple[int, int]) -> None:
    picture = a_picture(*size)
    rows, columns = np.nonzero(text_box(picture))
    assert rows.max() < max(26, size[0] / 12)
    assert columns.max() < size[1] - columns.min()  # nothing is cut off on the right
    assert rows.min() <= size[0] // 32 and columns.min() <= size[1] // 32


def test_text_is_not_distorted_by_long_pixels() -> None:
    square = text_box(a_picture(576, 720)).any(0).sum()
    wide = text_box(a_picture(576, 720, pixel_aspect=Fraction(64, 45))).any(0).sum()
    assert wide * 64 / 45 == pytest.approx(square, rel=0.02)


def test_text_can_be_left_out() -> None:
    picture, mask = a_picture(100, 100), np.zeros((100, 100), np.uint8)
    assert not changed(picture, render(picture, mask, None, TEXT, PLAIN)).any()
    assert not changed(picture, render(picture, mask, None, "", OVERLAY)).any()
    assert changed(picture, render(picture, mask, None, TEXT, OVERLAY)).any()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(50, 100\).*\(100, 100\)"):
        render(a_picture(100, 100), np.zeros((50, 100), np.uint8), None, "", PLAIN)
