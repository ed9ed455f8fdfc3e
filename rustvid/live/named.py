"""Which cameras there are and where each writes: what is known before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from rustvid.config import Config, load_cameras
from rustvid.errors import UsageError
from rustvid.preflight import Paths, preflight
from rustvid.video.address import is_live


def live_paths(config: Config) -> Paths:
    """Where the run of a camera writes; raises what can be known to fail, before it begins."""
    paths = preflight(config)
    if not is_live(str(config.input), config.source):
        raise UsageError(f"{config.input}: is not live; use rustvid.run, or source.live=true")
    return paths


def read_cameras(
    path: Path, above: Callable[[Config], Config] = lambda config: config
) -> tuple[Config, dict[str, Config]]:
    """A file of cameras: what is common, and each camera's configuration by name; see docs/live.md.

    above: changes what is common, before the cameras' own sections come on top
    With `output.folder` a camera that names no output is written to FOLDER/NAME.mp4. Raises
    UsageError, SourceError and SinkError for what can be known to fail.
    """
    common, cameras = load_cameras(path, above)
    named = {name: _named(name, config, path) for name, config in cameras.items()}
    paths_of_all(named)
    return common, named


def paths_of_all(cameras: Mapping[str, Config]) -> dict[str, Paths]:
    """Where each writes; no two to the same file."""
    owners: dict[Path, str] = {}
    found = {}
    for name, config in cameras.items():
        found[name] = live_paths(config)
        for path in found[name].all:
            owner = owners.setdefault(path.resolve(), name)
            if owner != name:
                raise UsageError(f"{path}: is named for {owner} and {name}; give each its own")
    return found


def _named(name: str, config: Config, path: Path) -> Config:
    """A camera's configuration with its output named."""
    output = config.output
    if config.input is None:
        raise UsageError(f"{path}: cameras.{name}.input is missing: the camera's address")
    if output.folder and not (output.path or output.csv):
        output = replace(output, path=str(Path(output.folder) / f"{name}.mp4"))
    wanted = (output.path, output.csv, output.mask, output.republish, config.events.path)
    if not any((*wanted, config.status.address)):
        raise UsageError(
            f"{path}: cameras.{name} writes nothing: add output.folder (--out-dir DIR), or "
            f"output.path to the camera"
        )
    return replace(config, output=replace(output, folder=None))
