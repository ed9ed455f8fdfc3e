"""What a process of rounds.py does: read a job, do it, write the answer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rustvid.bench.contestants import race
from rustvid.bench.stages import stages
from rustvid.config import Config, load


def do(asked: str, answered: str) -> None:
    """asked, answered: paths of JSON files, as rounds.py writes and reads them."""
    job = json.loads(Path(asked).read_text(encoding="utf-8"))
    folder = Path(asked).parent
    settings = folder / "job.yaml"
    settings.write_text(json.dumps(job["config"]), encoding="utf-8")  # JSON is YAML too
    config = load(settings, Config())
    if job["work"] == "race":
        found: Any = race(job["kind"], config, folder)
    else:
        found = stages(config, job["models"], job["runs"], folder)
    Path(answered).write_text(json.dumps(asdict(found)), encoding="utf-8")
