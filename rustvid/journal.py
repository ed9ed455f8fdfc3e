"""The note beside a part that says what it is the beginning of: `film.part.json`.

It is written whole or not at all, and is gone when the outputs have their names. A run that goes
on compares it with itself first: input, configuration, model and version must be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from rustvid import __version__
from rustvid.config import Config, OutputConfig, as_dict
from rustvid.errors import SinkError, UsageError
from rustvid.video import photos_in
from rustvid.video.named import files_of
from rustvid.video.opening import LIBRARY
from rustvid.video.sink import part_of, synced
from rustvid.video.telemetry import beside_of

_PROBE = 1 << 20  # bytes of the head and of the tail that are hashed
# What may differ between two runs over one film: it changes nothing in the result.
_FREE = frozenset(
    {
        "input",
        "source.join",  # its files are compared
        "workers",
        "threads",
        "max_memory",
        "model.precision",  # what comes of it is compared
        "output.path",
        "output.csv",
        "output.mask",
        "output.overwrite",
        "output.resume",
        "output.fsync",
        "output.folder",
    }
)
_OF_CAMERAS = ("events.", "status.")  # nothing of it is in the result of a file; secrets may be


@dataclass
class Journal:
    """What a run is.

    facts: flat, what must be the same for a run to go on
    begins: number of the first frame of each piece of the outputs
    complete: every piece is closed and joined; only names are missing
    origin: seconds, the exact time of the film's first frame
    overwrite: the outputs may take the place of files that are there
    """

    path: Path
    facts: dict[str, Any]
    begins: list[int] = field(default_factory=lambda: [0])
    complete: bool = False
    origin: Fraction = Fraction(0)
    overwrite: bool = False

    def write(self) -> None:
        """Put it on the disk, whole; raises SinkError."""
        content = {
            "facts": self.facts,
            "begins": self.begins,
            "complete": self.complete,
            "origin": str(self.origin),
            "overwrite": self.overwrite,
        }
        written_whole(self.path, json.dumps(content, indent=1))

    def remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()

    def check_same(self, other: Journal) -> None:
        """Raise UsageError, naming what differs, where the two are not of one run."""
        keys = [*self.facts, *(key for key in other.facts if key not in self.facts)]
        differ = [
            f"{key} was {_told(self.facts, key)} and is {_told(other.facts, key)}"
            for key in keys
            if self.facts.get(key) != other.facts.get(key)
        ]
        if differ:
            raise UsageError(
                f"{self.path}: cannot go on with what was begun: {'; '.join(differ)}; "
                "run with the same again, or from the start with --overwrite"
            )


def journal_path(outputs: Sequence[Path]) -> Path:
    """Beside the first output: film.mp4 → film.part.json."""
    return part_of(outputs[0]).with_suffix(".json")


def read_journal(path: Path) -> Journal | None:
    """The journal of a path, None where there is none; raises UsageError if it is no such."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        facts, begins, complete = content["facts"], content["begins"], content["complete"]
        origin, overwrite = Fraction(content["origin"]), content.get("overwrite", False)
        whole = isinstance(facts, dict) and isinstance(begins, list) and begins[:1] == [0]
        if not whole or any(type(begin) is not int for begin in begins):
            raise ValueError("not a journal")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as exc:
        raise UsageError(
            f"{path}: is not a journal of RustVid, or is damaged; start again with --overwrite"
        ) from exc
    return Journal(path, facts, begins, bool(complete), origin, overwrite is True)


def check_journal(outputs: Sequence[Path], output: OutputConfig) -> None:
    """Refuse to write over what may be hours of work, unless that is wanted."""
    if not outputs or output.resume or output.overwrite:
        return
    path = journal_path(outputs)
    if path.exists():
        raise UsageError(
            f"{path}: tells of a run that was broken off; add --resume to go on with it, "
            "or --overwrite to start again"
        )


def facts_of(config: Config, digest: str) -> dict[str, Any]:
    """What makes a run: input, model and every option that changes the result."""
    outputs = {f"output.{kind}": bool(getattr(config.output, kind)) for kind in ("path", "mask")}
    return {
        "input": "; ".join(map(identity, files_of(config))),
        "positions": "; ".join(identity(p) for p in map(beside_of, files_of(config)) if p),
        **settings_of(config, digest),
        **outputs,
    }


def settings_of(config: Config, digest: str) -> dict[str, Any]:
    """Version, model and every option that changes the result."""
    flat = {
        key: value
        for key, value in _flat(as_dict(config), "")
        if key not in _FREE and not key.startswith(_OF_CAMERAS)
    }
    return {"version": f"{__version__} ({LIBRARY})", "weights": digest, **flat}


def identity(path: Path) -> str:
    """Size and a hash of head and tail; of a folder, names and sizes of photos. Raises OSError."""
    seen = hashlib.sha256()
    if path.is_dir():
        photos = photos_in(path)
        for photo in photos:
            told = f"{photo.name}\0{photo.stat().st_size}\n"
            seen.update(told.encode(errors="surrogateescape"))  # a name need be no UTF-8
        return f"{len(photos)} photos, sha256 {seen.hexdigest()[:16]}"
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        seen.update(file.read(_PROBE))
        file.seek(max(0, size - _PROBE))
        seen.update(file.read(_PROBE))
    return f"{size} bytes, sha256 {seen.hexdigest()[:16]}"


def written_whole(path: Path, text: str) -> None:
    """Replace a small text file, whole or not at all, whatever happens; raises SinkError."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        synced(path.parent)
    except OSError as exc:
        with suppress(OSError):
            fresh.unlink()
        raise SinkError(f"{path}: cannot be written ({exc.strerror}); check the folder") from exc


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found


def _told(facts: Mapping[str, Any], key: str) -> str:
    return repr(facts[key]) if key in facts else "not there"
