"""Photographs with image labels: reading them, naming what is wrong, splitting off validation."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.video.named import is_hidden
from rustvid.video.photos import PHOTOS

Image = NDArray[np.uint8]

CORROSION, CLEAN = "corrosion", "not_corrosion"  # the names of the two folders
WEAK = "weak"  # folder beside them: an optional pool with noisy labels, two folders of its own
SOURCES = "sources.csv"
SMALLEST = 64  # pixels on the shorter side: below it a photo teaches nothing
NEAR = 4  # bits of 64 in which the hashes of near-identical photos differ at most
FLAT = 2.0  # grey levels: a picture with less contrast has no hash to compare


@dataclass(frozen=True)
class Photo:
    """One photograph: its name in the data set, its pixels (h, w, 3) uint8 RGB, its label, and
    where it is from if sources.csv says so."""

    name: str
    image: Image
    corroded: bool
    source: str = ""


@dataclass
class Faults:
    """What was left out: the names of the files by kind of fault.

    "unreadable", "tiny", "repeated" (the same bytes again), "in both classes" (the same bytes
    with the other label; the first stays)
    """

    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(names) for kind, names in self.names.items()}

    def __str__(self) -> str:
        """ "2 unreadable (a.jpg, b.jpg), 1 tiny (c.png)", three names at most; "none"."""
        told = []
        for kind, names in self.names.items():
            some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            told.append(f"{len(names)} {kind} ({some})")
        return ", ".join(told) or "none"


@dataclass(frozen=True)
class PhotoSet:
    """What was read of a folder, and what was not: `faults` counts each kind by name."""

    photos: tuple[Photo, ...]
    faults: dict[str, int]
    listing: str  # SHA-256 over every file's name and content
    left_out: str = "none"  # the faults with names, for a reader

    def where(self, corroded: bool) -> tuple[Photo, ...]:
        """The photos of one class."""
        return tuple(photo for photo in self.photos if photo.corroded == corroded)


def share(name: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on the name alone: splits that survive added files."""
    digest = hashlib.sha256(_bytes(f"{seed}:{name}")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _bytes(name: str) -> bytes:
    """Of a file's name, which need not be text: those it has on the disk."""
    return name.encode(errors="surrogateescape")


def fit_inside(image: Image, longest: int) -> Image:
    """Shrink a picture until no side is longer than `longest`; smaller ones stay as they are."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def decode(content: bytes) -> Image | None:
    """(h, w, 3) uint8 RGB, or None if these bytes are not a picture."""
    image = decoded(content, cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image[:, :, ::-1].copy(), np.uint8)


def decoded(content: bytes, how: int) -> NDArray[np.generic] | None:
    """What OpenCV makes of these bytes; None also of a picture that it finds too large."""
    with suppress(cv2.error):
        if content:
            return cv2.imdecode(np.frombuffer(content, np.uint8), how)
    return None


def read(path: Path) -> bytes:
    """What a file holds; nothing where it cannot be read: a link that leads nowhere, a folder."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


class PhotoFolder:
    """Photos of `folder/corrosion` and `folder/not_corrosion`, one after the other, each read
    when it is asked for and shrunk to `longest` (None: as it is).

    Unreadable, tiny and repeated files are left out and told in `faults`; `listing` is complete
    when the iteration is. A class that is missing or empty is a UsageError at once.
    """

    def __init__(self, folder: Path, longest: int | None = None) -> None:
        self.folder, self._longest = folder, longest
        self._files = [
            (label, path) for label in (CORROSION, CLEAN) for path in _files(folder, label)
        ]
        self._sources = sources(folder)
        self.faults = Faults()
        self._listing = hashlib.sha256()

    def __len__(self) -> int:
        """Files, the faulty ones included."""
        return len(self._files)

    @property
    def listing(self) -> str:
        """SHA-256 over the names and contents of the files read so far."""
        return self._listing.hexdigest()

    def __iter__(self) -> Iterator[Photo]:
        self.faults, self._listing = Faults(), hashlib.sha256()
        seen: dict[str, str] = {}
        for label, path in self._files:
            name = f"{label}/{path.name}"
            content = read(path)
            digest = hashlib.sha256(content).hexdigest()
            self._listing.update(_bytes(f"{name} {digest}\n"))
            image = decode(content)
            fault = _fault(image, label, seen.get(digest, ""))
            seen.setdefault(digest, label)
            if fault or image is None:
                self.faults.names[fault].append(name)
                continue
            image = fit_inside(image, self._longest) if self._longest else image
            yield Photo(name, image, label == CORROSION, self._sources.get(name, ""))


def read_photos(folder: Path, longest: int = 496) -> PhotoSet:
    """Read `folder/corrosion` and `folder/not_corrosion`; unreadable, tiny and repeated files
    are counted and left out, a missing or empty class is an error."""
    files = PhotoFolder(folder, longest)
    photos = tuple(files)
    return PhotoSet(photos, files.faults.counts, files.listing, str(files.faults))


def read_weak(folder: Path, longest: int = 496) -> PhotoSet | None:
    """The pool of noisy labels, `folder/weak/{corrosion,not_corrosion}`; None if there is none."""
    return read_photos(folder / WEAK, longest) if (folder / WEAK).is_dir() else None


def _files(folder: Path, label: str) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; it must hold {CORROSION}/ and {CLEAN}/")
    if not (folder / label).is_dir():
        names = sorted(p.name for p in folder.iterdir() if p.is_dir())
        known = f"there are: {', '.join(names)}" if names else "there are no folders in it"
        raise UsageError(
            f"{folder}: no class folder {label}; {known}; name the classes {CORROSION} and {CLEAN}"
        )
    inside = (folder / label).iterdir()
    photos = (path for path in inside if path.suffix.lower() in PHOTOS)
    files = sorted(path for path in photos if not is_hidden(Path(path.name)))
    if not files:
        raise UsageError(f"{folder / label}: no photographs in it; a class needs at least one")
    return files


def _fault(image: Image | None, label: str, seen_as: str) -> str:
    if image is None:
        return "unreadable"
    if min(image.shape[:2]) < SMALLEST:
        return "tiny"
    if not seen_as:
        return ""
    return "repeated" if seen_as == label else "in both classes"


# --- splitting -------------------------------------------------------------------------------


def split(photos: Iterable[Photo], validation: float) -> tuple[list[Photo], list[Photo]]:
    """(training, validation): the share `validation` of every class and source, chosen by a hash
    of the names. Near-identical photos stay on one side."""
    strata: dict[tuple[bool, str], list[list[Photo]]] = defaultdict(list)
    for group in near_groups(list(photos)):
        strata[group[0].corroded, group[0].source].append(group)
    training: list[Photo] = []
    held_out: list[Photo] = []
    spare = 0.0  # what rounding left over goes to the next stratum
    for _, groups in sorted(strata.items()):
        wanted = validation * sum(map(len, groups)) + spare
        for group in sorted(groups, key=lambda members: share(members[0].name)):
            side = held_out if len(group) <= wanted + 0.5 else training
            wanted -= len(group) if side is held_out else 0
            side += group
        spare = wanted
    return _by_name(training), _by_name(held_out)


def parted(folder: Path, read: PhotoSet, validation: float) -> tuple[list[Photo], list[Photo]]:
    """The split of what was read of a folder; UsageError where a class has no photo to teach."""
    training, held_out = split(read.photos, validation)
    for label, corroded in ((CORROSION, True), (CLEAN, False)):
        if any(photo.corroded == corroded for photo in training):
            continue
        if there := len(read.where(corroded)):
            raise UsageError(
                f"{folder / label}: all that can be used ({there}) fall into validation "
                f"{validation:g} and none teaches; add photographs or use validation=0"
            )
        raise UsageError(
            f"{folder / label}: no photograph that can be used; left out: {read.left_out}"
        )
    return training, held_out


def apart(photos: Sequence[Photo], others: Sequence[Photo]) -> list[Photo]:
    """The photos that are not nearly identical to any of the others."""
    known = {id(photo) for photo in others}
    groups = near_groups([*photos, *others])
    return [p for group in groups if not any(id(q) in known for q in group) for p in group]


def _by_name(photos: list[Photo]) -> list[Photo]:
    return sorted(photos, key=lambda photo: photo.name)


def near_groups(photos: Sequence[Photo]) -> list[list[Photo]]:
    """The photos in groups of near-identical ones; most groups have one member."""
    parent = list(range(len(photos)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for a, b in near_pairs(photos, photos):
        parent[max(root(a), root(b))] = min(root(a), root(b))
    groups: dict[int, list[Photo]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[root(index)].append(photo)
    return list(groups.values())


def near_pairs(some: Sequence[Photo], others: Sequence[Photo]) -> list[tuple[int, int]]:
    """Which of `some` is nearly the same picture as which of `others`: pairs of indices; of a
    sequence with itself each pair once.

    Pictures count as near-identical when their hashes differ in at most 4 of 64 bits: scaled or
    recompressed, lightly cropped or changed in brightness.
    """
    if not some or not others:
        return []
    same = some is others
    left = np.stack([fingerprint(photo.image) for photo in some])
    right = left if same else np.stack([fingerprint(photo.image) for photo in others])
    found: list[tuple[int, int]] = []
    for begin in range(0, len(left), 1024):
        agree = left[begin : begin + 1024] @ right.T  # 64 − 2 × differing bits; 0 if flat
        rows, columns = np.nonzero(agree >= 64 - 2 * NEAR)
        pairs = zip((rows + begin).tolist(), columns.tolist(), strict=True)
        found += [(a, b) for a, b in pairs if not same or a < b]
    return found


def fingerprint(image: Image) -> NDArray[np.float32]:
    """Perceptual hash: (64,) float32, ±1: is a low frequency of the picture above the median?

    The 8×8 lowest frequencies, without the mean, of the cosine transform of 32×32 greys
    (Zauner, 2010). All zeros for a picture of one colour: it is like no other.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < FLAT:
        return np.zeros(64, np.float32)
    low = cv2.dct(small).ravel()[[row * 32 + column for row in range(8) for column in range(8)]]
    return np.where(low > np.median(low[1:]), 1, -1).astype(np.float32)


# --- where photos are from -------------------------------------------------------------------


def sources(folder: Path) -> dict[str, str]:
    """Photo → source, by the name inside `folder`, from sources.csv in it or beside it.

    The table's first two columns are file and source, with or without a row that says so; beside
    the folder, files begin with the folder's name. Empty where there is no table.
    """
    inside, beside = folder / SOURCES, folder.resolve().parent / SOURCES
    if inside.is_file():
        return _table(inside)
    if not beside.is_file():
        return {}
    prefix = f"{folder.resolve().name}/"
    rows = _table(beside).items()
    return {name.removeprefix(prefix): source for name, source in rows if name.startswith(prefix)}


def _table(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise UsageError(f"{path}: cannot be read ({exc}); save it as CSV in UTF-8") from exc
    if any(len(row) < 2 for row in rows):
        raise UsageError(f"{path}: needs two columns, file and source, in every row")
    headed = bool(rows) and Path(rows[0][0]).suffix.lower() not in PHOTOS
    return {row[0]: row[1] for row in rows[headed:]}
