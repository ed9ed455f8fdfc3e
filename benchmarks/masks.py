"""Masks of every method on every set with pixel masks, and on footage without rust.

    python benchmarks/masks.py --data ../shared [--half final] [--weights FILE ...]

Prints a table: pooled intersection over union with its 95 % bootstrap interval over pictures,
precision, recall, mean area error in points, pictures with p(corrosion) > 0.5; for clean footage
the share of frames with more than 0.1 % of their pixels marked. `--half` chooses the half of
segment/bridge and segment/mixed: "tune" is for choosing, "final" for reporting.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rustvid.training import evaluate  # noqa: E402

Sets = dict[str, Callable[[], Iterable[evaluate.Example]]]
SHIPPED = ROOT / "rustvid" / "method" / "weights" / "rustvid-student.npz"


def rusty_sets(data: Path, half: str, every: int) -> Sets:
    """Sets with rust, each a function that reads it anew."""
    photos, videos = data / "data" / "segment", data / "video"
    return {
        "bridge": partial(evaluate.photo_examples, photos / "bridge", half),
        "mixed": partial(evaluate.photo_examples, photos / "mixed", half),
        "bridge_flyover": partial(
            evaluate.video_examples, videos / "bridge_flyover.mp4", 3 * every
        ),
        "rusty_truck": partial(evaluate.video_examples, videos / "rusty_truck.mp4", every),
    }


def clean_sets(data: Path, every: int) -> Sets:
    """Footage without rust."""
    names = ("city_drone_clean", "brick_facade_trick")
    films = {name: data / "video" / f"{name}.mp4" for name in names}
    return {name: partial(evaluate.video_examples, film, every) for name, film in films.items()}


def methods(args: argparse.Namespace) -> dict[str, tuple[evaluate.Method, float, float]]:
    """Name → method, evidence level, least p(corrosion)."""
    table: dict[str, tuple[evaluate.Method, float, float]] = {
        "HSV rule": (evaluate.hsv_rule, 0.5, 0.0)
    }
    for path in args.weights:
        model = evaluate.load_student(path)
        for size in args.size:
            seen = evaluate.student_method(model, size, args.keep_aspect)
            table[f"{path.stem} {size}"] = (seen, args.level, args.least_probability)
    return table


def row(name: str, method: str, report: evaluate.MaskReport) -> str:
    """One line of the table."""
    count, (low, high) = report.pooled, report.interval()
    called = float(np.mean(np.array(report.probabilities) > 0.5))
    return (
        f"| {name} | {method} | {count.iou:.3f} ({low:.2f}–{high:.2f}) | {count.precision:.2f} "
        f"| {count.recall:.2f} | {report.area_error:.1f} | {called:.2f} | {report.marked:.3f} "
        f"| {len(report.counts)} |"
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of data/ and video/")
    parser.add_argument("--half", choices=("tune", "final", "all"), default="final")
    parser.add_argument("--weights", type=Path, nargs="+", default=[SHIPPED])
    parser.add_argument("--size", type=int, nargs="+", default=[576])
    parser.add_argument("--keep-aspect", action="store_true", help="size² pixels, not a square")
    parser.add_argument("--level", type=float, default=0.25, help="evidence that marks a pixel")
    parser.add_argument("--least-probability", type=float, default=0.5)
    parser.add_argument("--every", type=int, default=4, help="look at every Nth frame of a video")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = arguments()
    print("| set | method | pooled IoU | precision | recall | area error | p > 0.5 | marked | n |")
    print("|---|---|---|---|---|---|---|---|---|")
    sets = rusty_sets(args.data, args.half, args.every) | clean_sets(args.data, args.every)
    chosen = methods(args)
    for name, examples in sets.items():
        for label, (method, level, least) in chosen.items():
            report = evaluate.judge(examples(), method, level, least)
            print(row(name, label, report), flush=True)


if __name__ == "__main__":
    main()
