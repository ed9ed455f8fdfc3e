"""What a result was measured on and with: part of every JSON. Names no host, no user, no folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av

from rustvid.budget import available
from rustvid.files import replacing

PACKAGE = Path(__file__).resolve().parents[1]
PACKAGES = (
    "av",
    "ai-edge-litert",
    "keras",
    "numpy",
    "opencv-python-headless",
    "pydensecrf2",
    "scikit-learn",
    "tensorflow",
    "tensorflow-cpu",
)
_NVIDIA = Path("/proc/driver/nvidia")


def facts() -> dict[str, Any]:
    """Processor, memory, system, versions, the code that was measured, and the day."""
    return {
        "processor": processor(),
        "cores": cores(),
        "cores_allowed": available(),
        "bfloat16": bool({"avx512_bf16", "amx_bf16"} & set(_cpuinfo("flags").split())),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "gpus": gpus(),
        "gpu_driver": _gpu_driver(),
        "system": _system(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "ffmpeg": {name: ".".join(map(str, v)) for name, v in av.library_versions.items()},
        "rustvid_sha256": code_digest(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor() -> str:
    """The model's name, with family and model number where the name says little."""
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    family, model = _cpuinfo("cpu family"), _cpuinfo("model")
    return f"{name} (family {family}, model {model})" if family else name


def cores() -> int:
    """Cores of the processor that this process may be put on, whatever a quota leaves of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The names of NVIDIA's, as their driver gives them; of others, none is known."""
    found = []
    for path in sorted(_NVIDIA.glob("gpus/*/information")):
        fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        found.append(fields.get("Model", "unknown").strip())
    return found


def _gpu_driver() -> str | None:
    path = _NVIDIA / "version"
    if not path.exists():
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", path.read_text())
    return found.group() if found else None


def code_digest() -> str:
    """SHA-256 over rustvid's sources and shipped weights: says which code a result belongs to."""
    digest = hashlib.sha256()
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.npz")]):
        digest.update(
            path.relative_to(PACKAGE.parent).as_posix().encode() + b"\0" + path.read_bytes()
        )
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, which may be larger than the memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write a result, readable and whole or not at all; raises SinkError."""
    with replacing(path) as part:
        part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo(key: str) -> str:
    """A value of the first core in /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _memory_bytes() -> int:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    except OSError:
        return f"{platform.system()} {platform.release()}, {platform.machine()}"
