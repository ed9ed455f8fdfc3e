"""Pictures with their true masks: photographs with PNG masks, films with a film of masks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SourceError, UsageError
from rustvid.files import masks_of
from rustvid.training import data
from rustvid.training.data import Image
from rustvid.video.named import is_hidden
from rustvid.video.photos import PHOTOS
from rustvid.video.planes import Converter, Placing
from rustvid.video.streams import picture_of

Bools = NDArray[np.bool_]
HALVES = ("tune", "final", "all")
_PLAIN = {".txt", ".csv", ".json", ".md", ".xml", ".yaml", ".yml"}  # notes: no pictures
_NEARLY_ALL = 0.95  # of a photo: a mask that says so is inverted, perhaps
_MASKED = PHOTOS - {".png"}  # photos that may have a .png beside them
HALVES_SEED = 4  # of the split of segment/: chosen before the first training, never changed


@dataclass(frozen=True, eq=False)  # arrays have no ==: the very same, or another
class Example:
    """A picture (h, w, 3) uint8 RGB with its true mask, of any size with the same aspect.

    group: pictures of one group are no independent draws: the frames of one second of a film
    frame: of a film, as it was decoded; placing: of that film
    """

    name: str
    image: Image
    mask: Bools
    group: str
    frame: av.VideoFrame | None = None
    placing: Placing | None = None

    def seen(self, size: tuple[int, int]) -> Image:
        """At the (width, height) of a network: of a film's frame the very pixels that it sees in a
        run, where FFmpeg scales; a network's answer on a small film hangs on how."""
        if self.frame is None:
            return np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return _scaled(self.frame, size, self.placing)


def half_of(name: str) -> str:
    """ "tune" or "final", by a hash of "<set>/<photo>"."""
    return "tune" if data.share(name, HALVES_SEED) < 0.5 else "final"


@dataclass(frozen=True)
class ExampleSet:
    """A folder of photographs with masks, or a film; iterated, it is read anew.

    half: of a folder "tune", "final" or "all"; every: of a film each Nth frame
    title: its name, where its own is not enough
    """

    path: Path
    half: str = "all"
    every: int = 1
    title: str = ""

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise UsageError(f"{self.path}: no such folder or film")
        if self.path.is_file() and self.path.suffix.lower() in PHOTOS:
            folder = self.path.resolve().parent
            raise UsageError(f"{self.path}: is one photo; name its folder, {folder}")
        if self.half not in HALVES:
            raise UsageError(f"half must be one of {', '.join(HALVES)}, received {self.half}")
        if self.every < 1:
            raise UsageError(f"every must be at least 1, received {self.every}")

    @property
    def name(self) -> str:
        """The folder's or the film's own, or what it was told."""
        own = self.path.resolve()
        return self.title or (own.name if own.is_dir() else own.stem)

    @property
    def has_masks(self) -> bool:
        """A film without a film of masks is taken for footage without rust."""
        return self.path.is_dir() or masks_of(self.path).exists()

    @property
    def note(self) -> str:
        """What a reader of the result should know of the set; "" if nothing."""
        if not self.path.is_dir():
            return "" if self.has_masks else f"{self.name}: no film of masks, taken as clean"
        left = "; ".join(left_out(self.path))
        return f"{self.name}: left out, {left}" if left else ""

    def __iter__(self) -> Iterator[Example]:
        if self.path.is_dir():
            return photo_examples(self.path, self.half)
        return film_examples(self.path, self.every)


def told_apart(sets: Sequence[ExampleSet]) -> list[ExampleSet]:
    """The same sets, each with a name of its own: before those that have one name in common their
    folders' are put, and a number behind what is still the same."""
    often = Counter(chosen.name for chosen in sets)
    found: dict[str, ExampleSet] = {}
    for chosen in sets:
        name = chosen.name
        if often[name] > 1:
            name = f"{chosen.path.resolve().parent.name}-{name}"
        numbered = (f"{name}-{number}" for number in count(2))
        while name in found or (often[name] and name != chosen.name):
            name = next(numbered)
        found[name] = replace(chosen, title=name)
    return list(found.values())


def left_out(folder: Path) -> list[str]:
    """What of a folder is no picture with a mask, by kind."""
    pairs, alone = photo_pairs(folder)
    used = {path for pair in pairs for path in pair} | set(alone)
    others = [path for path in _visible(folder) if path not in used and path.suffix]
    lonely = [path for path in others if path.suffix.lower() == ".png"]
    kinds = {path.suffix.lower() for path in others} - _PLAIN - {".png"}
    found = {
        "without a mask": _some(alone),
        f"without a photo ({' '.join(sorted(_MASKED))})": _some(lonely),
        "of other kinds": " ".join(sorted(kinds)),
    }
    return [f"{kind}: {names}" for kind, names in found.items() if names]


def _visible(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if not path.is_dir())
    return [path for path in files if not is_hidden(Path(path.name))]


def _some(paths: Sequence[Path]) -> str:
    """How many, and the names of three; "" where there are none."""
    names = ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    return f"{len(paths)} ({names})" if paths else ""


def photo_pairs(folder: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Photos with the PNG mask of the same name beside them, and photos that have none."""
    files = _visible(folder)
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    photos = [path for path in files if path.suffix.lower() in _MASKED]
    pairs = [(photo, masks[photo.stem]) for photo in photos if photo.stem in masks]
    often = Counter(mask for _, mask in pairs)
    if twice := [mask for mask, count in often.items() if count > 1]:
        raise UsageError(f"{twice[0]}: is the mask of two photos of that name; take one away")
    if not pairs:
        kinds = ", ".join(sorted(_MASKED))
        raise UsageError(
            f"{folder}: no photo ({kinds}) with a .png mask of the same name beside it"
        )
    return pairs, [photo for photo in photos if photo.stem not in masks]


def photo_examples(folder: Path, half: str = "all") -> Iterator[Example]:
    """Photos with a mask; any value above 0 is corrosion. One that cannot be read is an error."""
    pairs, _ = photo_pairs(folder)
    names = [f"{folder.resolve().name}/{photo.stem}" for photo, _ in pairs]
    if half != "all" and half not in {half_of(name) for name in names}:
        raise UsageError(f"{folder}: no photo falls into the half {half}; use all")
    for name, (photo, mask) in zip(names, pairs, strict=True):
        if half in ("all", half_of(name)):
            yield _photo_example(name, photo, mask)


def _photo_example(name: str, path: Path, mask_path: Path) -> Example:
    image = data.decode(data.read(path))
    mask = data.decoded(data.read(mask_path), cv2.IMREAD_UNCHANGED)
    if image is None or mask is None:
        bad = path if image is None else mask_path
        raise UsageError(f"{bad}: cannot be read; take it and its pair out of the folder")
    _check_shape(mask_path, mask, "photo", image)
    rust = _marked(mask)
    if rust.mean() > _NEARLY_ALL:
        logging.getLogger("rustvid.training").warning(
            "%s: calls %.0f %% of the photo corroded; in a mask black, or nothing, is clean",
            mask_path,
            100 * rust.mean(),
        )
    return Example(name, image, rust, name)


def _marked(mask: NDArray[Any]) -> Bools:
    """Which pixels of a mask (h, w) or (h, w, channels) are corrosion: any colour but black; where
    it is transparent nothing is, and where all that is not is black, black is a colour, too."""
    channels = mask.reshape(*mask.shape[:2], -1)
    coloured = channels[:, :, :3].max(axis=2) > 0
    if channels.shape[2] < 4:
        return np.asarray(coloured)
    drawn = channels[:, :, 3] > 0
    return np.asarray(drawn if not drawn.all() and not coloured[drawn].any() else drawn & coloured)


def _check_shape(path: Path, mask: NDArray[np.generic], kind: str, image: Image) -> None:
    """A mask may have another size than its picture, but not another aspect."""
    (height, width), (rows, columns) = image.shape[:2], mask.shape[:2]
    if not _alike((rows, columns), (height, width)):
        raise UsageError(
            f"{path}: {columns}×{rows} is not the shape of the {kind}, {width}×{height} as it is "
            "seen, turned by its tags; save the mask so"
        )


def _alike(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Have these (height, width) the same aspect, but for rounding?"""
    across, down = picture[1] / mask[1], picture[0] / mask[0]
    return abs(down - across) <= 0.05 * across


def film_examples(path: Path, every: int = 1) -> Iterator[Example]:
    """Every Nth frame, upright, in the colours of a run, with its frame of <name>.masks.mkv;
    without such a file there is no rust."""
    truth = masks_of(path)
    masks: Iterator[av.VideoFrame] = _frames(truth) if truth.exists() else iter(())
    placing, placing_masks = Placing(), Placing()
    for index, frame in enumerate(_frames(path)):
        found = next(masks, None)
        if index % every:
            continue
        if truth.exists() and found is None:
            raise UsageError(f"{truth}: ends before frame {index} of {path.name}")
        stored = (frame.width, frame.height)
        turns = placing.of(frame).turns
        image = _scaled(frame, stored[::-1] if turns % 2 else stored, placing)
        if found is None:
            mask = np.zeros(image.shape[:2], bool)
        else:
            mask = _mask(found, placing_masks.of(found).turns, stored, turns)
        _check_shape(truth, mask, "film", image)
        second = f"{path.stem}/{int(frame.time or 0)} s"
        yield Example(f"{path.stem}/{index}", image, mask, second, frame, placing)
    if next(masks, None) is not None:
        raise UsageError(f"{truth}: has more frames than {path.name}; it is of another film")


def _scaled(frame: av.VideoFrame, size: tuple[int, int], placing: Placing | None) -> Image:
    """Upright, at (width, height), by the pipeline's own conversion."""
    converter = Converter(size, placing)
    return converter.image(frame, converter.picture(frame, Fraction(1)))


def _mask(found: av.VideoFrame, own: int, stored: tuple[int, int], turns: int) -> Bools:
    """A frame of the masks upright: turned by its own film's tag; without one, where it lies as
    the film is stored, as the film is. A mask drawn on stored frames seldom gets a tag.

    own, turns: quarter turns of the masks and of the film; stored: (width, height) of the film
    """
    mask = np.asarray(found.to_ndarray(format="gray") > 127)
    if not own and _alike((found.height, found.width), stored[::-1]):
        own = turns
    return np.ascontiguousarray(np.rot90(mask, own))


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise UsageError(f"{path}: holds no film")
            yield from film.decode(picture_of(film, path))
    except av.error.FFmpegError as exc:
        raise SourceError(f"{path}: cannot be read as film ({exc.strerror})") from exc
