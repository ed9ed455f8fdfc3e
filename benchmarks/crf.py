"""The CRF's two engines at several sizes: time, masks against the truth, masks against each other.

    python benchmarks/crf.py [--data ../shared] [--half all] [--json FILE]

Photographs with true masks (segment/bridge and segment/mixed), heat maps of rustseg-lite, no gate.
IoU with the truth is pooled over the photographs of a set; "with densecrf" is the overlap of the
masks with those that densecrf makes at 572, enlarged or reduced to the truth's size. Time is the
processor's, of one thread, median over the photographs, of K-means and erosion too in "advanced".
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(machine.ROOT))

from rustvid.config import Config, RefineConfig
from rustvid.method.model import Model
from rustvid.method.refine import one_thread, refine
from rustvid.report.area import enlarged
from rustvid.training.examples import HALVES, ExampleSet

SETS = ("bridge", "mixed")
SIZES = (572, 286, 192)
REFERENCE = ("densecrf", 572)
Mask = NDArray[np.uint8]


def overlap(pairs: list[tuple[Mask, Mask]]) -> float:
    """Intersection over union, pooled."""
    both = sum(int(np.count_nonzero(a & b)) for a, b in pairs)
    either = sum(int(np.count_nonzero(a | b)) for a, b in pairs)
    return round(both / max(either, 1), 4)


def measure(data: Path, half: str) -> dict[str, Any]:
    """The whole JSON."""
    one_thread()
    config = Config()
    model = Model(replace(config.model, name="rustseg-lite"))
    side = model.size[0]
    masks: dict[tuple[str, str, int, str], list[Mask]] = {}
    truths: dict[str, list[Mask]] = {}
    spent: dict[tuple[str, str, int], list[float]] = {}
    for name in SETS:
        for example in ExampleSet(data / "data" / "segment" / name, half):
            seen = cv2.resize(example.image, (side, side), interpolation=cv2.INTER_AREA)
            evidence = model.look([np.asarray(seen, np.uint8)]).evidence[0]
            truths.setdefault(name, []).append(np.asarray(example.mask, np.uint8))
            for method, engine, size in variants():
                refinement = configured(config.refine, method, engine, size)
                began = time.thread_time()
                mask = refine(example.image, evidence, refinement)
                spent.setdefault((method, engine, size), []).append(time.thread_time() - began)
                whole = enlarged(mask, example.mask.shape[:2])
                masks.setdefault((method, engine, size, name), []).append(whole)
    rows = []
    for method, engine, size in variants():
        row: dict[str, Any] = {"method": method, "engine": engine, "size": size}
        row["ms"] = round(1000 * statistics.median(spent[method, engine, size]), 1)
        for name in SETS:
            found = masks[method, engine, size, name]
            reference = masks[method, *REFERENCE, name]
            row[name] = overlap(list(zip(found, truths[name], strict=True)))
            row[f"{name} with densecrf"] = overlap(list(zip(found, reference, strict=True)))
        rows.append(row)
    counts = {name: len(truths[name]) for name in SETS}
    return {"machine": machine.facts(), "half": half, "photographs": counts, "rows": rows}


def variants() -> list[tuple[str, str, int]]:
    """Method, engine and size of everything that is compared."""
    engines = ("densecrf", "fast")
    return [(m, e, s) for m in ("advanced", "crf") for s in SIZES for e in engines]


def configured(base: RefineConfig, method: Any, engine: Any, size: int) -> RefineConfig:
    """That refinement, ten iterations."""
    return replace(base, method=method, engine=engine, size=size, iterations=10)


def table(result: dict[str, Any]) -> str:
    """The JSON as a Markdown table."""
    head = [*result["rows"][0]]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(str(cell) for cell in row.values())} |" for row in result["rows"]]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=machine.ROOT.parent / "shared")
    parser.add_argument("--half", choices=HALVES, default="all")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = arguments()
    result = measure(args.data, args.half)
    print(table(result))
    if args.json:
        machine.write_json(args.json, result)


if __name__ == "__main__":
    main()
