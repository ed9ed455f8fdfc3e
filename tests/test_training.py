"""Training: what is read, what is pasted, what is learned, and how it is measured."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from rustvid.config import LocaliseConfig, ModelConfig
from rustvid.errors import SinkError, UsageError
from rustvid.method import efficientnet, models, student
from rustvid.method.classify import Answer
from rustvid.method.model import Model
from rustvid.training import (
    batches,
    checkpoint,
    choose,
    composites,
    data,
    evaluate,
    losses,
    masks,
    material,
    metrics,
    paper,
    shapes,
    train,
)
from rustvid.training.watch import Watch

RUST = np.array([150, 80, 45])


def plain(colour: tuple[int, int, int], size: int = 96) -> np.ndarray:
    """(size, size, 3) uint8 of one colour."""
    return np.full((size, size, 3), colour, np.uint8)


def grainy(colour: np.ndarray, seed: int, size: int = 96) -> np.ndarray:
    """(size, size, 3) uint8: a colour with coarse light and shade."""
    field = shapes.noise(np.random.default_rng(seed), size, 6)
    return np.asarray(np.clip(colour * (1 + 0.25 * field[..., None]), 0, 255), np.uint8)


def write_set(folder: Path, count: int = 6) -> None:
    """A tiny data set: rust-coloured grain on grey against blue and green grain."""
    for label in (data.CORROSION, data.CLEAN):
        (folder / label).mkdir(parents=True)
    for index in range(count):
        rusty = grainy(np.array([120, 125, 130]), index)
        rusty[20:90, 10:90] = grainy(RUST, index + 50)[20:90, 10:90]
        clean = grainy(np.array([60, 90, 160] if index % 2 else [70, 150, 80]), index + 100)
        for label, image in ((data.CORROSION, rusty), (data.CLEAN, clean)):
            cv2.imwrite(str(folder / label / f"{index}.png"), image[:, :, ::-1])


# --- data ------------------------------------------------------------------------------------


def test_faulty_photos_are_named_and_counted(tmp_path: Path) -> None:
    write_set(tmp_path, 3)
    folder = tmp_path / data.CORROSION
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    cv2.imwrite(str(folder / "tiny.png"), plain((1, 2, 3), 20))
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    read = data.read_photos(tmp_path)
    assert read.faults == {"unreadable": 2, "tiny": 1, "repeated": 1}
    assert len(read.where(True)) == 3 and len(read.where(False)) == 3


def huge(side: int) -> bytes:
    """A PNG whose header promises so many pixels a side, and which holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunks + b"\0\0\0\0IEND\xaeB`\x82"


def test_what_cannot_be_read_as_a_file_is_a_fault_like_others(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    folder = tmp_path / data.CORROSION
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "folder.jpg").mkdir()
    (folder / "huge.png").write_bytes(huge(40000))
    named = os.fsencode(folder) + b"/r\xf6st.png"
    Path(os.fsdecode(named)).write_bytes((folder / "0.png").read_bytes())
    read = data.read_photos(tmp_path)
    assert read.faults == {"unreadable": 3, "repeated": 1} and len(read.listing) == 64
    training, held_out = data.split([photo(os.fsdecode(b"\xf6"), plain((1, 1, 1)))] * 2, 0.5)
    assert len(training) + len(held_out) == 2


def test_a_folder_of_results_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for begin in (train.train, paper.train):
        with pytest.raises(SinkError, match="file: cannot be used"):
            begin(tmp_path, tmp_path / "file", train.TrainConfig(), lambda step, total, loss: None)


def test_a_missing_or_empty_class_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "rusty").mkdir()
    with pytest.raises(UsageError, match="rusty"):
        data.read_photos(tmp_path)
    (tmp_path / data.CORROSION).mkdir()
    with pytest.raises(UsageError, match="no photographs"):
        data.read_photos(tmp_path)


def test_the_listing_hash_knows_names_and_content(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    before = data.read_photos(tmp_path).listing
    assert data.read_photos(tmp_path).listing == before
    cv2.imwrite(str(tmp_path / data.CLEAN / "1.png"), plain((9, 9, 9)))
    assert data.read_photos(tmp_path).listing != before


def test_a_split_depends_on_the_name_alone() -> None:
    names = [f"photo{n}" for n in range(2000)]
    chosen = [name for name in names if data.share(name) < 0.1]
    assert 150 < len(chosen) < 250
    assert chosen == [name for name in reversed(names) if data.share(name) < 0.1][::-1]
    assert [n for n in names if data.share(n, 1) < 0.1] != chosen


def test_a_photo_in_both_classes_is_told_from_one_that_is_repeated(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    (tmp_path / data.CLEAN / "z.png").write_bytes(
        (tmp_path / data.CORROSION / "0.png").read_bytes()
    )
    files = data.PhotoFolder(tmp_path)
    assert len(list(files)) == 4 and len(files) == 5
    assert str(files.faults) == "1 in both classes (not_corrosion/z.png)"


def test_a_class_by_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "rust").mkdir()
    (tmp_path / "clean").mkdir()
    with pytest.raises(UsageError, match="there are: clean, rust; name the classes corrosion and"):
        data.read_photos(tmp_path)


def test_the_weak_pool_is_read_where_there_is_one(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    assert data.read_weak(tmp_path) is None
    write_set(tmp_path / data.WEAK, 3)
    weak = data.read_weak(tmp_path)
    assert weak is not None and len(weak.photos) == 6
    assert len(data.read_photos(tmp_path).photos) == 4


def test_a_weak_pool_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", 2)
    with pytest.raises(UsageError, match=r"no folder .*weak; use weak=false"):
        train.train(tmp_path / "photos", tmp_path / "out", train.TrainConfig(weak=True))


def photo(name: str, image: np.ndarray, corroded: bool = True, source: str = "") -> data.Photo:
    return data.Photo(name, image, corroded, source)


def changed(image: np.ndarray) -> np.ndarray:
    """The same picture, smaller, brighter and recompressed."""
    small = cv2.resize(image, (80, 80), interpolation=cv2.INTER_AREA)
    bright = np.clip(small.astype(float) * 1.1 + 5, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", bright, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)


def test_near_identical_photos_are_found_and_others_are_not() -> None:
    photos = [photo(str(n), grainy(RUST, n)) for n in range(30)]
    copies = [photo(f"copy{n}", changed(photos[n].image)) for n in (3, 7)]
    assert data.near_pairs(photos, photos) == []
    assert data.near_pairs(photos, copies) == [(3, 0), (7, 1)]
    assert not data.near_pairs([photo("a", plain((1, 1, 1)))], [photo("b", plain((9, 9, 9)))])


def test_near_identical_photos_stay_on_one_side_of_the_split() -> None:
    photos = [photo(f"{n}", grainy(RUST, n)) for n in range(40)]
    photos += [photo(f"copy{n}", changed(photos[n].image)) for n in range(40)]
    training, held_out = data.split(photos, 0.25)
    assert len(held_out) == 20 and len(training) == 60
    assert data.near_pairs(training, held_out) == []


def test_the_split_takes_its_share_of_every_class_and_source() -> None:
    photos = [
        photo(f"{source}{corroded}{n}", grainy(RUST, 1000 * k + n, 64), corroded, source)
        for k, (source, corroded, count) in enumerate(
            [("a", True, 40), ("a", False, 20), ("b", False, 20), ("c", True, 3), ("d", True, 3)]
        )
        for n in range(count)
    ]
    training, held_out = data.split(photos, 0.2)
    taken = {(s, c): 0 for s in "abcd" for c in (True, False)}
    for one in held_out:
        taken[one.source, one.corroded] += 1
    assert taken["a", True] == 8 and taken["a", False] == taken["b", False] == 4
    assert taken["c", True] + taken["d", True] == 1  # 0.6 + 0.6
    assert sorted(p.name for p in training + held_out) == sorted(p.name for p in photos)
    assert data.split(photos[::-1], 0.2) == (training, held_out)
    assert data.split(photos, 0.0)[1] == []


def test_a_class_without_a_photo_that_teaches_is_refused_with_its_faults(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    for path in (tmp_path / data.CLEAN).iterdir():
        path.write_bytes(b"not a picture")
    for network in ("student", "classifier"):
        begin = paper.train if network == "classifier" else train.train
        config = train.TrainConfig(network=network, validation=0.0)
        with pytest.raises(
            UsageError, match=r"not_corrosion: no photograph .*left out: 2 unreadable \(not_corr"
        ):
            begin(tmp_path, tmp_path / "out", config, lambda step, total, loss: None)
    write_set(tmp_path / "few", 4)
    for name in "123":
        (tmp_path / "few" / data.CORROSION / f"{name}.png").unlink()
    read = data.read_photos(tmp_path / "few")
    with pytest.raises(UsageError, match=r"corrosion: all .*\(1\) fall into validation 0\.5"):
        data.parted(tmp_path / "few", read, 0.5)
    assert [len(part) for part in data.parted(tmp_path / "few", read, 0.0)] == [5, 0]


def test_sources_are_found_in_the_folder_and_beside_it(tmp_path: Path) -> None:
    write_set(tmp_path / "train", 1)
    table = "file,source\ntrain/corrosion/0.png,x\ntest/corrosion/0.png,y\n"
    (tmp_path / data.SOURCES).write_text(table)
    assert data.sources(tmp_path / "train") == {"corrosion/0.png": "x"}
    assert [p.source for p in data.read_photos(tmp_path / "train").photos] == ["x", ""]
    (tmp_path / "train" / data.SOURCES).write_text('file,source\ncorrosion/0.png,"in, side"\n')
    assert data.sources(tmp_path / "train") == {"corrosion/0.png": "in, side"}


def test_a_table_of_sources_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    write_set(tmp_path, 1)
    for content in (b"file,source\ncorrosion/0.png,M\xfcller\n", b'"' + b"x" * 200_000 + b'"\n'):
        (tmp_path / data.SOURCES).write_bytes(content)
        with pytest.raises(UsageError, match=r"sources\.csv: cannot be read .*UTF-8"):
            data.sources(tmp_path)


def test_a_table_of_sources_needs_no_header(tmp_path: Path) -> None:
    write_set(tmp_path, 1)
    rows = "corrosion/0.png,x\nnot_corrosion/0.png,y\n"
    for header in ("", "file,source\n", "\ufeffname,from\n"):
        (tmp_path / data.SOURCES).write_text(header + rows, encoding="utf-8")
        assert data.sources(tmp_path) == {"corrosion/0.png": "x", "not_corrosion/0.png": "y"}


def test_every_kind_of_photo_that_a_run_reads_teaches(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    for path in (tmp_path / data.CLEAN).glob("*.png"):
        cv2.imwrite(str(path.with_suffix(".TIF")), cv2.imread(str(path)))
        path.unlink()
    assert len(data.read_photos(tmp_path).where(False)) == 2


# --- material and composites -----------------------------------------------------------------


def test_the_colour_likelihood_finds_what_corroded_photos_share(tmp_path: Path) -> None:
    write_set(tmp_path)
    photos = data.read_photos(tmp_path).photos
    table = material.colour_likelihood(photos)
    corroded = photos[0]
    likely = material.colour_map(corroded.image, table)
    assert likely[30:80, 20:80].mean() > 0.6 > 0.3 > likely[:15].mean()
    found = material.windows(corroded, likely, 0.5, 48)
    assert found and all(patch.shape == (48, 48, 3) for patch in found)


def test_bright_blue_cannot_be_rust_and_the_dark_can() -> None:
    assert (material.impossible(plain((60, 120, 220))) == 0).all()
    assert (material.impossible(plain((20, 20, 22))) == composites.IGNORE).all()
    assert (material.impossible(plain((150, 80, 45))) == composites.IGNORE).all()


def test_pasted_pixels_are_labelled_rust_and_untouched_ones_clean() -> None:
    """Without light, noise or JPEG the label is exactly where the picture changed to rust."""
    patch = plain((150, 80, 45))
    changed = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        below = np.full((128, 128, 3), 120, np.float32)
        picture, alpha = composites.paste(rng, below, patch)
        moved = np.abs(picture - below).max(axis=2)
        assert (moved[alpha < 0.01] < 2).all()
        if (alpha > 0.5).any():
            changed.append(moved[alpha > 0.5].mean())
    assert np.mean(changed) > 15


def test_a_decoy_over_rust_makes_it_clean_again() -> None:
    label = np.ones((4, 4), np.float32)
    alpha = np.array([[0.9, 0.6, 0.4, 0.1]] * 4, np.float32)
    assert composites._marked(label, alpha, False)[0].tolist() == [0, 0, 1, 1]
    assert composites._marked(label * 0, alpha, True)[0].tolist() == [1, 1, composites.IGNORE, 0]


def test_a_mask_that_was_pasted_can_be_found_in_the_composite() -> None:
    """Blue steel, orange rust: the labelled pixels are redder than the others."""
    patch = [grainy(RUST, 3)]
    decoy = [grainy(np.array([70, 150, 80]), 4)]
    rust: list[float] = []
    rest: list[float] = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = np.zeros((96, 96), np.float32)
        sample = composites.compose(rng, plain((90, 110, 150)), base, patch, decoy)
        assert set(np.unique(sample.label)) <= {0.0, 1.0, composites.IGNORE}
        redness = sample.image[..., 0].astype(float) - sample.image[..., 2]
        rust += redness[sample.label == 1].tolist()
        rest += redness[sample.label == 0].tolist()
        if sample.corroded == 1:
            assert (sample.label == 1).mean() > 0.005
    assert np.mean(rust) > np.mean(rest) + 40


def test_rust_from_edge_to_edge_is_all_labelled_but_for_the_decoys_on_it() -> None:
    base = np.ones((96, 96), np.float32)
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        picture = composites.texture(rng, grainy(RUST, 3), 96)
        decoys = [grainy(np.array([70, 150, 80]), 4)]
        sample = composites.compose(rng, picture, base, [plain(RUST)], decoys, only_decoys=True)
        covered.append((sample.label == 1).mean())
    assert max(covered) == 1 and 0.5 < np.mean(covered) < 1


class _Third:
    """A network: sure of the left third, unsure of the middle, whichever way it is shown; p is
    the picture's share of red above 128."""

    kind, size, batch, seconds = "student", (96, 96), 4, 0.0

    def look(self, images: list[np.ndarray]) -> Answer:
        evidence = np.zeros((len(images), 48, 48), np.float32)
        for index, image in enumerate(images):
            evidence[index, :, :16] = evidence[index, :, 16:32] = 0.1
            evidence[index, :, :16] = 0.9
            if image[:, :10, 0].mean() > image[:, -10:, 0].mean():  # it sees the mirror image
                evidence[index] = evidence[index, :, ::-1]
        share = [float((image[..., 0] > 128).mean()) for image in images]
        return Answer(np.array(share, np.float32), evidence)


def rising(size: int = 96) -> np.ndarray:
    """Red from left to right, so that a mirror image can be told."""
    return np.tile(np.linspace(0, 255, size, dtype=np.uint8)[None, :, None], (size, 1, 3))


def test_the_network_labels_what_it_is_sure_of_and_leaves_the_rest_unknown() -> None:
    photos = [photo("a", rising()), photo("b", rising(), corroded=False)]
    first = batches.Stock([photos[1]], [], [plain((150, 80, 45))], [])
    config = train.TrainConfig(rust_level=0.5, clean_level=0.05)
    stock = choose.next_stock(photos, [_Third()], first, config)
    assert len(stock.corroded) == 1 and stock.rust is first.rust
    label = stock.corroded[0].label
    assert (label[:, :28] == 1).all() and (label[:, -28:] == 0).all()
    assert (label[:, 44:52] == composites.IGNORE).all()
    soft = choose.next_stock(photos, [_Third()], first, replace(config, labels="soft"))
    evidence = soft.corroded[0].label
    assert evidence[48, 10] == pytest.approx(0.9) and evidence[48, 48] == pytest.approx(0.1)
    strict = choose.next_stock(
        photos, [_Third()], first, replace(config, labels="soft", rust_level=0.9)
    )
    evidence = strict.corroded[0].label
    assert evidence[48, 10] == pytest.approx(0.5) and evidence[48, 48] < 0.02
    assert choose.levelled(np.array([0, 1], np.float32), 0.8).tolist() == [0, 1]


def two_halves(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Red to the left of a share of the width, blue beyond; evidence that runs 9 pixels over."""
    image = plain((40, 60, 160))
    edge = round(96 * share)
    image[:, :edge] = (160, 70, 40)
    evidence = np.full((96, 96), 0.01, np.float32)
    evidence[:, : edge + 9] = 0.6
    return image, evidence


def test_labels_by_the_crf_end_at_the_edge_that_the_picture_has() -> None:
    image, evidence = two_halves(0.5)
    label = choose.label_of(image, evidence, train.TrainConfig(labels="crf", rust_level=0.35))
    assert (label[:, :46] == 1).all() and (label[:, 60:] == 0).all()
    assert not (label[:, 49:57] == 1).any()  # where the evidence ran over the edge
    hard = choose.label_of(image, evidence, train.TrainConfig(rust_level=0.35))
    assert (hard[:, 49:57] == 1).all()


def test_a_corroded_photo_in_which_no_rust_was_found_is_not_called_clean() -> None:
    image, evidence = two_halves(0.0)
    evidence[:] = 0.2
    evidence[:48] = 0.001
    label = choose.label_of(image, evidence, train.TrainConfig(labels="crf", rust_level=0.35))
    assert (label[:40] == 0).all() and (label[56:] == composites.IGNORE).all()


def test_ground_covers_a_side_and_is_clean() -> None:
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        below, label = plain((200, 10, 10)).astype(np.float32), np.ones((96, 96), np.float32)
        picture, marked = composites.lay(rng, below, label, plain((10, 10, 200)))
        alpha = (below[..., 0] - picture[..., 0]) > 0
        assert (picture[marked == 0][:, 2] > picture[marked == 0][:, 0]).mean() > 0.9
        assert (marked[~alpha] == 1).all()
        covered.append((marked == 0).mean())
    assert min(covered) > 0.1 and max(covered) < 0.7


def test_a_painted_part_has_the_colour_of_rust_smooth_faces_and_is_clean() -> None:
    label = np.ones((96, 96), np.float32)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        below = plain((10, 10, 200)).astype(np.float32)
        picture, alpha = composites.coat(rng, below)
        assert np.array_equal(picture[alpha == 0], below[alpha == 0])
        painted = alpha == 1
        if painted.sum() > 50:
            red, _, blue = picture[painted].mean(axis=0)
            assert red > blue
        decoys = [plain((70, 150, 80))]
        sample = composites.compose(rng, below, label, decoys, decoys, only_decoys=True, paint=1)
        assert set(np.unique(sample.label)) <= {0.0, 1.0}
    rng = np.random.default_rng(0)
    shares = [(shapes.part(rng, 96)[0] > 0.5).mean() for _ in range(50)]
    assert 0.02 < np.median(shares) < 0.4


def pasted(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a composite was made of, from below to above."""
    order: list[str] = []

    def recorded(kind: str) -> object:
        return lambda rng, below, *patch: (order.append(kind), (below, below[..., 0]))[1]

    monkeypatch.setattr(composites, "coat", recorded("paint"))
    monkeypatch.setattr(composites, "paste", recorded("rust or decoy"))
    rng, base = np.random.default_rng(seed), np.zeros((96, 96), np.float32)
    composites.compose(rng, plain(RUST), base, [plain(RUST)], [plain(RUST)], paint=1)
    return order


def test_rust_is_pasted_over_paint_and_paint_over_rust(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that neither is told by which of the two lies above."""
    orders = [pasted(seed, monkeypatch) for seed in range(60)]
    assert all(order.count("paint") == 1 for order in orders)
    longer = [order for order in orders if len(order) > 1]
    assert {order[0] for order in longer} == {order[-1] for order in longer}
    assert {order[0] for order in longer} == {"paint", "rust or decoy"}


def test_a_date_is_written_in_the_colours_of_rust_and_is_none() -> None:
    written = []
    for seed in range(10):
        label = np.full((224, 224), composites.IGNORE, np.float32)
        sample = composites.finish(
            np.random.default_rng(seed), np.zeros((224, 224, 3), np.float32), label, 1.0, stamp=1.0
        )
        ink = sample.label == 0
        assert 30 < ink.sum() < 8000 and (sample.label[~ink] == composites.IGNORE).all()
        red, _, blue = sample.image[ink].mean(axis=0)
        written.append(red - blue)
    assert np.median(written) > 40


def test_the_earthiest_clean_photos_are_the_ground() -> None:
    photos = [
        photo(f"c{i}", grainy(RUST if i == 3 else np.array([90, 110, 160]), i), False)
        for i in range(10)
    ]
    photos += [photo(f"r{i}", grainy(RUST, i + 20)) for i in range(4)]
    stock = choose.first_stock(photos, train.TrainConfig())
    assert [p.name for p in stock.earthy] == ["c3"]


def test_clean_photos_without_texture_are_no_decoys_and_that_is_said() -> None:
    photos = [photo(f"r{i}", grainy(RUST, i)) for i in range(4)]
    photos += [photo(f"c{i}", plain((90, 110, 160)), corroded=False) for i in range(4)]
    with pytest.raises(UsageError, match="decoy"):
        choose.first_stock(photos, train.TrainConfig())


def test_encoder_and_neuron_learn_at_their_own_pace() -> None:
    moved = {}
    for pace in (1.0, 0.25):
        keras.utils.set_random_seed(0)
        model = student.build(None, logits=True)
        before = {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}
        config = train.TrainConfig(encoder_pace=pace, neuron_pace=pace**2, warmup=1, decay=0.0)
        train.compile_for(model, config, losses.pixel_loss(0.5))
        rng = np.random.default_rng(0)
        labels = {
            "evidence": np.ones((1, 32, 32), np.float32),
            "probability": np.ones(1, np.float32),
        }
        model.train_on_batch(rng.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32), labels)
        for v in model.trainable_variables:
            change = np.abs(ops.convert_to_numpy(v) - before[v.path]).max()
            moved.setdefault(v.path, []).append(change)
    told = {path: slow / full for path, (full, slow) in moved.items() if full > 1e-5}
    assert len(told) > 50
    for path, share in told.items():
        paces = {"stem": 0.25, "stage": 0.25, "top": 0.25, "whole_head": 0.0625}
        wanted = next((pace for name, pace in paces.items() if path.startswith(name)), 1.0)
        assert share == pytest.approx(wanted, rel=0.05), path


def test_of_noisy_labels_stay_those_that_the_network_does_not_contradict() -> None:
    red, blue = plain((200, 0, 0)), plain((0, 0, 200))
    photos = [
        photo("r1", red),
        photo("r0", red, False),
        photo("b1", blue),
        photo("b0", blue, False),
    ]
    kept = choose.agreed(photos, [_Third()], train.TrainConfig(weak_doubt=0.3))
    assert [p.name for p in kept] == ["r1", "b0"]


def test_what_validation_looks_at_is_kept_out_of_the_weak_pool() -> None:
    held_out = [photo("held", grainy(RUST, 1))]
    weak = [photo("again", changed(grainy(RUST, 1))), photo("other", grainy(RUST, 2))]
    assert [p.name for p in data.apart(weak, held_out)] == ["other"]


def test_each_round_warms_up_and_dies_away() -> None:
    config = train.TrainConfig(first=100, steps=50, rounds=3, rate=1.0, later_rate=0.5, warmup=10)
    rate = [float(train.Schedule(config)(step)) for step in range(config.total)]
    assert rate[0] == pytest.approx(0.1, rel=0.01) and max(rate[:100]) == pytest.approx(1, abs=0.05)
    assert rate[99] < 0.02 and rate[100] == pytest.approx(0.05, rel=0.01)
    assert 0.4 < max(rate[100:150]) <= 0.5 and rate[149] < 0.02 and max(rate[150:]) > 0.4


def test_a_view_turns_label_and_picture_together() -> None:
    image = plain((0, 0, 255))
    image[:, :48] = (255, 0, 0)
    label = (image[..., 0] > 128).astype(np.float32)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        seen, marked = composites.view(rng, image, label, 64, (0.7, 1.5))
        assert marked is not None
        known = marked >= 0
        assert ((seen[..., 0] > 128) == (marked == 1))[known].mean() > 0.97


@pytest.mark.parametrize(
    "shape", [shapes.blob, shapes.spots, shapes.streaks, shapes.band, shapes.body, shapes.side]
)
def test_shapes_are_soft_masks_that_cover_something(shape: object) -> None:
    covered = []
    for seed in range(12):
        mask = shape(np.random.default_rng(seed), 112)  # type: ignore[operator]
        assert mask.shape == (112, 112) and mask.min() >= 0 and mask.max() <= 1 + 1e-6
        covered.append((mask > 0.5).mean())
    assert 0.005 < np.mean(covered) < 0.7


def test_batches_end_with_their_context_and_hand_on_errors(tmp_path: Path) -> None:
    write_set(tmp_path)
    photos = data.read_photos(tmp_path).photos
    stock = choose.first_stock(photos, train.TrainConfig())
    mix = batches.Mix(64, 2, 1, 1, 1, 1)
    with batches.stream(stock, mix, 0) as made:
        images, labels = next(made)
    assert images.shape == (6, 64, 64, 3) and labels["evidence"].shape == (6, 32, 32)
    assert np.abs(images).max() <= 1
    broken = batches.Stock([], stock.corroded, stock.rust, stock.decoys)
    with batches.stream(broken, mix, 0) as made, pytest.raises(ValueError):
        next(made)


# --- losses ----------------------------------------------------------------------------------


def test_unknown_labels_do_not_count() -> None:
    logit = np.array([[3.0, -2.0, 9.0]], np.float32)
    label = np.array([[1.0, 0.0, -1.0]], np.float32)
    expected = (np.log1p(np.exp(-3.0)) + np.log1p(np.exp(-2.0))) / 3  # two known, plus one
    assert float(losses.pixel_loss(0.0)(label, logit)) == pytest.approx(expected, rel=1e-4)
    all_unknown = np.full((1, 3), -1, np.float32)
    assert float(losses.image_loss(all_unknown, logit)) == 0


# --- measures --------------------------------------------------------------------------------


def test_measures_equal_values_computed_by_hand() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    answer = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    count = metrics.confusion(truth, answer)
    assert (count.tp, count.fp, count.fn, count.tn) == (2, 1, 1, 4)
    assert count.accuracy == 6 / 8 and count.precision == 2 / 3 and count.recall == 2 / 3
    assert count.f1 == pytest.approx(2 / 3) and count.iou == 2 / 4
    assert count.area_error == 0 and count.marked == 3 / 8
    assert metrics.pooled([count, count]).tp == 4


def test_auc_counts_pairs_and_halves_ties() -> None:
    truth = np.array([0, 0, 1, 1])
    assert metrics.auc(truth, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert metrics.auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert np.isnan(metrics.auc(np.ones(3), np.ones(3)))


def test_calibration_error_of_an_overconfident_answer() -> None:
    probability = np.array([0.95] * 10)
    assert metrics.calibration_error(np.array([1] * 5 + [0] * 5), probability) == pytest.approx(
        0.45
    )


def test_the_hsv_rule_marks_rust_and_not_blue() -> None:
    image = np.hstack([plain((150, 80, 45)), plain((40, 80, 200))])
    marked = masks.hsv_rule(image)
    assert marked[:, :96].all() and not marked[:, 96:].any()


# --- the whole way ---------------------------------------------------------------------------


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block for each stage of the encoder: it learns likewise and is built in half the time."""
    stages = tuple((1, *rest) for _, *rest in efficientnet.STAGES)
    monkeypatch.setattr(efficientnet, "STAGES", stages)


@pytest.fixture
def eager() -> Iterator[None]:
    """No graph of the network: for a few steps it takes longer to make than they do."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("shallow")
def test_a_two_colour_problem_is_learned_end_to_end(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", 10)
    config = train.TrainConfig(
        start=None,
        first=60,
        steps=40,
        rounds=2,
        crop=64,
        composites=3,
        on_corroded=1,
        clean=2,
        corroded=2,
        warmup=5,
        rate=1e-3,
        later_rate=1e-3,
        horizon=30,
        validation=0.0,
    )
    weights = train.train(tmp_path / "photos", tmp_path / "out", config)
    model = Model(ModelConfig(name=str(weights), size=96, precision="float32"))
    report = evaluate.classify(data.read_photos(tmp_path / "photos").photos, model)
    assert report.auc > 0.95
    assert weights.with_suffix(".md").exists()
    assert student.knows_world(models.read_weights(weights))
    taught = replace(
        config, first=2, rounds=1, probe=False, weak=True, teacher=str(weights), labels="soft"
    )
    write_set(tmp_path / "photos" / data.WEAK, 2)
    assert train.train(tmp_path / "photos", tmp_path / "taught", taught).exists()
    keras.backend.clear_session()
    assert float(ops.sum(ops.zeros(1))) == 0


class _Counted:
    """A network whose one weight is the number of its steps."""

    steps = 0

    def get_weights(self) -> list[np.ndarray]:
        return [np.array([float(self.steps)])]

    def train_on_batch(self, images: object, labels: object) -> list[float]:
        self.steps += 1
        return [0.0]


@pytest.mark.parametrize("steps", [9, 10, 14, 20])
def test_the_mean_that_ships_knows_the_last_steps_too(steps: int) -> None:
    state = train.State(_Counted(), train.TrainConfig(horizon=20), lambda mean, dtype: mean)
    for _ in range(steps):
        state.advance(None, None)
    before = float(state.mean[0][0])
    state.fold()
    after = float(state.mean[0][0])
    assert after == before if steps % 10 == 0 else steps > after > before
    if steps == 20:  # 5/6 of 10 after ten steps, then 2/7 of that and 5/7 of 20
        assert after == pytest.approx(2 / 7 * 25 / 3 + 5 / 7 * 20)
    state.fold()
    assert float(state.mean[0][0]) == after


class _PulledPlugError(Exception):
    pass


@pytest.mark.usefixtures("shallow", "eager")
def test_a_training_that_was_broken_off_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the state of step 6 was saved, in the second round; equal to the last bit."""
    monkeypatch.setattr(train, "EVERY", 3)
    write_set(tmp_path / "photos", 6)
    config = train.TrainConfig(
        start=None,
        first=4,
        steps=5,
        rounds=2,
        crop=64,
        composites=2,
        on_corroded=1,
        clean=1,
        corroded=1,
        warmup=2,
        horizon=20,
        validation=0.2,
        probe=False,  # its own tests: test_probe.py
    )

    def pull_the_plug(step: int, total: int, loss: float) -> None:
        if step == 8:
            raise _PulledPlugError

    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "round1.npz").write_text("of a training whose state is gone")
    whole = train.train(tmp_path / "photos", tmp_path / "whole", config)
    with pytest.raises(_PulledPlugError):
        train.train(tmp_path / "photos", tmp_path / "broken", config, pull_the_plug)
    broken = train.train(tmp_path / "photos", tmp_path / "broken", config)
    first, second = (models.read_weights(path) for path in (whole, broken))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    log = (tmp_path / "broken" / "log.csv").read_text().splitlines()
    assert log[0] == "step,seconds,loss,evidence_loss,probability_loss,validation_auc"
    assert [row.split(",")[0] for row in log[1:]] == ["3", "4", "6", "9"]
    assert all(row.split(",")[-1] for row in log[1:])  # a validation each
    assert (tmp_path / "broken" / "log.png").exists()


@pytest.mark.usefixtures("shallow", "eager")
def test_a_training_of_another_recipe_or_other_photos_is_not_gone_on_with(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", 4)
    out = tmp_path / "out"
    config = train.TrainConfig(
        start=None, first=2, rounds=1, crop=64, composites=1, validation=0.0, probe=False
    )
    out.mkdir()
    (out / "log.csv").write_text("of,another\n50,training\n")
    train.train(tmp_path / "photos", out, config)
    assert [row.split(",")[0] for row in (out / "log.csv").read_text().split()] == ["step", "2"]
    card = (out / "rustvid-student.md").read_bytes()
    own = replace(config.paper, epochs=3)
    other = replace(config, rate=0.1, start="imagenet", paper=own)
    with pytest.raises(
        UsageError,
        match=r"state\.npz: was trained with start null \(now imagenet\), "
        r"rate 0\.0005 \(now 0\.1\), paper\.epochs 35 \(now 3\); use another --out",
    ):
        train.train(tmp_path / "photos", out, other)
    (tmp_path / "photos" / data.SOURCES).write_text("file,source\ncorrosion/0.png,x\n")
    with pytest.raises(UsageError, match="was trained with other photographs; use another"):
        train.train(tmp_path / "photos", out, config)
    (tmp_path / "photos" / data.SOURCES).unlink()
    (tmp_path / "photos" / data.CLEAN / "3.png").unlink()
    with pytest.raises(UsageError, match="was trained with other photographs; use another"):
        train.train(tmp_path / "photos", out, config)
    assert (out / "rustvid-student.md").read_bytes() == card


def test_a_state_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    assert checkpoint.load(path, {}) is None
    np.savez(path, origin="{}", mean0=np.zeros(1000))
    whole = path.read_bytes()
    for broken in (whole[:400], whole[:-9], b"", b"text"):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match=r"state\.npz: is no state of a training, or cut"):
            checkpoint.load(path, {})
    np.savez(path, mean0=np.zeros(9))
    with pytest.raises(UsageError, match="does not say by what recipe"):
        checkpoint.load(path, {})


def test_the_log_goes_on_after_the_step_that_was_saved(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [], 0, lambda step, total, loss: None, ["loss"], 96, "w")
    for step in (50, 100, 150):
        watch.note(step, [0.5])
    watch.go_on(100)
    watch.note(150, [0.25])
    rows = [row.split(",") for row in (tmp_path / "log.csv").read_text().split()]
    assert [(row[0], row[2]) for row in rows[1:]] == [
        ("50", "0.5000"),
        ("100", "0.5000"),
        ("150", "0.2500"),
    ]
    watch.go_on(0)
    assert not (tmp_path / "log.csv").exists()


@pytest.mark.usefixtures("shallow", "eager")
def test_a_round_ends_when_the_validation_gets_no_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "EVERY", 2)
    monkeypatch.setattr(Watch, "_validated", lambda watch, model: 0.5)
    write_set(tmp_path / "photos", 4)
    config = train.TrainConfig(
        start=None,
        first=40,
        rounds=1,
        crop=64,
        composites=1,
        patience=2,
        validation=0.3,
        probe=False,
    )
    steps: list[int] = []
    told = tmp_path / "out"
    train.train(tmp_path / "photos", told, config, lambda step, total, loss: steps.append(step))
    assert steps[-1] == 6  # 0.5 once, and twice no better


# --- the paper's classifier ------------------------------------------------------------------


def paper_config(**changes: object) -> train.TrainConfig:
    """Two filters, quick steps; else the paper's."""
    own = replace(train.TrainConfig().paper, filters=2, rate=1e-3, batch=4, epochs=3)
    return train.TrainConfig(network="classifier", validation=0.25, paper=replace(own, **changes))


def test_an_epoch_holds_as_many_photos_of_either_class() -> None:
    photos = [data.Photo(f"{n}", plain((n, 0, 0)), n < 3) for n in range(10)]
    config = paper_config().paper
    labels = [list(labels) for _, labels in paper.batches(photos, config, 0, 1)]
    assert [len(some) for some in labels] == [4, 2] and sum(map(sum, labels)) == 3
    first = [float(images.mean()) for images, _ in paper.batches(photos, config, 0, 1)]
    again = [float(images.mean()) for images, _ in paper.batches(photos, config, 0, 1)]
    other = [float(images.mean()) for images, _ in paper.batches(photos, config, 0, 2)]
    assert first == again != other


def test_a_photo_is_flipped_and_turned_by_at_most_the_rotation() -> None:
    image = plain((0, 0, 0), 572)
    image[286:] = 255  # the lower half is white: its edge stays horizontal or turns by ± 0.2
    slopes, upside_down = [], 0
    for seed in range(20):
        seen = paper.augmented(np.random.default_rng(seed), image, 0.2)[..., 0] > 127
        edge = [int(seen[:, x].argmin() or seen[:, x].argmax()) for x in (186, 386)]
        slopes.append(np.arctan2(edge[1] - edge[0], 200))
        upside_down += bool(seen[10, 286])
    assert 0.1 < np.abs(slopes).max() < 0.22 and 3 < upside_down < 17


def test_the_papers_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "photos", 6)
    framed: list[bool] = []

    def judged(config: ModelConfig, localise: LocaliseConfig) -> Model:
        framed.append(localise.frame)
        return Model(config, localise)

    monkeypatch.setattr(paper, "Model", judged)

    def pull_the_plug(step: int, total: int, loss: float) -> None:
        if step == 2:
            raise _PulledPlugError

    def quiet(step: int, total: int, loss: float) -> None:
        """Nobody watches."""

    whole = paper.train(tmp_path / "photos", tmp_path / "whole", paper_config(), quiet)
    with pytest.raises(_PulledPlugError):
        paper.train(tmp_path / "photos", tmp_path / "broken", paper_config(), pull_the_plug)
    broken = paper.train(tmp_path / "photos", tmp_path / "broken", paper_config(), quiet)
    first, second = (models.read_weights(path) for path in (whole, broken))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    with pytest.raises(UsageError, match=r"with paper\.filters 2 \(now 3\); use another"):
        paper.train(tmp_path / "photos", tmp_path / "broken", paper_config(filters=3), quiet)
    log = (tmp_path / "broken" / "log.csv").read_text().splitlines()
    assert log[0] == "step,seconds,loss,accuracy,validation_auc" and len(log) == 4
    assert whole.with_suffix(".md").read_text().startswith("# Model card: rustseg\n")
    assert framed == [False, False]  # as it was taught, and as `--config paper` runs it
    assert models.kind_of_file(whole) == "classifier"


def test_a_gradient_that_is_not_finite_teaches_nothing() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="whole_head")])
    train.compile_for(model, train.TrainConfig(warmup=1, rate=0.1), losses.image_loss)
    variables = model.trainable_variables
    before = [np.array(variable) for variable in variables]
    for bad in (np.nan, np.inf, -np.inf):
        model.optimizer.apply([np.full((2, 1), 1, "f4"), np.array([bad], "f4")], variables)
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_allclose(np.array(variable), old, atol=1e-4)  # but for weight decay
    model.optimizer.apply([np.full((2, 1), 1, "f4"), np.ones(1, "f4")], variables)
    assert all(np.abs(np.array(v) - o).min() > 1e-3 for v, o in zip(variables, before, strict=True))


def test_an_area_that_is_not_defined_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of kept-out photos of one class there is no area under the ROC."""
    photo = data.Photo("corrosion/a.jpg", np.zeros((64, 64, 3), np.uint8), True)
    watch = Watch(tmp_path, [photo], 2, lambda step, total, loss: None, ["loss"], 96, "w")
    monkeypatch.setattr(Watch, "_validated", lambda self, model: float("nan"))
    for step in range(1, 5):
        watch.note(step, [0.5], model="one")
    assert not watch.enough()
    assert "nan" not in (tmp_path / "log.csv").read_text()
