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


def command(
    options: argparse.Namespace, show: Callable[[str], None], tell: Callable[[str], None]
) -> int:
    """Measure or compare; returns the exit code.

    options: those of arguments.py; show: gets the result; tell: told of every step
    """
    if options.compare:
        old, new = map(Path, options.compare)
        found = compare(old, new, options.share)
        show(found.text(options.markdown))
        return int(bool(found.slower))
    presets = {name: load(config_path(name), Config()) for name in PRESETS}
    plan = plan_for(presets, options.quick, options.rounds, options.minutes)
    out = Path(options.json) if options.json else None
    if out:
        check_file(out)
    result = bench(Path(options.input) if options.input else None, plan, tell)
    show(report(result, options.markdown))  # first: no disk that is full by now takes it
    if out:
        write_json(out, result)
        tell(f"wrote {out}")
    return 0
