"""`rustvid evaluate`: what is read, what is measured, what is shown."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
from pathlib import Path

import av
import cv2
import fakes
import media
import numpy as np
import pytest

from rustvid import cli
from rustvid.config import SourceConfig
from rustvid.errors import SourceError, UsageError
from rustvid.report import tables as report_tables
from rustvid.training import data, evaluate, evaluation, masks, metrics, plots, sheets, tables
from rustvid.training.evaluate import ClassReport
from rustvid.training.examples import Example, ExampleSet, half_of, told_apart
from rustvid.video import open_source

STEEL, RUST = (90, 110, 150), media.RUST
SHAPE = (120, 160)


def save(path: Path, image: np.ndarray) -> None:
    """Write RGB or grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def rusty(rust: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: rust where the mask is, steel elsewhere."""
    return np.where(rust[..., None], np.uint8(RUST), np.uint8(STEEL)).astype(np.uint8)


def block(width: int) -> np.ndarray:
    """(120, 160) bool: the left `width` columns."""
    found = np.zeros(SHAPE, bool)
    found[:, :width] = True
    return found


def noise(seed: int) -> np.ndarray:
    """(120, 160, 3) uint8, blue and green only, unlike any other seed's."""
    coarse = np.random.default_rng(seed).uniform(0, 120, (6, 8, 3)) * (0, 1, 1)
    return cv2.resize(coarse.astype(np.float32), SHAPE[::-1]).astype(np.uint8)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Six photos a class, two of each the wrong way round, from two sources."""
    folder = tmp_path / "photos"
    rows = ["file,source,licence"]
    for number in range(6):
        odd = number < 2
        spot = noise(number)
        spot[20:90, 30:120] = RUST
        for label, image in ((data.CORROSION, spot), (data.CLEAN, noise(number + 50))):
            wrong = data.CLEAN if label == data.CORROSION else data.CORROSION
            name = f"{wrong if odd else label}/{label}{number}.png"
            save(folder / name, image)
            rows.append(f'photos/{name},"{"a, b" if odd else "c"}",none')
    (tmp_path / "sources.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Photos with rust over 40, 80 and 120 columns and masks that say so."""
    folder = tmp_path / "masked"
    for width in (40, 80, 120):
        save(folder / f"w{width}.jpg", rusty(block(width)))
        save(folder / f"w{width}.png", block(width).astype(np.uint8) * 3)
    return folder


# --- photos with labels ----------------------------------------------------------------------


def test_labels_that_are_wrong_are_the_mistakes(labelled: Path) -> None:
    found = evaluation.evaluate_classify(labelled, fakes.quick(), model=fakes.ColourModel())
    facts = found.facts
    assert facts["confusion"] == {"tp": 4, "fp": 2, "fn": 2, "tn": 4}
    for name in ("accuracy", "precision", "recall", "F1"):
        assert facts[name]["value"] == pytest.approx(2 / 3, abs=1e-4)
        assert facts[name]["low"] < 2 / 3 < facts[name]["high"]
    assert facts["AUC"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    wrong = {"corrosion/not_corrosion0.png", "not_corrosion/corrosion1.png"}
    assert wrong < {mistake["name"] for mistake in facts["mistakes"]}
    assert len(facts["mistakes"]) == 4


def test_sources_beside_the_folder_split_the_result(labelled: Path) -> None:
    found = evaluation.evaluate_classify(labelled, fakes.quick(), model=fakes.ColourModel())
    assert found.facts["sources"] == {
        "c": {"photos": 8, "accuracy": 1.0},
        "a, b": {"photos": 4, "accuracy": 0.0},
    }
    assert "a, b" in found.text and "0.667" in found.text


def test_faulty_photos_are_named_in_the_evaluation(labelled: Path) -> None:
    (labelled / data.CORROSION / "broken.jpg").write_bytes(b"not a picture")
    twin = labelled / data.CORROSION / "corrosion4.png"
    (labelled / data.CLEAN / "z.png").write_bytes(twin.read_bytes())
    found = evaluation.evaluate_classify(labelled, fakes.quick(), model=fakes.ColourModel())
    assert found.facts["left_out"] == {
        "unreadable": ["corrosion/broken.jpg"],
        "in both classes": ["not_corrosion/z.png"],
    }
    assert "1 unreadable (corrosion/broken.jpg)" in found.text
    assert found.facts["photos"] == 12


def test_plots_and_mistakes_are_drawn(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluation.evaluate_classify(labelled, fakes.quick(), out, fakes.ColourModel())
    names = {path.name for path in found.outputs}
    assert names == {"roc.png", "precision-recall.png", "reliability.png", "mistakes.png"}
    for path in found.outputs:
        picture = cv2.imread(str(path))
        assert picture is not None and picture.std() > 5
    sheet = cv2.imread(str(out / "mistakes.png"))
    assert sheet.shape[1] == 4 * (sheets.TILE + 6) + 6  # four mistakes in a row


def test_without_matplotlib_a_plot_names_the_extra_before_the_work(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoModel(fakes.ColourModel):
        def look(self, images: object) -> object:  # type: ignore[override]
            raise AssertionError("the work began")

    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"rustvid\[plots\]"):
        evaluation.evaluate_classify(labelled, fakes.quick(), tmp_path / "out", NoModel())
    assert not (tmp_path / "out").exists()


def test_the_worst_mistakes_come_first_and_at_most_24() -> None:
    truth = np.zeros(60, bool)
    probability = np.linspace(0, 1, 60)
    report = ClassReport([str(i) for i in range(60)], truth, probability, [""] * 60)
    assert report.mistakes() == list(range(59, 35, -1))
    assert report.by_source() == {}


def test_a_batch_that_is_not_full_is_answered_too(labelled: Path) -> None:
    model = fakes.ColourModel()
    model.batch = 5
    photos = list(data.PhotoFolder(labelled))
    answers = list(evaluate.looks(photos, model, lambda photo: photo.image))
    assert [photo.name for photo, _, _ in answers] == [photo.name for photo in photos]


# --- masks -----------------------------------------------------------------------------------


def test_true_masks_are_found_and_the_floor_is_measured_too(masked: Path) -> None:
    (masked / "alone.jpg").write_bytes((masked / "w40.jpg").read_bytes())
    found = evaluation.evaluate_segment(
        [ExampleSet(masked)], fakes.quick(), model=fakes.ColourModel()
    )
    methods = found.facts["sets"]["masked"]["methods"]
    assert set(methods) == {masks.FLOOR, "evidence > level"}
    student = methods["evidence > level"]
    assert student["pictures"] == 3 and student["IoU"]["value"] > 0.97
    assert student["area error"]["value"] < 1 and student["clean_marked"] is None
    assert methods[masks.FLOOR]["IoU"]["value"] > 0.97
    assert found.facts["notes"] == ["masked: left out, without a mask: 1 (alone.jpg)"]
    assert "evidence > level" in found.text and "(alone.jpg)" in found.text


def test_every_stage_of_a_classifier_is_judged(masked: Path) -> None:
    class Heat(fakes.ColourModel):
        kind = "classifier"

    config = fakes.quick("refine.method=auto", "refine.erosion=1")
    report = masks.judge("masked", ExampleSet(masked), Heat(), config)
    assert set(report.methods) == {masks.FLOOR, *masks.STAGES["classifier"]}
    assert list(report.methods)[-1] == "K-means + CRF"  # what a run of it ends with
    for label, stage in report.methods.items():
        assert stage.pooled.iou > 0.9, label
        assert stage.seconds > 0


def test_a_method_that_is_asked_for_is_judged_beside_the_others() -> None:
    config = fakes.quick("refine.method=crf").refine
    assert [s.method for s in masks.stages(config, "student").values()] == ["student", "crf"]
    found = masks.stages(config, "classifier")
    assert set(found) == set(masks.STAGES["classifier"]) and list(found)[-1] == "CRF"
    heated = masks.stages(fakes.quick("refine.method=threshold").refine, "classifier")
    assert list(heated)[-1] == "heat map ≥ T"  # what a run ends with is what is judged further


def test_a_picture_that_is_not_called_corroded_stays_unmarked(masked: Path) -> None:
    config = fakes.quick("model.threshold=0.95")
    report = masks.judge("masked", ExampleSet(masked), fakes.ColourModel(), config)
    found = report.methods["evidence > level"]
    assert report.called == 0 and found.marked == 0 and found.pooled.recall == 0
    assert found.estimates["area error"].value == pytest.approx(50)


def test_a_clean_picture_is_marked_if_one_pixel_is() -> None:
    report = masks.MaskReport()
    for name, pixels in (("clean", 0), ("a pixel", 1)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[0, :pixels] = 1
        report.add(Example(name, rusty(block(0)), block(0), name), mask)
    assert report.clean_marked == 0.5


def test_the_measures_of_masks_equal_values_computed_by_hand() -> None:
    report = masks.MaskReport()
    half = np.zeros(SHAPE, np.uint8)
    half[:, :80] = 1
    for width in (80, 40, 0):
        name = f"w{width}"
        report.add(Example(name, rusty(block(width)), block(width), name), half)
    e = report.estimates
    assert e["IoU"].value == pytest.approx(120 / 240)
    assert e["mean IoU"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert e["precision"].value == pytest.approx(120 / 240) and e["recall"].value == 1
    assert e["area error"].value == pytest.approx((0 + 25 + 50) / 3)
    assert report.marked == 1 and report.clean_marked == 1 and len(report.clean) == 1
    assert e["area error"].low < 25 < e["area error"].high


def test_footage_without_masks_is_clean_footage(clips: Path) -> None:
    path = media.clip(clips / "rusty-clean.mp4", frames=12)
    chosen = ExampleSet(path, every=5)
    assert not chosen.has_masks and "taken as clean" in chosen.note
    report = masks.judge(chosen.name, chosen, fakes.ColourModel(), fakes.quick())
    found = report.methods["evidence > level"]
    assert len(found.counts) == 3 and not found.has_rust
    assert found.clean_marked == 1  # the clip has a rusty patch
    (row, _) = [r for r in tables.mask_rows([report])]
    assert row[2] == "–"


def write_masks(path: Path, masks: list[np.ndarray], rotation: int = 0) -> None:
    """The film of masks that belongs to a film: (h, w) bool each, as stored."""
    with av.open(str(path.with_suffix(".masks.mkv")), "w") as film:
        stream = film.add_stream("ffv1", 30)
        stream.height, stream.width = masks[0].shape
        stream.pix_fmt = "gray"
        if rotation:
            stream.set_display_rotation(rotation)
        for mask in masks:
            grey = np.ascontiguousarray(mask, np.uint8) * 255
            film.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        film.mux(stream.encode())


def test_a_film_is_read_with_its_film_of_masks_in_step(clips: Path) -> None:
    path = media.clip(clips / "steps.mp4", frames=12)
    write_masks(path, [block(10 * number) for number in range(12)])
    examples = list(ExampleSet(path, every=4))
    assert [e.name for e in examples] == ["steps/0", "steps/4", "steps/8"]
    assert [int(e.mask.sum()) for e in examples] == [0, 40 * 120, 80 * 120]
    assert {e.group for e in examples} == {"steps/0 s"}


def test_a_lying_film_is_judged_upright(tall_clip: Path) -> None:
    (example, *_) = ExampleSet(tall_clip)
    assert example.image.shape == (160, 120, 3) and example.mask.shape == (160, 120)


@pytest.mark.parametrize(
    ("kind", "rotation"),
    [  # turned by 180°, an upright mask has the shape of a stored one: nothing tells them apart
        *[("upright", rotation) for rotation in (90, 270)],
        *itertools.product(("tagged", "untagged", "small"), (90, 180, 270)),
    ],
)
def test_masks_are_turned_upright_as_their_film_is(
    tmp_path: Path, rotation: int, kind: str
) -> None:
    """By their own tag; without one as the film, unless they have its upright shape already."""
    path = tmp_path / "phone.mp4"
    media.clip(path, frames=1, size=(120, 160), rotation=rotation, audio=0)
    true = media.patch_mask((120, 160)).astype(bool)
    mask = true if kind == "upright" else np.rot90(true, -rotation // 90)
    write_masks(path, [mask[::2, ::2] if kind == "small" else mask], rotation * (kind == "tagged"))
    (example,) = ExampleSet(path)
    assert np.array_equal(example.mask, true[::2, ::2] if kind == "small" else true)


def test_a_film_of_masks_of_another_shape_is_named(tmp_path: Path) -> None:
    path = media.clip(tmp_path / "film.mp4", frames=1, audio=0)
    write_masks(path, [np.zeros((120, 120), bool)])
    with pytest.raises(UsageError, match=r"film\.masks\.mkv: 120×120 .*of the film, 160×120"):
        list(ExampleSet(path))


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_a_film_is_judged_by_the_pixels_that_a_run_sees(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "film.mp4"
    media.clip(path, frames=1, size=size, tagged=False, audio=0, rotation=90, options={"qp": "4"})
    (example,) = ExampleSet(path)
    with open_source(str(path), (224, 224), SourceConfig()) as source:
        (frame,) = source.frames()
    assert np.array_equal(example.seen((224, 224)), frame.image)
    whole = cv2.resize(example.image, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs((whole - frame.image).mean(axis=(0, 1))).max() < 1.5  # the colour rule's, too


def test_what_is_wrong_with_a_set_is_named(tmp_path: Path, masked: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or film"):
        ExampleSet(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="mask of the same name"):
        list(ExampleSet(tmp_path / "empty"))
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(SourceError, match=r"text\.mp4"):
        list(ExampleSet(tmp_path / "text.mp4"))
    save(masked / "w40.png", np.zeros((100, 300), np.uint8))
    with pytest.raises(UsageError, match=r"w40\.png: 300×100"):
        list(ExampleSet(masked))


def test_a_mask_is_found_whatever_the_case_of_its_suffix(masked: Path) -> None:
    for path in sorted(masked.iterdir()):
        path.rename(path.with_suffix(path.suffix.upper()))
    cv2.imwrite(str(masked / "w80.tif"), cv2.imread(str(masked / "w80.JPG")))
    (masked / "w80.JPG").unlink()
    assert len(list(ExampleSet(masked))) == 3 and not ExampleSet(masked).note


def test_a_photo_is_no_set(masked: Path) -> None:
    with pytest.raises(UsageError, match=r"w40\.jpg: is one photo; name its folder, /.*masked$"):
        ExampleSet(masked / "w40.jpg")


def test_the_halves_part_the_photos_by_name(masked: Path) -> None:
    names = {e.name for e in ExampleSet(masked)}
    tune = {name for name in names if half_of(name) == "tune"}
    for half, wanted in (("tune", tune), ("final", names - tune)):
        if wanted:
            assert {e.name for e in ExampleSet(masked, half)} == wanted
        else:
            with pytest.raises(UsageError, match="half"):
                list(ExampleSet(masked, half))


def test_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/plant", "b/plant", "b/plant.2", "c/b-plant")]
    for path in paths:
        path.mkdir(parents=True)
    (tmp_path / "b" / "site.v1.mp4").touch()
    sets = [ExampleSet(path) for path in (*paths, tmp_path / "b" / "site.v1.mp4", paths[0])]
    names = [chosen.name for chosen in told_apart(sets)]
    assert names == ["a-plant", "b-plant-2", "plant.2", "b-plant", "site.v1", "a-plant-2"]
    alone = [chosen.name for chosen in told_apart(sets[2:5])]
    assert alone == ["plant.2", "b-plant", "site.v1"]


def test_each_set_has_its_own_row_and_sheet(masked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "masked"
    shutil.copytree(masked, other)
    out = tmp_path / "out"
    sets = [ExampleSet(masked), ExampleSet(other)]
    found = evaluation.evaluate_segment(sets, fakes.quick(), out, fakes.ColourModel())
    assert list(found.facts["sets"]) == [f"{tmp_path.name}-masked", "other-masked"]
    assert len({path for path in found.outputs if path.exists()}) == 2


def test_pictures_of_one_name_are_two_pictures() -> None:
    first, second = (Example("plant/1", noise(seed), block(9), "plant/1") for seed in (1, 2))
    kept = [first, second]
    kept.remove(second)  # as tune does, which keeps few
    assert kept == [first] and first != second


def test_best_median_and_worst_are_different_pictures() -> None:
    report = masks.MaskReport()
    for number in range(20):
        report.counts.append(metrics.Confusion(number + 1, 20 - number, 0, 0))
        report.groups.append(str(number))
        report.names.append(str(number))
    picked = evaluation.ranked(report)
    assert picked == {"best": [19, 18, 17, 16], "median": [11, 10, 9, 8], "worst": [3, 2, 1, 0]}
    few = masks.MaskReport(report.counts[:2], report.groups[:2], report.names[:2])
    chosen = [i for indices in evaluation.ranked(few).values() for i in indices]
    assert sorted(chosen) == [0, 1]


def test_the_sheet_shows_photo_truth_and_mask(masked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluation.evaluate_segment(
        [ExampleSet(masked)], fakes.quick(), out, fakes.ColourModel()
    )
    (path,) = found.outputs
    sheet = cv2.imread(str(path))[..., ::-1].astype(int)
    assert path == out / "masked.png"
    assert sheet.shape[1] == 9 * (sheets.TILE + 6) + 6  # three of each of three pictures
    first, truth, mask = (sheet[6:186, 6 + 246 * i : 246 + 246 * i] for i in range(3))
    tinted = np.abs(first - truth).max(axis=2) > 20
    assert 0.2 < tinted.mean() < 0.8
    assert (tinted == (np.abs(first - mask).max(axis=2) > 20)).mean() > 0.95


def test_json_holds_every_figure_and_no_nan(masked: Path, tmp_path: Path) -> None:
    found = evaluation.evaluate_segment(
        [ExampleSet(masked)], fakes.quick("model.threshold=0.95"), model=fakes.ColourModel()
    )
    path = found.write_json(tmp_path / "deep" / "figures.json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    facts = json.loads(path.read_text(), parse_constant=refuse)
    assert facts["model"]["name"] == "colour" and facts["sets"]["masked"]["called"] == 0


def test_json_takes_names_that_are_no_text(tmp_path: Path) -> None:
    facts = {"name": "r\udcf6st.jpg", "set": "Brücke"}
    path = evaluation.Evaluation("", facts).write_json(tmp_path / "figures.json")
    assert json.loads(path.read_text("utf-8")) == facts


# --- measures --------------------------------------------------------------------------------


def test_roc_and_precision_recall_pass_through_every_threshold() -> None:
    truth = np.array([1, 1, 0, 1, 0], bool)
    score = np.array([0.9, 0.8, 0.8, 0.3, 0.1])
    alarms, recall = metrics.roc(truth, score)
    assert alarms.tolist() == [0, 0, 0.5, 0.5, 1]
    assert recall.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    area = np.sum(np.diff(alarms) * (recall[1:] + recall[:-1]) / 2)
    assert area == pytest.approx(metrics.auc(truth, score))
    found, precise = metrics.precision_recall(truth, score)
    assert found.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert precise.tolist() == pytest.approx([1, 2 / 3, 3 / 4, 3 / 5])


def test_rank_correlation_knows_order_and_not_size() -> None:
    a = np.array([1.0, 2, 3, 4])
    assert metrics.spearman(a, a**3) == pytest.approx(1)
    assert metrics.spearman(a, -np.exp(a)) == pytest.approx(-1)
    assert metrics.spearman(a, np.array([1, 1, 2, 2])) == pytest.approx(2 / np.sqrt(5))
    assert np.isnan(metrics.spearman(a, np.ones(4)))


def test_items_of_one_group_are_drawn_together() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 50)
    alone = metrics.estimate(lambda i: float(values[i].mean()), range(200))
    together = metrics.estimate(lambda i: float(values[i].mean()), np.repeat(range(4), 50))
    assert alone.value == together.value == 1.5
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_the_interval_of_a_proportion_is_as_wide_as_theory_says() -> None:
    hits = np.arange(400) % 4 == 0
    found = metrics.estimate(lambda i: float(hits[i].mean()), range(400), rounds=2000)
    expected = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found.high - found.value == pytest.approx(expected, rel=0.15)
    assert found.value - found.low == pytest.approx(expected, rel=0.15)


def test_what_is_not_defined_is_told_as_a_dash_and_null() -> None:
    names = ["corrosion/a", "not_corrosion/b", "not_corrosion/c"]
    clean = ClassReport(names[1:], np.zeros(2, bool), np.array([0.1, 0.2]), ["", ""])
    facts = clean.as_dict()
    for name in ("recall", "precision", "F1", "AUC"):
        assert facts[name] == {"value": None, "low": None, "high": None}
        assert str(clean.estimates[name]) == "– (–)"
    assert facts["accuracy"] == {"value": 1, "low": 1, "high": 1}
    alone = ClassReport(names[:1], np.ones(1, bool), np.array([0.9]), [""])
    assert str(alone.estimates["recall"]) == "1.000 (–)"
    assert alone.as_dict()["recall"] == {"value": 1, "low": None, "high": None}


def test_a_film_of_one_second_has_no_interval() -> None:
    report = masks.MaskReport()
    for number in range(3):
        example = Example(f"film/{number}", rusty(block(80)), block(80), "film/0 s")
        report.add(example, block(60 + number).astype(np.uint8))
    assert str(report.estimates["IoU"]) == f"{report.pooled.iou:.3f} (–)"
    assert report.as_dict()["area error"]["low"] is None
    report.counts[:] = [metrics.Confusion(0, 0, 9, 9)] * 3  # nothing is marked
    del report.estimates
    assert np.isnan(report.estimates["precision"].value)
    assert report.estimates["recall"].value == 0


# --- curves ----------------------------------------------------------------------------------


def test_curves_are_drawn_from_a_log(tmp_path: Path) -> None:
    log, header = tmp_path / "log.csv", "step,seconds,loss,val_loss,auc,val_auc\n"
    log.write_text(header + "".join(f"{i},{i},{1 / (i + 1)},,0.5,0.6\n" for i in range(5)))
    drawn = cv2.imread(str(plots.curves(log)))
    assert drawn is not None and drawn.std() > 5
    assert (tmp_path / "log.png").exists()


def test_an_empty_or_broken_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("")
    with pytest.raises(UsageError, match="empty"):
        plots.curves(log)
    log.write_text("step,loss\n1,a\n")
    with pytest.raises(UsageError, match="not a number"):
        plots.curves(log)


# --- the command -----------------------------------------------------------------------------


def test_the_commands_run_with_the_shipped_weights(
    labelled: Path, masked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    assert cli.main(["evaluate", "classify", str(labelled), "--json", str(figures)]) == 0
    shown = capsys.readouterr().out
    assert "12 photos, 6 corroded" in shown and "calibration error" in shown
    facts = json.loads(figures.read_text())
    assert facts["model"]["kind"] == "student" and facts["photos"] == 12
    given = ["evaluate", "segment", str(masked), "--set", "model.threshold=0", "--half", "all"]
    assert cli.main(given) == 0
    assert "HSV rule" in capsys.readouterr().out


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("rust", "clean"):
        (tmp_path / name).mkdir()
    assert cli.main(["evaluate", "classify", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "there are: clean, rust" in told and told.count("\n") == 1


# --- masks as people draw them ---------------------------------------------------------------


def drawn(folder: Path, mask: np.ndarray) -> np.ndarray:
    """The truth that is read of a mask beside a photo."""
    save(folder / "a.jpg", rusty(block(40)))
    cv2.imwrite(str(folder / "a.png"), mask)
    (example,) = ExampleSet(folder)
    return example.mask


@pytest.mark.parametrize(
    ("colour", "elsewhere"),
    [
        ((0, 0, 255, 255), (255, 255, 255, 0)),  # red on transparent white
        ((0, 0, 0, 255), (0, 0, 0, 0)),  # black on nothing
        ((255, 255, 255, 255), (0, 0, 0, 255)),  # opaque everywhere: black is clean
        ((9, 9, 9, 128), (0, 0, 0, 255)),
    ],
)
def test_a_mask_may_be_transparent_where_nothing_is(
    colour: tuple[int, ...], elsewhere: tuple[int, ...], tmp_path: Path
) -> None:
    mask = np.where(block(40)[..., None], np.uint8(colour), np.uint8(elsewhere))
    assert np.array_equal(drawn(tmp_path, mask), block(40))


def test_a_mask_that_says_all_is_corroded_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn(tmp_path, np.where(block(4), np.uint8(0), np.uint8(255)))
    assert "a.png: calls 98 % of the photo corroded" in caplog.text


def test_what_of_a_folder_is_left_out_is_told(masked: Path) -> None:
    for name in ("._a.jpg", "._a.png", "b.heic", "notes.txt"):
        (masked / name).write_bytes(b"x")
    save(masked / "lonely.png", block(4).astype(np.uint8))
    save(masked / "alone.jpg", rusty(block(4)))
    told = ExampleSet(masked).note
    assert "without a mask: 1 (alone.jpg)" in told and ".heic" in told
    assert "1 (lonely.png)" in told and "._a" not in told and "notes" not in told


def test_one_mask_of_two_photos_is_refused(masked: Path) -> None:
    first = next(masked.glob("*.png"))
    for suffix in (".jpg", ".webp"):
        save(first.with_suffix(suffix), rusty(block(40)))
    with pytest.raises(UsageError, match="is the mask of two photos"):
        list(ExampleSet(masked))


def test_a_film_of_masks_that_is_longer_than_its_film_is_of_another(tmp_path: Path) -> None:
    media.clip(tmp_path / "film.mp4", frames=5, audio=0)
    media.clip(tmp_path / "film.masks.mkv", frames=7, audio=0)
    with pytest.raises(UsageError, match="has more frames than film"):
        list(ExampleSet(tmp_path / "film.mp4"))


def test_results_do_not_go_to_the_pictures(masked: Path) -> None:
    with pytest.raises(UsageError, match="holds what is evaluated"):
        evaluation.evaluate_segment([ExampleSet(masked)], fakes.quick(), masked)


def test_figures_may_go_to_stdout(masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "segment", str(masked), "--json", "-"]) == 0
    told = capsys.readouterr()
    assert "sets" in json.loads(told.out) and "HSV rule" in told.err


def test_no_figure_is_cut_short_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    header = [f"measure {number}" for number in range(12)]
    shown = report_tables.rendered("t", header, [["0.123 (0.100–0.200)"] * 12])
    assert shown.count("0.123 (0.100–0.200)") == 12 and "…" not in shown
