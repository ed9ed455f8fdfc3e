"""The arguments of `rustvid evaluate`, `tune` and `adapt`: nothing heavy loads for --help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rustvid.training.recipe import ADAPT_STEPS

Handler = Callable[[argparse.Namespace], int]
Adder = Callable[[argparse.ArgumentParser], None]


def add_evaluate(commands: Any, configuration: Adder, classify: Handler, segment: Handler) -> None:
    """`rustvid evaluate classify DATA` and `rustvid evaluate segment DATA …`."""
    evaluate = commands.add_parser("evaluate", help="judge a model on photos or masks of your own")
    kinds = evaluate.add_subparsers(metavar="WHAT", required=True, help="what to judge")
    of_photos = kinds.add_parser("classify", help="p(corrosion) of photos with labels")
    of_photos.add_argument("data", metavar="DATA", help="folder of corrosion/ and not_corrosion/")
    _add_common(of_photos, configuration)
    of_photos.set_defaults(handler=classify)
    of_masks = kinds.add_parser("segment", help="masks of photos or films with true masks")
    _add_sets(of_masks)
    _add_common(of_masks, configuration)
    of_masks.set_defaults(handler=segment)


def add_tune(commands: Any, configuration: Adder, handler: Handler) -> None:
    """`rustvid tune DATA … --out tuned.yaml`."""
    tune = commands.add_parser("tune", help="fit the refinement to a few photos with masks")
    _add_sets(tune)
    tune.add_argument("--out", required=True, metavar="FILE.yaml", help="what differs from before")
    tune.add_argument("--trials", type=int, default=60, metavar="N", help="settings tried")
    tune.add_argument("--pictures", type=int, default=30, metavar="N", help="used at most")
    tune.add_argument("--model", metavar="NAME|PATH", help="shipped model or weights")
    tune.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    configuration(tune)
    tune.set_defaults(handler=handler)


def add_adapt(commands: Any, configuration: Adder, handler: Handler) -> None:
    """`rustvid adapt DATA … --out DIR`."""
    adapt = commands.add_parser("adapt", help="teach the student from a few pictures with masks")
    _add_sets(adapt)
    adapt.add_argument(
        "--out", required=True, metavar="DIR", help="gets adapted.npz and adapted.yaml"
    )
    adapt.add_argument(
        "--steps",
        type=int,
        default=ADAPT_STEPS,
        metavar="N",
        help=f"of training; {ADAPT_STEPS} without it",
    )
    adapt.add_argument("--model", metavar="NAME|PATH", help="the student to begin with")
    adapt.add_argument("--overwrite", action="store_true", help="replace files that exist")
    configuration(adapt)
    adapt.set_defaults(handler=handler)


def _add_sets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="folder of photos with a .png mask beside each, or a film with NAME.masks.mkv "
        "beside it; a film without is taken for clean",
    )
    parser.add_argument(
        "--half", choices=("tune", "final", "all"), default="all", help="of a folder, by name"
    )
    parser.add_argument("--every", type=int, default=12, metavar="N", help="each Nth frame")


def _add_common(parser: argparse.ArgumentParser, configuration: Adder) -> None:
    parser.add_argument("--model", metavar="NAME|PATH", help="shipped model or weights")
    parser.add_argument("--json", metavar="FILE", help="every figure as JSON; - for stdout")
    parser.add_argument("--out", metavar="DIR", help="plots and contact sheets as PNG")
    configuration(parser)
