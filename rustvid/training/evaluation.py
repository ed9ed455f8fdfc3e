"""What `rustvid evaluate` does: judge, draw, write; it returns the text for the screen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from rustvid.config import Config
from rustvid.errors import SinkError, UsageError
from rustvid.files import made_folder
from rustvid.method.classify import Network
from rustvid.method.model import Model
from rustvid.training import data, evaluate, masks, plots, sheets, tables
from rustvid.training.evaluate import ClassReport
from rustvid.training.examples import Example, ExampleSet, told_apart
from rustvid.training.masks import Mask, MaskReport, SetReport
from rustvid.training.sheets import Tile

SHOWN = 4  # best, median and worst pictures of a set on its sheet, each


@dataclass(frozen=True)
class Evaluation:
    """What was found: the text for a reader, the facts for JSON, the files written."""

    text: str
    facts: dict[str, Any]
    outputs: tuple[Path, ...] = ()

    @property
    def json(self) -> str:
        """The facts as JSON."""
        return json.dumps(self.facts, indent=1, ensure_ascii=False)

    def write_json(self, path: Path) -> Path:
        """The facts as a JSON file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = self.json + "\n"
            path.write_text(text, "utf-8", "backslashreplace")  # names that are no text: \udcff
        except OSError as exc:
            raise SinkError(f"{path}: cannot be written ({exc.strerror})") from exc
        return path


def evaluate_classify(
    folder: Path, config: Config, out: Path | None = None, model: Network | None = None
) -> Evaluation:
    """p(corrosion) of the photos in folder/corrosion and folder/not_corrosion.

    out: folder for roc.png, precision-recall.png, reliability.png and mistakes.png
    model: one that is loaded already; None loads `config.model`
    Raises UsageError where the folder is not such a set or matplotlib is missing for `out`.
    """
    photos = data.PhotoFolder(folder)
    if out:
        plots.check()
        made_folder(out)
    model = model or Model(config.model, config.localise)
    watched = tables.watched(photos, "photos", len(photos))
    report = evaluate.classify(watched, model, config.model.threshold)
    left_out = f"left out: {photos.faults}"
    facts = {
        "data": folder.resolve().name,
        "sha256": photos.listing,
        "model": _model_facts(model),
        "left_out": dict(photos.faults.names),
        **report.as_dict(),
    }
    outputs = _drawn(report, folder, out) if out else ()
    return Evaluation(f"{tables.class_report(report)}\n{left_out}", facts, outputs)


def _drawn(report: ClassReport, folder: Path, out: Path) -> tuple[Path, ...]:
    drawn = (
        plots.roc(report, out / "roc.png"),
        plots.precision_recall(report, out / "precision-recall.png"),
        plots.reliability(report, out / "reliability.png"),
    )
    tiles = []
    for index in report.mistakes():
        image = data.decode(data.read(folder / report.names[index]))
        if image is None:
            raise UsageError(f"{folder / report.names[index]}: changed while it was evaluated")
        said = f"p {report.probability[index]:.3f}, is {report.names[index].split('/')[0]}"
        tiles.append(Tile(image, (said, report.sources[index] or report.names[index])))
    if not tiles:
        return drawn
    return (*drawn, sheets.save(sheets.sheet(sheets.grid(tiles)), out / "mistakes.png"))


def evaluate_segment(
    sets: Sequence[ExampleSet],
    config: Config,
    out: Path | None = None,
    model: Network | None = None,
) -> Evaluation:
    """Masks of the colour rule and of every stage of the model on every set, in one table.

    out: folder for a sheet of the best, median and worst pictures of every set: NAME.png
    Sets of one name are told apart by their folder's, or by a number.
    """
    sets = told_apart(sets)
    for chosen in sets:
        if next(iter(chosen), None) is None:  # what is wrong is told before the model loads
            raise UsageError(f"{chosen.path}: holds no picture")
    if out:
        if any(chosen.path.resolve() == out.resolve() for chosen in sets):
            raise UsageError(f"{out}: holds what is evaluated; choose another --out")
        made_folder(out)
    model = model or Model(config.model, config.localise)
    reports, outputs = [], []
    for chosen in sets:
        watched = tables.watched(chosen, chosen.name)
        reports.append(masks.judge(chosen.name, watched, model, config))
        if out:
            outputs.append(mask_sheet(chosen, reports[-1], model, config, out))
    notes = [chosen.note for chosen in sets if chosen.note]
    facts = {
        "model": _model_facts(model),
        "sets": {report.name: report.as_dict() for report in reports},
        "half": sorted({chosen.half for chosen in sets}),
        "every": sorted({chosen.every for chosen in sets}),
        "notes": notes,
    }
    return Evaluation("\n".join([tables.mask_report(reports), *notes]), facts, tuple(outputs))


def mask_sheet(
    chosen: ExampleSet, found: SetReport, model: Network, config: Config, out: Path
) -> Path:
    """Photo, truth and mask of the best, the median and the worst pictures of a set."""
    report = list(found.methods.values())[-1]
    picked = ranked(report)
    names = {report.names[index] for indices in picked.values() for index in indices}
    again = {e.name: (e, mask) for e, mask in masks.final_masks(chosen, model, config, names)}
    probability = dict(zip(report.names, found.probability, strict=True))
    columns: list[list[Sequence[Tile]]] = []
    for kind, indices in picked.items():
        columns.append([])
        for index in indices:
            name = report.names[index]
            told = (f"{kind}: {name}", f"p {probability[name]:.2f}")
            columns[-1].append(_mask_row(*again[name], told, report.counts[index]))
    rows = [
        [tile for part in parts for tile in part] for parts in zip_longest(*columns, fillvalue=())
    ]
    return sheets.save(sheets.sheet(rows), out / f"{chosen.name}.png")


def ranked(report: MaskReport, most: int = SHOWN) -> dict[str, list[int]]:
    """Indices of the best, median and worst pictures, by IoU where a set has rust and by marked
    area where it has none; none twice."""
    score = report.ious if report.has_rust else -np.array([c.marked for c in report.counts])
    order = [int(i) for i in np.argsort(-score, kind="stable") if not np.isnan(score[i])]
    most = min(most, -(-len(order) // 3))
    best, worst = order[:most], order[most:][-most:]
    between = order[most : len(order) - len(worst)]
    middle = max(0, (len(between) - most) // 2)
    return {"best": best, "median": between[middle : middle + most], "worst": worst}


def _mask_row(
    example: Example, mask: Mask, told: tuple[str, str], count: Any
) -> tuple[Tile, Tile, Tile]:
    true = 100 * count.positives / count.total
    iou = f"{count.iou:.2f}" if count.positives or count.marked else "none"  # drawn in ASCII
    return (
        Tile(example.image, told),
        Tile(sheets.tinted(example.image, example.mask), (f"truth: {true:.1f} %",)),
        Tile(
            sheets.tinted(example.image, mask),
            (f"mask: {100 * count.marked:.1f} %", f"IoU {iou}"),
        ),
    )


def _model_facts(model: Network) -> dict[str, Any]:
    return {
        "name": model.name,
        "sha256": model.digest,
        "precision": model.precision,
        "size": list(model.size),
        "kind": model.kind,
    }
