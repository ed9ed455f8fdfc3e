"""Every option, its default, its range and what it does: the one truth for YAML, CLI and docs.

Frozen dataclasses hold the values. `load` reads YAML files that hold only differences,
`apply` sets one dotted key, `document` writes the commented configs/default.yaml.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from rustvid.errors import ConfigError

HIGHEST_SEED = 2**32 - 1  # that scikit-learn and Keras take
Scalar = bool | int | float | str | None
C = TypeVar("C")


def option(
    default: Scalar,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    kind: str = "",
    rival: str = "",
) -> Any:
    """A field with its documentation and inclusive range.

    kind: "time" also takes hh:mm:ss, "duration" 90s, 10m, 6h or 7d, "bytes" 500M, 50G or 2T,
    "color" wants #rrggbb, "odd" an odd number
    rival: another field of the section that says the same in another way; whichever is set later
        takes the other back to its default
    """
    hints = {"doc": doc, "low": low, "high": high, "kind": kind, "rival": rival}
    return field(default=default, metadata=hints)


def section(cls: type[C], doc: str) -> C:
    """A field that holds a dataclass of options."""
    made: C = field(default_factory=cls, metadata={"doc": doc})
    return made


@dataclass(frozen=True)
class SourceConfig:
    start: float | None = option(
        None, "begin at this time; seconds or hh:mm:ss", low=0, kind="time"
    )
    end: float | None = option(
        None, "stop before this time; seconds or hh:mm:ss", low=0, kind="time"
    )
    join: str | None = option(
        None, "files that go on where the input ends, in order, one a line (--join)"
    )
    rate: float = option(25.0, "frames per second of a folder of images", low=0.001, high=1000)
    max_pixels: int = option(
        150_000_000, "refuse larger pictures: a decompression bomb would fill the memory", low=1
    )
    hwaccel: Literal["auto", "none", "cuda", "vaapi", "videotoolbox", "qsv"] = option(
        "none", "decode a film by hardware; where it does not work, in software, and that is said"
    )
    live: bool | None = option(
        None, "watch as a live camera; null: by the address (rtsp://, /dev/video0, ...)"
    )
    name: str | None = option(
        None, "live: what the camera is called where it is shown and logged; null: its address"
    )
    protocols: str = option(
        "rtsp rtsps rtmp rtmps http https udp srt v4l2",
        "addresses that may be opened, also by a playlist; others, file too, are refused",
    )
    transport: Literal["tcp", "udp"] = option("tcp", "of rtsp; udp loses packets")
    keep_all: bool = option(
        False, "live: let the camera wait rather than drop frames when they come too fast"
    )
    open_timeout: float = option(
        10.0,
        "of an address: seconds that a connection may take",
        low=0.1,
        high=600,
        kind="duration",
    )
    read_timeout: float = option(
        5.0,
        "of an address: seconds without a packet; then a camera is called anew, a film ends",
        low=0.1,
        high=600,
        kind="duration",
    )
    retry_first: float = option(
        0.5, "live: seconds before the first new try; then twice as long", low=0.01, high=600
    )
    retry_longest: float = option(
        30.0, "live: seconds between two tries at most", low=0.01, high=86400, kind="duration"
    )
    retry_for: float | None = option(
        None, "live: give up after so long without a picture; null: never", low=0, kind="duration"
    )
    retry_refused: bool = option(
        False,
        "live: try again also after 401, 403 and 404 (a gateway may say so while it starts), and "
        "where a device is missing or forbidden",
    )

    @property
    def mark(self) -> str:
        """What begins each line about a camera that has a name."""
        return f"{self.name}: " if self.name else ""


@dataclass(frozen=True)
class SampleConfig:
    every: int | Literal["auto"] = option(
        1,
        "analyse every Nth frame, track the mask between them; auto: as many as the speed allows, "
        "and at once where the picture changes",
        low=1,
        rival="rate",
    )
    rate: float | None = option(
        None,
        "analyse so many frames per second of film, instead of every Nth",
        low=0.001,
        high=1000,
        rival="every",
    )
    speed: float = option(
        1.0, "auto: seconds of film per second of work, 1 is real time", low=0.01, high=1000
    )


@dataclass(frozen=True)
class ModelConfig:
    name: str = option(
        "rustvid-student", "a shipped model (`rustvid models`) or a path to .npz weights"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "arithmetic of the network; auto: bfloat16 where the processor has it"
    )
    device: str = option("auto", "auto, cpu, gpu or gpu:N")
    engine: Literal["auto", "litert", "keras"] = option(
        "auto",
        "what computes the network; auto: litert on a processor in float32 (half the time, and "
        "TensorFlow loads only once), else keras",
    )
    size: int | None = option(
        None, "a student sees size x size pixels, a multiple of 32; null: 448", low=32, high=4096
    )
    tiles: str = option(
        "1x1",
        "a frame is seen in columns x rows overlapping parts, each of the network's size (3x2 for "
        "small rust in 4K footage); costs as many passes",
    )
    batch: int = option(4, "frames, or tiles, per network pass", low=1, high=256)
    threshold: float = option(
        0.65,
        "a frame is corroded when p(corrosion) exceeds this (the paper: 0.5); in others nothing "
        "is marked",
        low=0,
        high=1,
    )
    redness: float = option(
        0.08,
        "a student's evidence rises by so many logits per unit of a* (CIELAB) that a pixel is "
        "redder than the rest of its frame; 0: never",
        low=0,
        high=2,
    )


@dataclass(frozen=True)
class LocaliseConfig:
    score: Literal["exp", "sigmoid"] = option(
        "exp", "Grad-CAM++ of exp(logit), as its authors do, or of the sigmoid itself"
    )
    frame: bool = option(
        True,
        "show the classifier the picture framed by its mirror image, so that its map, which stands "
        "for what lies inside, covers the picture; false: as in the paper",
    )


@dataclass(frozen=True)
class CrfConfig:
    """The five parameters of the paper's eq. 10, and how far the CRF trusts the first mask."""

    appearance_sigma_xy: float = option(
        80.0, "reach of the appearance kernel, pixels at 572", low=0.1, high=2000
    )
    appearance_sigma_rgb: float = option(
        13.0, "colour tolerance of the appearance kernel, 8-bit steps", low=0.1, high=255
    )
    appearance_weight: float = option(
        10.0, "Potts weight of the appearance kernel", low=0, high=1000
    )
    smoothness_sigma_xy: float = option(
        3.0, "reach of the smoothness kernel, pixels at 572", low=0.1, high=2000
    )
    smoothness_weight: float = option(
        3.0, "Potts weight of the smoothness kernel", low=0, high=1000
    )
    confidence: float = option(
        0.9, "probability that the first mask's strongest pixel is right", low=0.5, high=0.999
    )


Method = Literal["auto", "advanced", "crf", "kmeans", "threshold", "student", "student-crf"]


@dataclass(frozen=True)
class RefineConfig:
    method: Method = option(
        "auto",
        "auto: student for a student, advanced for a classifier; advanced: threshold, K-means, "
        "erosion, CRF; crf: threshold, CRF; kmeans: advanced without CRF; "
        "threshold: eq. 8-9 alone; "
        "student: evidence above level; student-crf: the same by the CRF",
    )
    size: int = option(572, "pictures are refined at size x size pixels", low=32, high=4096)
    iterations: int | None = option(
        None, "CRF iterations; null: the paper's 25 (crf) or 10 (the others)", low=1, high=100
    )
    engine: Literal["densecrf", "fast"] = option(
        "densecrf",
        "of the CRF: the paper's, or the same mean field on a coarse grid, several times as fast",
    )
    level: float = option(
        0.55,
        "student: a pixel is corroded above this evidence; student-crf: it is neutral there",
        low=0,
        high=1,
    )
    crf_share: float = option(
        0.2,
        "student-crf: share of the CRF's two weights; a student is surer than a heat map",
        low=0,
        high=1,
    )
    least_region: float = option(
        0.005,
        "student, student-crf: leave out regions smaller than so many per cent of the picture",
        low=0,
        high=100,
    )
    threshold: float | None = option(
        None,
        "heat above which a classifier's mask begins; null: eq. 8's, of each frame",
        low=0,
        high=1,
    )
    kmeans_pixels: int = option(
        8192, "K-means learns its two colours from so many pixels; 0: from all", low=0
    )
    erosion: int = option(
        5,
        "odd width of the diamond that erodes the mask; 1: no erosion",
        low=1,
        high=99,
        kind="odd",
    )
    seed: int = option(
        0,
        "seed of the K-means centres: the same input gives the same mask",
        low=0,
        high=HIGHEST_SEED,
    )
    crf: CrfConfig = section(CrfConfig, "dense CRF, eq. 10")


@dataclass(frozen=True)
class RenderConfig:
    view: Literal["overlay", "heatmap", "mask", "side-by-side"] = option("overlay", "what is drawn")
    color: str = option("#ff33e0", "colour of the mask, #rrggbb", kind="color")
    opacity: float = option(0.25, "of the tint inside the mask", low=0, high=1)
    contour: bool = option(True, "draw the outline of the mask")
    text: bool = option(True, "write time, probability and area into the picture")


@dataclass(frozen=True)
class OutputConfig:
    path: str | None = option(None, "annotated video (.mp4 .mov .mkv .ts .avi .webm) or picture")
    folder: str | None = option(None, "results of several inputs, each by its own name")
    csv: str | None = option(None, "report, a row per frame; null: beside the video")
    mask: str | None = option(None, "masks as lossless FFV1 video (.mkv), gray, 0 or 255")
    overwrite: bool = option(False, "replace files that exist")
    resume: bool = option(False, "go on with what a run that was broken off left")
    fsync: bool = option(
        True, "every second of film is put on the disk itself, so that a power cut spares it"
    )
    codec: Literal["h264", "hevc", "av1", "vp9", "ffv1"] = option("h264", "of the annotated video")
    hwaccel: Literal["auto", "none", "nvenc", "qsv", "amf"] = option(
        "none",
        "encode h264, hevc or av1 by hardware; where that fails, in software, with a warning; "
        "preset is the software's",
    )
    preset: str | None = option(None, "speed of the encoder; null: veryfast (h264, hevc), 10 (av1)")
    crf: int | None = option(
        None, "quality, lower is better; null: 20 (h264), 24 (hevc), 32 (av1, vp9)", low=0, high=63
    )
    segment: float | None = option(
        None, "live: begin a new file after so long, named by UTC", low=1, kind="duration"
    )
    clips: bool = option(
        False, "live: record only around corroded frames (more than events.area), a file each time"
    )
    before: float = option(
        5.0, "live: seconds before the first of them that are recorded", low=0, kind="duration"
    )
    after: float = option(5.0, "live: seconds after the last one", low=0, kind="duration")
    republish: str | None = option(
        None, "live: send the annotated video on to this address too (rtsp, rtmp, udp, tcp, srt)"
    )
    keep: float | None = option(
        None, "live: remove files of this output that are older", low=1, kind="duration"
    )
    keep_size: int | None = option(
        None,
        "live: remove the oldest files of this output beyond so many bytes; the newest stays",
        low=1,
        kind="bytes",
    )


@dataclass(frozen=True)
class EventsConfig:
    path: str | None = option(None, "events as JSON lines (.jsonl), thumbnails beside it")
    command: str | None = option(None, "program that gets each event as JSON on its stdin")
    webhook: str | None = option(None, "address that each event is posted to as JSON")
    area: float = option(
        1.0, "an event is corrosion of more than so many per cent of the frame", low=0, high=100
    )
    seconds: float = option(
        2.0, "for so long; and it is over after so long below", low=0, kind="duration"
    )
    thumbnails: bool = option(True, "a JPEG of the annotated frame with each event")


@dataclass(frozen=True)
class StatusConfig:
    address: str | None = option(
        None, "serve a status page here, for example 127.0.0.1:8090 (live)"
    )
    token: str | None = option(
        None, "secret that every request must bring; needed on any address but loopback"
    )


@dataclass(frozen=True)
class Config:
    input: str | None = option(None, "video file, picture, folder of pictures or live address")
    workers: int | None = option(
        None,
        "processes that refine; null: one per core for a CRF, half of them for student-crf, none "
        "for student and threshold; 0: none, refine in this one",
        low=0,
        high=512,
    )
    threads: int | Literal["auto"] = option(
        "auto",
        "cores that decoder, network, workers and encoder share; auto: all this process may use",
        low=1,
        high=512,
    )
    max_memory: int | None = option(
        None,
        "of a film: take no more bytes, by fewer frames in flight and fewer workers; null: "
        "what is free",
        low=1,
        kind="bytes",
    )
    source: SourceConfig = section(SourceConfig, "what is read")
    sample: SampleConfig = section(SampleConfig, "which frames are analysed")
    model: ModelConfig = section(ModelConfig, "classify")
    localise: LocaliseConfig = section(LocaliseConfig, "localise")
    refine: RefineConfig = section(RefineConfig, "refine")
    render: RenderConfig = section(RenderConfig, "how the result looks")
    output: OutputConfig = section(OutputConfig, "what is written")
    events: EventsConfig = section(EventsConfig, "what a live run reports")
    status: StatusConfig = section(StatusConfig, "how a live run is watched")


_MOST_FLOAT = 1e300  # a whole number beyond it may be none of float's
_OF_ALL_CAMERAS = ("workers", "max_memory", "model", "localise", "refine", "status")


def load(path: Path, base: C) -> C:
    """Return `base` with the differences of a YAML file; what it cannot hold is a ConfigError."""
    found = _merge(base, _tree(path), str(path), "")
    return _with_weights_beside(found, path) if isinstance(found, Config) else found


def _with_weights_beside(config: Any, path: Path) -> Any:
    """Weights that are not where the file says, but beside it: both were moved together."""
    name = Path(config.model.name)
    beside = path.parent / name.name
    if name.suffix != ".npz" or name.exists() or not beside.is_file():
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, name=str(beside)))


def load_cameras(
    path: Path, above: Callable[[Config], Config] = lambda config: config
) -> tuple[Config, dict[str, Config]]:
    """Read a file of cameras: what they have in common, and the whole of each, by name.

    Beside `cameras`, a section of named sections, it holds differences from the defaults like any
    configuration; on top come what `above` changes and what a camera's section holds.
    """
    tree = dict(_tree(path))
    named = tree.pop("cameras", None)
    common = above(_merge(Config(), tree, str(path), ""))
    if not isinstance(named, Mapping) or not named:
        raise ConfigError(f"{path}: cameras must be a section of named cameras, received {named!r}")
    found: dict[str, Config] = {}
    for name, own in named.items():
        where = f"cameras.{name}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(name)):
            raise ConfigError(f"{path}: {where}: a name is letters, digits, - and _")
        if not isinstance(own, Mapping):
            raise ConfigError(f"{path}: {where} is a section of keys, received {own!r}")
        if shared := sorted(set(own) & set(_OF_ALL_CAMERAS)):
            raise ConfigError(
                f"{path}: {where}.{shared[0]} is one for all cameras; put it beside `cameras`"
            )
        found[str(name)] = _merge(common, own, str(path), f"{where}.")
    return common, found


class _Loader(yaml.SafeLoader):
    """Plain values, nothing else, and no key twice. What YAML 1.1 alone takes for numbers stays
    the text that it is written as: 010, 1_000, 12:30 and dates. They mean ten, a name, a time."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """What a block of keys says."""
        keys = [str(key.value) for key, _ in node.value]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise ValueError(f"{', '.join(twice)} is there twice in one block; keep one")
        return super().construct_mapping(node, deep)

    def _whole(self, node: yaml.ScalarNode) -> int | str:
        odd = re.search(r"[_:]|^[-+]?0[0-7]+$", node.value)
        return str(node.value) if odd else self.construct_yaml_int(node)

    def _real(self, node: yaml.ScalarNode) -> float | str:
        odd = re.search(r"[_:]", node.value)
        return str(node.value) if odd else self.construct_yaml_float(node)

    def _text(self, node: yaml.ScalarNode) -> str:
        return str(node.value)

    def _joined(self, node: yaml.ScalarNode) -> str:
        """JSON writes what lies beyond 16 bits (an emoji) as two escapes, which are one letter."""
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        **yaml.SafeLoader.yaml_constructors,
        "tag:yaml.org,2002:int": _whole,
        "tag:yaml.org,2002:float": _real,
        "tag:yaml.org,2002:timestamp": _text,
        "tag:yaml.org,2002:str": _joined,
    }


def _read(text: str) -> Any:
    """What a YAML text says; raises ValueError where it is none."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    except (yaml.YAMLError, LookupError) as exc:  # the latter: !!bool perhaps
        raise ValueError(" ".join(str(exc).split())) from exc


def _tree(path: Path) -> Mapping[Any, Any]:
    """What a YAML file holds."""
    try:
        tree = _read(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}); check the path") from exc
    except ValueError as exc:  # which UnicodeDecodeError is, too
        raise ConfigError(f"{path}: is not valid YAML: {exc}") from exc
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}: must hold `key: value` lines, received {tree!r}")
    return tree


def apply(config: C, assignment: str) -> C:
    """Return `config` with one `dotted.key=value` set; the value is read as YAML."""
    key, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment}: must be key=value, for example refine.size=286")
    try:
        value = text.strip() if text.strip().startswith("#") else _read(text)
    except ValueError as exc:
        raise ConfigError(f"--set {assignment}: {text!r} is not a YAML value") from exc
    tree: Any = value
    for name in reversed(key.strip().split(".")):
        tree = {name: tree}
    return _merge(config, tree, "--set", "")


def as_dict(config: Any) -> dict[str, Any]:
    """The configuration as plain nested dictionaries, for JSON."""
    return dataclasses.asdict(config)


def differences(config: Any, base: Any) -> dict[str, Any]:
    """What `config` holds that `base` does not, nested as in YAML."""
    found: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value, other = getattr(config, item.name), getattr(base, item.name)
        changed = differences(value, other) if dataclasses.is_dataclass(value) else value
        if value != other:
            found[item.name] = changed
    return found


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Nested dictionaries as YAML that `load` reads; empty where there is nothing."""
    return yaml.safe_dump(dict(tree), sort_keys=False) if tree else ""


def document(config: Any) -> str:
    """Commented YAML of every option of a configuration, the text of configs/default.yaml."""
    return "".join(_document(config, 0))


def _document(config: Any, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        doc, limits = str(item.metadata.get("doc", "")), _limits(item)
        if dataclasses.is_dataclass(value):
            yield f"\n{pad}{item.name}:  # {doc}\n"
            yield from _document(value, depth + 1)
            continue
        about = f"{doc} ({limits})" if limits else doc
        yield textwrap.fill(about, 96, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}#   ")
        yield f"\n{pad}{item.name}: {_scalar(value)}\n"


def _scalar(value: Scalar) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def _limits(item: dataclasses.Field[Any]) -> str:
    hints = item.metadata
    low, high = hints.get("low"), hints.get("high")
    if low is None and high is None:
        return ""
    return f"{low}–{high}" if high is not None else f"at least {low}"


def _merge(config: C, tree: Mapping[Any, Any], origin: str, prefix: str) -> C:
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    fields = {item.name: item for item in dataclasses.fields(config)}
    hints = get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if key not in fields:
            raise ConfigError(f"{origin}: unknown key {dotted}{_nearest(str(key), prefix, fields)}")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: {dotted} is a section of keys, received {value!r}")
            changes[key] = _merge(current, value, origin, f"{dotted}.")
        else:
            changes[key] = _checked(value, hints[key], fields[key], f"{origin}: {dotted}")
            rival = fields[key].metadata["rival"]
            if rival and changes[key] is not None and rival not in tree:
                changes[rival] = fields[rival].default
    return dataclasses.replace(config, **changes)


def _nearest(key: str, prefix: str, names: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, list(names), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f"; the keys here are {', '.join(names)}"


def _checked(value: Any, hint: Any, item: dataclasses.Field[Any], where: str) -> Scalar:
    """Return the value in the field's own type, or raise with the key, the value and the remedy."""
    kind = item.metadata.get("kind")
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, str):
        value = _number(value, allowed)
    if isinstance(value, str) and kind in _READERS:
        value = _READERS[kind](value, where)
    for accepted in allowed:
        if get_origin(accepted) is Literal:
            if value in get_args(accepted):
                return value  # type: ignore[no-any-return]
        elif accepted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < _MOST_FLOAT else math.inf
            break
        elif type(value) is accepted:
            break
        elif accepted is str and type(value) in (int, float):
            value = str(value)
            break
    else:
        raise ConfigError(f"{where} must be {_expected(allowed)}, received {value!r}")
    _check_range(value, item, where)
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} must be text without a NUL character, received {value!r}")
    if kind == "color" and not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ConfigError(f"{where} must be a colour like #ff33e0, received {value!r}")
    if kind == "odd" and value % 2 == 0:
        raise ConfigError(f"{where} must be odd, received {value}; use {value - 1} or {value + 1}")
    return value  # type: ignore[no-any-return]


def _number(text: str, allowed: tuple[Any, ...]) -> float | str:
    """Text that is a number where one is wanted: 010, 1_000, and 1e-3, of which YAML 1.1 wants
    1.0e-3."""
    if int in allowed and re.fullmatch(r"[-+]?\d[\d_]*", text):
        return int(text)
    if float in allowed and re.fullmatch(r"[-+]?(0\d+|(\d+\.?\d*|\.\d+)[eE][-+]?\d+)", text):
        return float(text)
    return text


def _expected(allowed: tuple[Any, ...]) -> str:
    words: list[str] = []
    for accepted in allowed:
        if get_origin(accepted) is Literal:
            words += [str(choice) for choice in get_args(accepted)]
        else:
            names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
            words.append(names.get(accepted, "null"))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _check_range(value: Any, item: dataclasses.Field[Any], where: str) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    low, high = item.metadata.get("low"), item.metadata.get("high")
    inside = (low is None or value >= low) and (high is None or value <= high)
    if not inside or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{where} must be {_limits(item)}, received {value}")


def seconds(text: str, where: str) -> float:
    """Read "90", "1:30" or "00:01:30.5" as seconds."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ConfigError(f"{where} must be seconds or hh:mm:ss, received {text!r}")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def duration(text: str, where: str) -> float:
    """Read "90", "90s", "10m", "6h", "7d" or "hh:mm:ss" as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        return seconds(text, where)
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def size_in_bytes(text: str, where: str) -> int:
    """Read "500M", "50G", "2T", or bytes as they are, in powers of 1000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kKMGT])B?)?", text)
    if not match:
        raise ConfigError(f"{where} must be a size like 500M or 50G, received {text!r}")
    power = "KMGT".index(match[2].upper()) + 1 if match[2] else 0
    return int(Fraction(match[1]) * 1000**power)


_READERS: dict[str, Callable[[str, str], float | int]] = {
    "time": seconds,
    "duration": duration,
    "bytes": size_in_bytes,
}
