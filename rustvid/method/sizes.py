"""What a network sees of a frame: pictures of a fixed size, in one part or in tiles."""

from __future__ import annotations

from rustvid.config import ModelConfig
from rustvid.errors import UsageError
from rustvid.method import tiles
from rustvid.method.models import Kind

CLASSIFIER_SIZE = 572  # "Workflow": input images are rescaled to 572×572
STUDENT_SIZE = 448  # 320 marks less that is clean, and finds less; 576 nothing more (masks.md)
STUDENT_MULTIPLE = 32  # of which a student's sides must be: its encoder halves five times


def grid_of(config: ModelConfig, kind: Kind) -> tiles.Grid:
    """How a frame is seen, in one part or in tiles; raises UsageError."""
    return tiles.grid(config.tiles, input_size(config, kind))


def input_size(config: ModelConfig, kind: Kind) -> tuple[int, int]:
    """(width, height) that the network sees; raises UsageError where it cannot see that."""
    if kind == "classifier":
        if config.size not in (None, CLASSIFIER_SIZE):
            raise UsageError(
                f"model.size {config.size}: the paper's classifier sees {CLASSIFIER_SIZE} "
                "only; leave it null"
            )
        return CLASSIFIER_SIZE, CLASSIFIER_SIZE
    side = config.size or STUDENT_SIZE
    if side % STUDENT_MULTIPLE:
        raise UsageError(
            f"model.size must be a multiple of {STUDENT_MULTIPLE} for a student, received {side}"
        )
    return side, side
