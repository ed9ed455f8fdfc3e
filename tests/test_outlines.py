"""What outlines say about regions, against labels of every pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rustvid.outlines import enclosed, outlines, size


@pytest.mark.parametrize("seed", range(6))
def test_regions_are_counted_and_measured_exactly(seed: int) -> None:
    """Lines, single pixels, pinches, holes, regions within holes, the picture's edges."""
    noise = np.random.default_rng(seed).normal(size=(60, 70)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 0.5 + 0.3 * seed) > 0.12).astype(np.uint8)
    mask[: 5 * seed, : 3 * seed] = 0  # all lies away from the corner, too
    mask[: 2 * seed] = 0
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    found = outlines(mask)
    assert len(found) == count - 1 > 10
    for line, holes in found.values():
        x, y = line[0, 0]
        assert size(line, holes) == (labels == labels[y, x]).sum()
        filled = cv2.drawContours(np.zeros_like(mask), [line], -1, 1, cv2.FILLED)
        assert enclosed(line) == filled.sum()


def test_an_empty_mask_has_no_outline() -> None:
    assert outlines(np.zeros((5, 7), np.uint8)) == {}
