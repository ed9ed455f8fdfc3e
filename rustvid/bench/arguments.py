"""The arguments of `rustvid bench`: nothing heavy loads for --help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_bench(commands: Any, handler: Callable[[argparse.Namespace], int]) -> None:
    """`rustvid bench [INPUT]` and `rustvid bench --compare A.json B.json`."""
    bench = commands.add_parser(
        "bench",
        help="measure how fast this machine is",
        description="Seconds per frame of every stage, and frames per second of every preset and "
        "model, against transcoding alone. Takes minutes; nothing else should run meanwhile.",
    )
    bench.add_argument(
        "input", metavar="INPUT", nargs="?", help="video; without: synthetic, 720p, 1080p and 4K"
    )
    bench.add_argument("--json", metavar="FILE", help="every figure, for --compare")
    bench.add_argument("--markdown", action="store_true", help="tables as Markdown")
    bench.add_argument("--quick", action="store_true", help="one round, fewer models, 1080p alone")
    bench.add_argument("--rounds", type=int, metavar="N", help="of the race (3; with --quick 1)")
    bench.add_argument(
        "--minutes", type=float, metavar="M", help="begin nothing more after so long (10)"
    )
    bench.add_argument(
        "--compare",
        nargs=2,
        metavar=("OLD.json", "NEW.json"),
        help="measure nothing: ratios of two results; exit code 1 if the new one is slower",
    )
    bench.add_argument(
        "--share",
        type=float,
        default=0.1,
        metavar="S",
        help="--compare: what counts as slower, as a share (0.1)",
    )
    bench.set_defaults(handler=handler)
