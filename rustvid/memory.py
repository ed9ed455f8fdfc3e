"""How much memory a run takes, planned before it starts: fewer frames in flight where it is little.

What a run holds at its peak is a sum of few things: the process with its network, the workers, and
pictures on their way, each in so many copies. Which pictures wait where changes nothing in the
result; the batch does, in the last digits, so it is the last that is made smaller.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rustvid.config import Config
from rustvid.errors import RustVidError

MB = 1_000_000
# _LEAN and _WORKER: from resident peaks, 320×180 to 4K, `benchmarks/memory.py --plan`; 30 of _LEAN
# for the student's second encoder; what is TensorFlow's: from peaks at 320×180 alone
_PROCESS = 850 * MB  # Python with TensorFlow, PyAV, OpenCV
_WEIGHTS = 230 * MB  # a network, its compiled passes and what the decoder and encoder begin with
_LEAN = 240 * MB  # the same of both where LiteRT computes, and TensorFlow is not there
# Both from peaks of compiling alone: 1,054, 1,726 and 2,632 MB for files of 2.5, 13.0 and 35.5 MB
_COMPILING = 1_050 * MB  # Python with PyAV and OpenCV, and a child with TensorFlow
_PER_WEIGHTS_BYTE = 56  # that the child holds of a network beside them, for a byte of its file
_PER_INPUT_PIXEL = 320  # bytes of activations for each pixel that the network sees in one pass
_WORKER = 250 * MB  # Python with OpenCV and scikit-learn, and the CRF's own at 572 × 572
_DECODER, _ENCODER = 24, 48  # pictures that they hold: references, threads, look-ahead
_MASK = 3  # bytes a pixel beside each picture: mask, drawing's scratch
_TRACKED = 256 * MB  # of what waits for the next analysed frame, at most
_CARRIED = 818_000  # bytes beside each of the pictures that do: flows and ways (see tracking.py)
_DEEP = 8  # frames that wait for the network, and results for the encoder
_ADDRESSES = 4_000 * MB  # that the libraries reserve beyond what they use
_NO_LIMIT = 1 << 60  # what a control group says that has none


@dataclass(frozen=True)
class Demand:
    """What is known of a run before it starts.

    picture: bytes of one decoded picture; pixels: of one
    seen: pixels that the network sees of one picture; every: frames from one look to the next
    workers, batch: as wished; batch_fixed: the network is loaded already
    lean: TensorFlow does not load, and the network sees one picture after the other
    any_size: the network may be told to see less (a student)
    """

    picture: int
    pixels: int
    seen: int
    every: int
    workers: int
    batch: int
    batch_fixed: bool = False
    lean: bool = False
    any_size: bool = False


@dataclass(frozen=True)
class Plan:
    """How a run is to be made, and what it takes.

    deep: frames that wait for the network, and results that wait for the encoder
    ahead: frames between the network and the oldest result that is not there yet
    needed: bytes at the peak, about
    """

    workers: int
    batch: int
    deep: int
    ahead: int
    needed: int

    def applied(self, config: Config) -> Config:
        """The configuration of a run that is made so."""
        model = replace(config.model, batch=self.batch)
        return replace(config, workers=self.workers, model=model)

    @property
    def says(self) -> str:
        """The choice, in words."""
        return f"{self.workers} workers, batches of {self.batch}, {self.ahead} frames at once"


@dataclass(frozen=True)
class Limit:
    """Bytes that there are, and by what; strict: beyond them the run would be killed.

    within: a wider limit that is strict, where this one is not
    """

    there: int
    why: str
    strict: bool
    within: Limit | None = None


def planned(demand: Demand, limit: Limit | None) -> tuple[Plan, list[str]]:
    """The largest plan that fits, and a warning where it is not the wished one.

    Raises RustVidError where not even the smallest fits a strict limit.
    """
    wished = plan_of(demand, demand.workers, demand.batch)
    if limit is None or wished.needed <= limit.there:
        return wished, []
    smallest = wished
    for smallest in _smaller(demand, limit.strict):
        if smallest.needed <= limit.there:
            break
    if limit.within and smallest.needed > limit.within.there:
        return planned(demand, limit.within)  # by it the batch shrinks, or the run is refused
    told = (
        f"memory: about {_mb(wished.needed)} are needed for pictures of {demand.pixels / 1e6:.1f} "
        f"megapixels and {_mb(limit.there)} are available ({limit.why})"
    )
    if smallest.needed <= limit.there:
        return smallest, [f"{told}: {smallest.says}, which takes {_mb(smallest.needed)}"]
    less = "let the network see less with --set model.size=320, " if demand.any_size else ""
    if limit.strict:
        raise RustVidError(
            f"{told}; the least is {_mb(smallest.needed)}: allow so much with --max-memory, "
            f"{less}or bring the film to a smaller size"
        )
    return smallest, [f"{told}; the least is {_mb(smallest.needed)}: the system may swap or end it"]


def plan_of(demand: Demand, workers: int, batch: int, deep: int = _DEEP, tight: int = 1) -> Plan:
    """What a run takes that is made so. tight: divides the frames in flight"""
    looked = 2 * max(workers, 1) * demand.every
    ahead = max(1, min(64, looked + batch) // tight)
    waiting = min(8 * batch, batch * demand.every)  # for the network's next pass
    held = _DECODER + deep + waiting + ahead + deep + _ENCODER
    marked = deep + 2  # frames that have been drawn on
    pictures = held * demand.picture + marked * (_MASK * demand.pixels + demand.picture)
    tracked = min(_TRACKED, (demand.every - 1) * (demand.picture + _CARRIED))
    process = _LEAN if demand.lean else _PROCESS + _WEIGHTS
    network = (1 if demand.lean else batch) * demand.seen * _PER_INPUT_PIXEL
    needed = process + network + workers * _WORKER + pictures + tracked
    return Plan(workers, batch, deep, ahead, needed)


def _smaller(demand: Demand, strict: bool) -> Iterator[Plan]:
    """Ever smaller plans: first fewer frames wait, then fewer workers, then a smaller batch.

    The last only within a strict limit: what happens to be free must not change a result.
    """
    batch = demand.batch
    for deep, tight in ((4, 1), (2, 2), (1, 4), (1, 16), (1, 64)):
        yield plan_of(demand, demand.workers, batch, deep, tight)
    for workers in range(demand.workers - 1, -1, -1):
        yield plan_of(demand, workers, batch, 1, 64)
    while strict and batch > 1 and not (demand.batch_fixed or demand.lean):
        batch //= 2
        yield plan_of(demand, 0, batch, 1, 64)


def compiling(weights: int) -> int:
    """Bytes held while a network is compiled, before the run begins; weights: bytes of its file."""
    return _COMPILING + weights * _PER_WEIGHTS_BYTE


def check_compiling(weights: int, limit: Limit | None) -> None:
    """Raise RustVidError where a strict limit does not hold what compiling a network takes."""
    needed = compiling(weights)
    if limit and limit.within:
        limit = limit.within
    if limit and limit.strict and limit.there < needed:
        raise RustVidError(
            f"memory: a model's first run compiles its network, which takes about {_mb(needed)} "
            f"for a moment, and {_mb(limit.there)} are available ({limit.why}): allow so much "
            "once; it is kept, and later runs need only their own"
        )


def limit_of(asked: int | None) -> Limit | None:
    """The narrowest limit: as asked, of the control group, of addresses, or of what is free."""
    strict = [Limit(asked, "--max-memory", True)] if asked else []
    if group := _control_group():
        strict.append(Limit(group, "the limit of this container", True))
    within = min(strict, key=lambda limit: limit.there, default=None)
    loose: list[Limit] = []
    addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if addresses != resource.RLIM_INFINITY:
        there = max(0, addresses - _ADDRESSES)
        loose.append(Limit(there, "`ulimit -v`, less what libraries reserve", False, within))
    if free := _available():
        loose.append(Limit(free, "free now", False, within))
    return min([*strict, *loose], key=lambda limit: limit.there, default=None)


def _available() -> int | None:
    """Bytes that programs can still get; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _control_group() -> int | None:
    """Bytes that this process's control group may use, the tightest one above it included."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, name = line.split(":", 2)
            if kinds == "" or "memory" in kinds.split(","):
                root = Path("/sys/fs/cgroup") / ("memory" if kinds else "")
                file = "memory.limit_in_bytes" if kinds else "memory.max"
                found += _limits_up(root, name.lstrip("/"), file)
    smallest = min(found, default=_NO_LIMIT)
    return smallest if smallest < _NO_LIMIT else None


def _limits_up(root: Path, name: str, file: str) -> list[int]:
    found = []
    for folder in [root / name, *(root / name).parents]:
        with suppress(OSError, ValueError):  # "max", or not there
            found.append(int((folder / file).read_text(encoding="ascii")))
        if folder == root:
            break
    return found


def _mb(count: int) -> str:
    return f"{count / MB:.0f} MB"
