"""A process for every measurement, an order that turns, and an eye on memory and neighbours."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rustvid.bench.measurement import Kind, Measurement
from rustvid.config import Config, as_dict
from rustvid.errors import Interrupted, RustVidError

_INTERVAL = 0.1  # seconds between looks at a process's memory
_MOST_OTHERS = 0.1  # share of the machine above which a measurement counts as disturbed

Said = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """One that takes part in the race: what runs, and how it is configured.

    encoder: the contestant that only transcodes, with the same encoder; "" for none
    facts: what else the JSON says of it; once: measured in the first round only
    """

    name: str
    kind: Kind
    config: Config
    encoder: str = ""
    facts: tuple[tuple[str, Any], ...] = ()
    once: bool = False


class ChildFailed(RustVidError):
    """A measurement ended with an error."""


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """SIGTERM and SIGHUP become Interrupted: processes are ended, temporary folders removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def compete(
    contestants: Sequence[Contestant],
    rounds: int,
    tries: int,
    folder: Path,
    say: Said,
    until: float = math.inf,
) -> dict[str, list[Measurement]]:
    """Every contestant once in every round, or in the first alone; the order turns.

    tries: so often a measurement that other processes disturbed is made, at most; the least
        disturbed one is kept
    folder: for what they write; say: told of every measurement
    until: of time.monotonic(); no round is begun that would hardly end before it, by what the
        last one took, nothing is repeated after it, and in the first round nothing begun after it
    Returns what each was measured as, in the order of the rounds; nothing for one left out.
    """
    results: dict[str, list[Measurement]] = {one.name: [] for one in contestants}
    for number in range(rounds):
        field = [one for one in contestants if not (number and one.once)]
        turn = number % max(len(field), 1)
        repeated = 0.0  # seconds of those that come again
        for one in [*field[turn:], *field[:turn]]:
            if time.monotonic() > until:
                say(f"{one.name} is left out: the time is up")
                continue
            asked = time.monotonic()
            found = measured(one, tries, folder, until)
            repeated += 0.0 if one.once else time.monotonic() - asked
            results[one.name].append(found)
            others = "" if found.others is None else f", others had {100 * found.others:.0f} %"
            say(f"round {number + 1} {one.name}: {found.fps:.2f} frames/s{others}")
        if number + 1 < rounds and time.monotonic() + repeated > until:
            say(f"{number + 1} of {rounds} rounds: another one takes {repeated:.0f} s, too long")
            break
    return results


def measured(one: Contestant, tries: int, folder: Path, until: float = math.inf) -> Measurement:
    """Measure in a new process; again, if others had more than their share of the machine.

    until: of time.monotonic(); nothing is repeated after it
    """
    job = {"work": "race", "kind": one.kind, "config": as_dict(one.config)}
    found: list[Measurement] = []
    while not found or (
        len(found) < tries and (found[-1].others or 0) > _MOST_OTHERS and time.monotonic() < until
    ):
        answer, peak = _in_a_process(job, one.name, folder)
        found.append(Measurement(**{**answer, "peak_mb": peak}))
    return min(found, key=lambda each: each.others or 0)


def measured_stages(
    config: Config, models: Sequence[str], runs: int, folder: Path
) -> dict[str, Any]:
    """Every stage alone (stages.py), in a new process."""
    job = {"work": "stages", "config": as_dict(config), "models": list(models), "runs": runs}
    answer, _ = _in_a_process(job, "stages", folder)
    return answer


def _in_a_process(
    job: dict[str, Any], name: str, folder: Path
) -> tuple[dict[str, Any], float | None]:
    """The answer, and the most megabytes that the process and those below it held together."""
    asked, answered, log = (folder / f"job.{kind}" for kind in ("json", "answer", "log"))
    asked.write_text(json.dumps(job), encoding="utf-8")
    answered.unlink(missing_ok=True)
    command = [sys.executable, "-m", "rustvid.bench.child", str(asked), str(answered)]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(paths)}
    peak = 0
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=errors, stderr=errors, env=quiet) as child,
    ):
        try:
            while child.poll() is None:
                peak = max(peak, sum(resident(pid) for pid in family(child.pid)))
                time.sleep(_INTERVAL)
        finally:
            child.terminate()
    if child.returncode:
        said = log.read_text(encoding="utf-8").strip()
        raise ChildFailed(f"bench: {name} ended with exit code {child.returncode}: {said[-2000:]}")
    answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    return answer, round(peak / 1e6, 1) or None


def family(root: int) -> list[int]:
    """A process and all that descend from it; it alone where the system does not tell."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found = [root]
    for pid in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident(pid: int) -> int:
    """Bytes resident; 0 for a process that has gone. Shared pages count in each process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
