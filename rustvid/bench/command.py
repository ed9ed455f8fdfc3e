"""What `rustvid bench` does, once its arguments are parsed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rustvid.bench.compare import compare
from rustvid.bench.machine import write_json
from rustvid.bench.suite import bench, plan_for
from rustvid.bench.tables import report
from rustvid.config import Config, load
from rustvid.presets import config_path
from rustvid.video import check_file

PRESETS = ("default", "realtime", "paper")


def command(options: argparse.Namespace, tell: Callable[[str], None]) -> tuple[str, int]:
    """What is to be printed, and the exit code.

    options: those of arguments.py; tell: told of every step
    """
    if options.compare:
        old, new = map(Path, options.compare)
        found = compare(old, new, options.share)
        return found.text(options.markdown), int(bool(found.slower))
    presets = {name: load(config_path(name), Config()) for name in PRESETS}
    plan = plan_for(presets, options.quick, options.rounds, options.minutes)
    out = Path(options.json) if options.json else None
    if out:
        check_file(out)
    result = bench(Path(options.input) if options.input else None, plan, tell)
    if out:
        write_json(out, result)
        tell(f"wrote {out}")
    return report(result, options.markdown), 0
