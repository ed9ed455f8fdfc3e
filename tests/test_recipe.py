"""The training recipe: what cannot be trained is refused, by name, value and remedy."""

from __future__ import annotations

import pytest

from rustvid.config import apply
from rustvid.errors import ConfigError, UsageError
from rustvid.training import pupils
from rustvid.training.recipe import TrainConfig

COUNTS = ("composites", "on_corroded", "all_rust", "clean", "corroded")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_keras_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"seed must be 0–4294967295, received {seed}"):
        apply(TrainConfig(), f"seed={seed}")


def test_a_students_crop_that_its_encoder_cannot_halve_is_refused() -> None:
    with pytest.raises(UsageError, match=r"crop must be a multiple of 32 .*\(192, 224\).* 200"):
        pupils.check(TrainConfig(crop=200, start=None))


def test_batches_of_nothing_are_refused() -> None:
    none = dict.fromkeys(COUNTS, 0)
    told = r"composites, on_corroded, all_rust, clean and corroded are all 0"
    with pytest.raises(UsageError, match=told):
        pupils.check(TrainConfig(start=None, **none))
    with pytest.raises(UsageError, match=told):
        pupils.check(TrainConfig(network="guided", crop=156, rounds=1, start=None, **none))


@pytest.mark.parametrize("kind", COUNTS)
def test_one_kind_of_picture_is_enough(kind: str) -> None:
    config = TrainConfig(crop=64, start=None, **{**dict.fromkeys(COUNTS, 0), kind: 1})
    pupils.check(config)
