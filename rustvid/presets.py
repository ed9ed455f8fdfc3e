"""Where the shipped configurations lie."""

from __future__ import annotations

from pathlib import Path

from rustvid.errors import ConfigError


def config_path(name: str) -> Path:
    """A path, or the shipped configuration of that name."""
    if name.lower().endswith((".yaml", ".yml")) or Path(name).is_file():
        return Path(name)
    package = Path(__file__).parent
    installed, checkout = package / "configs", package.parent / "configs"
    folder = installed if installed.is_dir() else checkout
    shipped = folder / f"{name}.yaml"
    if not shipped.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ConfigError(f"--config {name}: not a .yaml file nor one of {known}")
    return shipped
