"""Masks of a model at every stage, on every set with true masks and on footage without rust.

    python benchmarks/masks.py --data ../shared [--half final] [--model NAME ...] [--json FILE]

Prints one Markdown table: `rustvid evaluate segment` of all sets, for several models, sizes or
configurations. `--half` chooses the half of segment/bridge and segment/mixed: "tune" is for
choosing, "final" for reporting.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import machine

sys.path.insert(0, str(machine.ROOT))

from rustvid.config import Config, apply, load
from rustvid.method.model import Model
from rustvid.presets import config_path
from rustvid.training import masks, tables
from rustvid.training.examples import HALVES, ExampleSet

FILMS = {  # every Nth frame, times --every
    "bridge_flyover": 3,
    "rusty_truck": 1,
    "city_drone_clean": 1,
    "brick_facade_trick": 1,
}


def sets(data: Path, half: str, every: int) -> list[ExampleSet]:
    """The photographs, then the films."""
    photos = [ExampleSet(data / "data" / "segment" / name, half) for name in ("bridge", "mixed")]
    films = [
        ExampleSet(data / "video" / f"{name}.mp4", every=every * times)
        for name, times in FILMS.items()
    ]
    return photos + films


def configurations(args: argparse.Namespace) -> dict[str, Config]:
    """Name → configuration: every model at every size."""
    base = Config()
    for name in args.config:
        base = load(config_path(name), base)
    for assignment in args.set:
        base = apply(base, assignment)
    return {
        f"{Path(name).stem}{f' {size}' if size else ''}": replace(
            base, model=replace(base.model, name=name, size=size or base.model.size)
        )
        for name in args.model or [base.model.name]
        for size in args.size
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=machine.ROOT.parent / "shared")
    parser.add_argument("--half", choices=HALVES, default="final")
    parser.add_argument("--model", nargs="+", help="shipped names or .npz files")
    parser.add_argument("--size", type=int, nargs="+", default=[0], help="0: the model's own")
    parser.add_argument("--config", action="append", default=[], metavar="NAME|FILE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--every", type=int, default=4, help="look at every Nth frame of a film")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = arguments()
    found: dict[str, object] = {"machine": machine.facts(), "half": args.half, "every": args.every}
    print(tables.markdown(tables.MASK_HEADER, []), flush=True)
    told: list[str] = []
    for number, (label, config) in enumerate(configurations(args).items()):
        model = Model(config.model, config.localise)
        found[label] = {"sha256": model.digest, "precision": model.precision, "sets": {}}
        for chosen in sets(args.data, args.half, args.every):
            report = masks.judge(chosen.name, chosen, model, config)
            found[label]["sets"][chosen.name] = report.as_dict()  # type: ignore[index]
            for row in tables.mask_rows([report]):
                if row[1] == masks.FLOOR and number:
                    continue  # the floor is the same for every model
                row[1] = row[1] if row[1] == masks.FLOOR else f"{label}: {row[1]}"
                print(f"| {' | '.join(row)} |", flush=True)
            told.append(f"{label}: {tables.trust_line(report)}")
    print("", *told, sep="\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
