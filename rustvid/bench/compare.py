"""Two results side by side: what got slower?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rustvid.errors import UsageError
from rustvid.report.tables import markdown, rendered

_HEADER = ("", "old", "new", "speed, new / old", "")


@dataclass(frozen=True)
class Change:
    """What one figure was and is; speed: new over old, above 1 is faster."""

    name: str
    old: float
    new: float
    speed: float
    unit: str


@dataclass(frozen=True)
class Comparison:
    """Every figure that both results hold; missing: those that the new one lacks."""

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    share: float
    same_machine: bool
    same_films: bool

    @property
    def slower(self) -> tuple[Change, ...]:
        """What lost more than the share of its speed."""
        return tuple(one for one in self.changes if one.speed < 1 - self.share)

    def text(self, as_markdown: bool = False) -> str:
        """A table and what follows from it."""
        rows = [
            [
                one.name,
                f"{one.old:.4g} {one.unit}",
                f"{one.new:.4g} {one.unit}",
                f"{one.speed:.3f}",
                "SLOWER" if one in self.slower else "",
            ]
            for one in self.changes
        ]
        table = markdown(_HEADER, rows) if as_markdown else rendered("bench", _HEADER, rows)
        said = [table]
        if not self.same_films:
            said.append("The films are different ones: this says nothing of the code.")
        if not self.same_machine:
            said.append("The results are of different machines: this says nothing of the code.")
        if self.missing:
            said.append(f"Not in the new result: {'; '.join(self.missing)}")
        verdict = f"{len(self.slower)} of {len(rows)} slower by more than {100 * self.share:g} %"
        return "\n".join([*said, verdict])


def compare(old: Path, new: Path, share: float) -> Comparison:
    """Compare two JSON files of `rustvid bench`.

    share: of the speed that may be lost, in [0, 1)
    Raises UsageError for files that are none, for such that share no figure, and for a bad share.
    """
    if not 0 <= share < 1:
        raise UsageError(f"--share must be at least 0 and below 1, received {share}")
    before, after = _read(old), _read(new)
    figures, others = dict(_figures(before, old)), dict(_figures(after, new))
    changes = []
    for name, (value, unit) in figures.items():
        if name in others:
            now = others[name][0]
            changes.append(
                Change(name, value, now, now / value if unit == "f/s" else value / now, unit)
            )
    if not changes:
        raise UsageError(f"{old} and {new} hold no figure in common; measure the same things")
    machines = [
        {key: of["machine"].get(key) for key in ("processor", "cores", "gpus")}
        for of in (before, after)
    ]
    missing = tuple(name for name in figures if name not in others)
    films = [
        [(film.get("sha256"), film.get("size")) for film in of.get("films", {}).values()]
        for of in (before, after)
    ]
    same_films = all(film in films[0] for film in films[1])
    return Comparison(tuple(changes), missing, share, machines[0] == machines[1], same_films)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read ({exc.strerror}); check the path") from exc
    except ValueError as exc:
        raise UsageError(f"{path}: is not JSON ({exc}); give a file of `bench --json`") from exc
    if not isinstance(found, dict) or "machine" not in found:
        raise UsageError(f"{path}: is no result of `rustvid bench --json`")
    return found


def _figures(result: dict[str, Any], path: Path) -> Iterator[tuple[str, tuple[float, str]]]:
    try:
        for name, facts in result.get("contestants", {}).items():
            yield name, (float(facts["fps"]["median"]), "f/s")
        for name, facts in result.get("stages", {}).items():
            yield f"stage: {name}", (float(facts["median"]), "s")
    except (KeyError, TypeError, AttributeError) as exc:
        raise UsageError(f"{path}: is no result of `rustvid bench --json` ({exc!r})") from exc
