"""What a run found and how it went: gathered frame by frame, printed or given as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rustvid.errors import RustVidError
from rustvid.frames import Measured

SOME_FRAMES_FAILED = 6  # exit code
_SHOWN = 6  # files that are named one by one


@dataclass(frozen=True)
class Fact:
    """What is counted of one frame, no more exact than the table has it: a row that an earlier run
    wrote counts the same. Without pictures, so that it can wait."""

    time: float  # seconds
    status: str
    analysed: bool
    share: float | None  # of the frame that is corroded, in [0, 1]; None: it was not measured
    corroded: bool = False  # by a pixel at least, whatever that rounds to
    confidence: float | None = None  # in [0, 1]
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Measured) -> Fact:
        trust = result.trust
        return cls(
            time=float(result.frame.time),
            status=result.status,
            analysed=result.analysed,
            share=float(f"{100 * result.area.share:.4f}") / 100 if result.is_measured else None,
            corroded=result.is_measured and result.area.pixels > 0,
            confidence=float(f"{trust.confidence:.4f}") if trust else None,
            flags=trust.flags if trust else (),
        )


@dataclass
class Summary:
    """The facts of a run. Times in seconds, areas as shares of the frame in [0, 1].

    `error` is what ended the run early, if anything did: `kept` are then the part files with what
    was done, and `outputs` what was complete all the same.
    """

    input: str = ""
    model: str = ""
    model_sha256: str = ""
    precision: str = ""
    frames: int = 0
    unmeasured: int = 0  # frames that could not be read or refined, which count in no mean
    analysed: int = 0
    corroded: int = 0
    peak_area: float = 0.0
    peak_time: float = 0.0
    elapsed: float = 0.0
    resumed_at: int = 0  # frames that an earlier run had done
    was_complete: bool = False  # an earlier run had done all, this one nothing
    statuses: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)  # frames with each failure mode
    least_confidence: float | None = None
    least_confident_time: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)  # busy seconds of each stage
    outputs: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    worker_restarts: int = 0
    first_failure: str = ""
    error: RustVidError | None = None
    live: dict[str, int] = field(default_factory=dict)  # counts of a camera
    latency_median: float | None = None  # seconds from the camera to the file
    latency_p99: float | None = None
    _area_sum: float = 0.0

    def add(self, result: Measured) -> None:
        """Count one frame."""
        self.count(Fact.of(result))

    def count(self, fact: Fact) -> None:
        """Count one frame, of which only the facts are left."""
        self.frames += 1
        self.analysed += fact.analysed
        self.statuses[fact.status] += 1
        if fact.share is None:
            self.unmeasured += 1
            return
        if fact.share > self.peak_area or (fact.corroded and not self.corroded):
            self.peak_area, self.peak_time = fact.share, fact.time
        self.corroded += fact.corroded
        self._area_sum += fact.share
        self.flags.update(fact.flags)
        least = self.least_confidence
        if fact.confidence is not None and (least is None or fact.confidence < least):
            self.least_confidence, self.least_confident_time = fact.confidence, fact.time

    @property
    def measured(self) -> int:
        """Frames that have an area."""
        return self.frames - self.unmeasured

    @property
    def mean_area(self) -> float:
        return self._area_sum / self.measured if self.measured else 0.0

    @property
    def frames_per_second(self) -> float:
        done = self.frames - self.resumed_at
        return done / self.elapsed if self.elapsed else 0.0

    @property
    def exit_code(self) -> int:
        """0, or the error's, or 6 where frames failed or could not be read."""
        if self.error:
            return self.error.exit_code
        return SOME_FRAMES_FAILED if self.unmeasured else 0

    def raise_for_error(self) -> None:
        """Raise what ended the run early, if anything did."""
        if self.error:
            raise self.error

    def lines(self) -> list[str]:
        """The summary as a person reads it."""
        share = 100 * self.corroded / self.measured if self.measured else 0.0
        peak = f"peak {100 * self.peak_area:.2f} %"
        found = [
            f"{self.frames} frames, {self.corroded} with corrosion ({share:.1f} %)",
            f"corroded area: mean {100 * self.mean_area:.2f} %, {peak}"
            + (f" at {clock(self.peak_time)}" if self.corroded else ""),
        ]
        if not self.was_complete:
            found.append(
                f"{self.elapsed:.1f} s, {self.frames_per_second:.1f} frames per second, "
                f"{self.analysed} analysed"
            )
            found += [f"busy: {self._shares()}"] if self.stages else []
        if self.least_confidence is not None:
            at = f"{self.least_confidence:.2f} at {clock(self.least_confident_time)}"
            flags = ", ".join(f"{count} {name}" for name, count in self.flags.most_common())
            found.append(f"least confidence: {at}" + (f"; flagged: {flags}" if flags else ""))
        if self.live:
            found.append(
                "camera: {read} frames read, {dropped} dropped, {lost} lost, "
                "{reconnects} reconnects, {events} events".format(**self.live)
            )
        if self.latency_median is not None and self.latency_p99 is not None:
            found.append(
                f"latency: median {self.latency_median:.2f} s, 99 % {self.latency_p99:.2f} s"
            )
        if self.resumed_at and not self.was_complete:
            found.append(f"went on at frame {self.resumed_at}")
        odd = {name: count for name, count in self.statuses.items() if name != "ok"}
        if odd:
            found.append("frames not ok: " + ", ".join(f"{n} {name}" for name, n in odd.items()))
        if self.first_failure:
            found.append(f"first failure: {self.first_failure}")
        if self.worker_restarts:
            found.append(f"{self.worker_restarts} worker processes died and were replaced")
        if self.was_complete:
            return found
        shown = self.outputs[-_SHOWN:]
        if len(shown) < len(self.outputs):
            found.append(f"wrote {len(self.outputs)} files, the last:")
        found += [f"wrote {path}" for path in shown]
        return found + [f"kept {path}: up to {self.frames} frames" for path in self.kept]

    def as_dict(self) -> dict[str, Any]:
        """The same facts for JSON."""
        return {
            "input": self.input,
            "outputs": [str(path) for path in self.outputs],
            "kept": [str(path) for path in self.kept],
            "frames": self.frames,
            "analysed": self.analysed,
            "corroded_frames": self.corroded,
            "mean_area_pct": round(100 * self.mean_area, 4),
            "peak_area_pct": round(100 * self.peak_area, 4),
            "peak_time_s": round(self.peak_time, 6) if self.corroded else None,
            "statuses": dict(self.statuses),
            "flags": dict(self.flags),
            "least_confidence": _rounded(self.least_confidence),
            "least_confident_time_s": (
                None if self.least_confidence is None else round(self.least_confident_time, 6)
            ),
            "resumed_at_frame": self.resumed_at,
            "elapsed_s": round(self.elapsed, 3),
            "frames_per_second": round(self.frames_per_second, 2),
            "stage_seconds": {name: round(busy, 3) for name, busy in self.stages.items()},
            "model": {
                "name": self.model,
                "sha256": self.model_sha256,
                "precision": self.precision,
            },
            "worker_restarts": self.worker_restarts,
            **self._live_facts(),
            "warnings": self.warnings,
            "exit_code": self.exit_code,
            "exit_reason": str(self.error) if self.error else "complete",
        }

    def _live_facts(self) -> dict[str, Any]:
        if not self.live:
            return {}
        latency = {"median": self.latency_median, "p99": self.latency_p99}
        return {"live": {**self.live, "latency_s": latency}}

    def _shares(self) -> str:
        total = sum(self.stages.values()) or 1.0
        return ", ".join(f"{n} {100 * busy / total:.0f} %" for n, busy in self.stages.items())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def clock(seconds: float) -> str:
    """hh:mm:ss.mmm"""
    milliseconds = abs(round(seconds * 1000))
    rest, milli = divmod(milliseconds, 1000)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    sign = "-" if seconds < 0 and milliseconds else ""
    return f"{sign}{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}"
