"""The result of `rustvid bench` as tables, the stages beside the paper's Table 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rustvid.report.tables import markdown, rendered

# Table 2 of Burton, Nash and Birbilis: seconds for one picture, means of 10 runs
_PAPER = {
    "paper: Intel Core i7-8650U": (0.95, 9.89, 3.83, 14.96),
    "paper: Intel Xeon 2.20 GHz": (2.62, 26.13, 2.63, 30.69),
    "paper: Tesla P-100 + Xeon": (0.05, 0.18, 2.56, 2.83),
    "paper: Tesla K80 + Xeon": (0.17, 0.88, 3.16, 4.40),
}
_TASKS = ("Classify", "Localise (Grad-CAM++)", "Refine (CRF: 25 epochs)", "End-to-End")
_STAGES = ("Device", "Task", "Seconds a frame, median", "p90")
_RACE = (
    "",
    "frames",
    "analysed",
    "frames/s, median (min–max)",
    "× transcode",
    "processor ms/frame",
    "peak MB",
    "real time",
)
_SCALING = ("workers", "frames/s", "× one worker", "per worker")
_SIZES = ("film", "size", "rate", "preset, model", "frames/s", "real time")


def report(result: dict[str, Any], as_markdown: bool = False) -> str:
    """All tables, one below the other."""
    note = "× transcode: decoding and encoding alone, with the same encoder, in the same round."
    tables = [
        ("machine", ("", ""), list(_machine(result)), ""),
        ("stages, each alone", _STAGES, list(_stages(result)), result["notes"]["stages"]),
        ("whole runs", _RACE, list(_race(result)), note),
        ("refinement by workers", _SCALING, list(_scaling(result)), result["notes"]["refine"]),
        ("real time", _SIZES, list(_real_time(result)), _unmeasured(result)),
    ]
    parts = []
    for title, header, rows, caption in tables:
        if not rows:
            continue
        if as_markdown:
            below = f"\n\n{caption}" if caption else ""
            parts.append(f"{title}\n\n{markdown(header, rows)}{below}")
        else:
            parts.append(rendered(title, header, rows, caption))
    return "\n\n".join(parts)


def _machine(result: dict[str, Any]) -> Iterator[list[str]]:
    facts = result["machine"]
    whole = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB of memory"
    yield ["processor", whole]
    driver = f", driver {facts['gpu_driver']}" if facts.get("gpu_driver") else ""
    yield ["GPU", (", ".join(facts["gpus"]) + driver) if facts.get("gpus") else "none"]
    yield ["system", f"{facts['system']}, Python {facts['python']}"]
    yield ["packages", ", ".join(f"{name} {of}" for name, of in facts["packages"].items())]
    yield ["precision", ", ".join(f"{name} {of}" for name, of in result["precision"].items())]


def _stages(result: dict[str, Any]) -> Iterator[list[str]]:
    facts = result["machine"]
    here = ", ".join([*facts.get("gpus", ()), f"{facts['processor']}, {facts['cores']} cores"])
    for label, stage in result["stages"].items():
        yield [here, label, f"{stage['median']:.4f}", f"{stage['p90']:.4f}"]
        here = ""
    for device, seconds in _PAPER.items():
        shown = device
        for task, value in zip(_TASKS, seconds, strict=True):
            yield [shown, task, f"{value:.2f}", "–"]
            shown = ""


def _race(result: dict[str, Any]) -> Iterator[list[str]]:
    for name, facts in result["contestants"].items():
        fps, ratio = facts["fps"], facts.get("of_transcode")
        verdict = facts.get("real_time")
        yield [
            name,
            str(facts["frames"]),
            "–" if facts["analysed_frames"] is None else str(facts["analysed_frames"]),
            f"{fps['median']:.1f} ({fps['min']:.1f}–{fps['max']:.1f})",
            f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else "–",
            f"{facts['cpu_ms_per_frame']['median']:.1f}",
            f"{facts['peak_mb']:.0f}" if "peak_mb" in facts else "–",
            "–" if verdict is None else _yes(verdict),
        ]


def _scaling(result: dict[str, Any]) -> Iterator[list[str]]:
    crews = [facts for facts in result["contestants"].values() if "workers" in facts]
    for facts in crews:
        speed, count = facts["fps"]["median"], facts["workers"]
        gain = speed / crews[0]["fps"]["median"]
        yield [str(count), f"{speed:.2f}", f"{gain:.2f}", f"{gain / count:.2f}"]


def _real_time(result: dict[str, Any]) -> Iterator[list[str]]:
    for name, film in result["films"].items():
        for label, facts in result["contestants"].items():
            if facts["film"] == name and "preset" in facts:
                width, height = film["size"]
                yield [
                    film["name"],
                    f"{width}×{height}",
                    f"{film['frames_per_second']:g}",
                    label.removesuffix(f", {name}"),
                    f"{facts['fps']['median']:.1f}",
                    _yes(facts["real_time"]),
                ]


def _unmeasured(result: dict[str, Any]) -> str:
    heights = {film["size"][1] for film in result["films"].values()}
    left = [
        name for name, of in {"720p": 720, "1080p": 1080, "4K": 2160}.items() if of not in heights
    ]
    left += result.get("left_out", [])  # for want of time
    return f"Not measured: {'; '.join(left)}." if left else ""


def _yes(verdict: bool) -> str:
    return "yes" if verdict else "no"
