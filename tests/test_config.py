"""One truth for every option: files, --set, defaults and documentation agree, mistakes are told."""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rustvid.config import Config, apply, as_dict, document, load, seconds
from rustvid.errors import ConfigError
from rustvid.method.refine import ITERATIONS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def options(
    cls: Any = Config, prefix: str = ""
) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Every option: dotted key, field, type."""
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from options(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item, hints[item.name]


OPTIONS = {key: (item, hint) for key, item, hint in options()}


def value_of(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- the files that are shipped


def test_default_yaml_is_the_documentation_of_the_defaults() -> None:
    head, documented = (CONFIGS / "default.yaml").read_text(encoding="utf-8").split("\n\n", 1)
    assert head.startswith("# ")
    assert documented == document(Config())


def test_default_yaml_changes_nothing() -> None:
    assert load(CONFIGS / "default.yaml", Config()) == Config()


def test_paper_yaml_is_the_paper_to_the_letter() -> None:
    paper = load(CONFIGS / "paper.yaml", Config())
    assert paper.sample.every == 1
    assert paper.refine.method == "crf"
    assert paper.refine.iterations is None and ITERATIONS["crf"] == 25
    variant = apply(paper, "refine.method=advanced")  # "however only for 10 epochs"
    assert variant.refine.iterations is None and ITERATIONS["advanced"] == 10
    assert paper.refine.size == 572
    assert paper.model.threshold == 0.5


def test_paper_yaml_loads_the_same_whatever_the_defaults_become() -> None:
    """Differences only, but those that make it the paper are written down."""
    text = (CONFIGS / "paper.yaml").read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    assert len(text) < len(document(Config())) / 2
    assert tree["refine"]["method"] == "crf"
    assert tree["sample"]["every"] == 1


# --- every option


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_is_documented_in_a_sentence_above_it(key: str) -> None:
    doc = " ".join(OPTIONS[key][0].metadata["doc"].split())
    assert 10 <= len(doc) < 250
    text = " ".join(document(Config()).replace("# ", " ").split())
    assert re.search(rf"{re.escape(doc)}( \([^)]*\))? {key.split('.')[-1]}: ", text)


@pytest.mark.parametrize("key", OPTIONS)
def test_every_default_is_of_its_own_type_and_in_its_own_range(key: str) -> None:
    default = value_of(Config(), key)
    assert apply(Config(), f"{key}={yaml.safe_dump(default)}") == Config()


@pytest.mark.parametrize(
    "key", [k for k, (i, _) in OPTIONS.items() if i.metadata["low"] is not None]
)
def test_every_range_includes_its_ends_and_nothing_beyond(key: str) -> None:
    low, high = (OPTIONS[key][0].metadata[end] for end in ("low", "high"))
    assert value_of(apply(Config(), f"{key}={low}"), key) == low
    with pytest.raises(ConfigError, match=rf"{key} must be .*{low}.*, received"):
        apply(Config(), f"{key}={low - 1}")
    if high is not None:
        assert value_of(apply(Config(), f"{key}={high}"), key) == high
        with pytest.raises(ConfigError, match=rf"{key} must be .*–{high}, received"):
            apply(Config(), f"{key}={high + 1}")


def values(item: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[Any]:
    """Valid values of an option."""
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(values(item, each) for each in get_args(hint)))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    low, high = item.metadata["low"], item.metadata["high"]
    if item.metadata["kind"] == "color":
        return st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True)
    if item.metadata["kind"] == "odd":
        return st.integers(low // 2, (high - 1) // 2).map(lambda half: 2 * half + 1)
    kinds: dict[Any, Callable[[], st.SearchStrategy[Any]]] = {
        type(None): st.none,
        bool: st.booleans,
        str: lambda: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        int: lambda: st.integers(low, high),
        float: lambda: st.floats(low, high, allow_nan=False, allow_infinity=False),
    }
    return kinds[hint]()


@st.composite
def configurations(draw: st.DrawFn, cls: Any = Config) -> Any:
    hints = get_type_hints(cls)
    return cls(
        **{
            item.name: draw(
                configurations(hints[item.name])
                if dataclasses.is_dataclass(hints[item.name])
                else values(item, hints[item.name])
            )
            for item in dataclasses.fields(cls)
        }
    )


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(config=configurations())
def test_what_is_documented_loads_as_what_it_was(config: Config, tmp_path: Path) -> None:
    assert load(written(tmp_path / "all.yaml", document(config)), Config()) == config


@settings(deadline=None, max_examples=50)
@given(config=configurations())
def test_a_configuration_is_json(config: Config) -> None:
    tree = json.loads(json.dumps(as_dict(config), allow_nan=False))
    assert tree["refine"]["crf"]["confidence"] == config.refine.crf.confidence


# --- files


def test_a_file_holds_only_differences(tmp_path: Path) -> None:
    path = written(
        tmp_path / "fast.yaml", "sample:\n  every: 5\nrefine:\n  crf:\n    confidence: 0.8\n"
    )
    config = load(path, Config())
    assert (config.sample.every, config.refine.crf.confidence) == (5, 0.8)
    rest = dataclasses.replace(config, sample=Config().sample, refine=Config().refine)
    assert rest == Config()
    assert config.refine.crf.appearance_weight == Config().refine.crf.appearance_weight


def test_a_later_file_wins_over_an_earlier_one(tmp_path: Path) -> None:
    first = load(written(tmp_path / "1.yaml", "refine: {size: 100, erosion: 3}"), Config())
    second = load(written(tmp_path / "2.yaml", "refine: {size: 200}"), first)
    assert (second.refine.size, second.refine.erosion) == (200, 3)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_file_changes_nothing(text: str, tmp_path: Path) -> None:
    assert load(written(tmp_path / "empty.yaml", text), Config()) == Config()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "refine: {itterations: 5}",
            "unknown key refine.itterations; did you mean refine.iterations?",
        ),
        ("refnie: {size: 5}", "unknown key refnie; did you mean refine?"),
        (
            "refine: {crf: {xyzzy: 1}}",
            "unknown key refine.crf.xyzzy; the keys here are appearance_",
        ),
        ("1: 2", "unknown key 1; the keys here are input"),
        ("refine: {iterations: 0}", "refine.iterations must be 1–100, received 0"),
        ("refine: {size: 5.5}", "refine.size must be a whole number, received 5.5"),
        ("refine: {size: true}", "refine.size must be a whole number, received True"),
        ("refine: {size: large}", "refine.size must be a whole number, received 'large'"),
        (
            "refine: {method: magic}",
            "advanced, crf, kmeans, threshold, student or student-crf, received 'magic'",
        ),
        ("refine: {method: [crf]}", "or student-crf, received ['crf']"),
        ("refine: 5", "refine is a section of keys, received 5"),
        ("refine:", "refine is a section of keys, received None"),
        ("model: {threshold: .nan}", "model.threshold must be 0–1, received nan"),
        ("source: {start: .inf}", "source.start must be at least 0, received inf"),
        ("render: {text: 1}", "render.text must be true or false, received 1"),
        ("render: {color: red}", "render.color must be a colour like #ff33e0, received 'red'"),
        ("source: {start: soon}", "source.start must be seconds or hh:mm:ss, received 'soon'"),
        ("- 1\n- 2", "must hold `key: value` lines, received [1, 2]"),
        ("just words", "must hold `key: value` lines, received 'just words'"),
        ("a: [1", "is not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not valid YAML"),
        ("source: {name: !!int one}", "is not valid YAML"),
        ("source: {name: " + 2000 * "[", "is not valid YAML: it is nested too deeply"),
        ("refine: {erosion: 4}", "refine.erosion must be odd, received 4; use 3 or 5"),
    ],
)
def test_a_mistake_is_told_by_file_key_value_and_remedy(
    text: str, told: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "my.yaml", text)
    with pytest.raises(ConfigError) as refused:
        load(path, Config())
    assert str(refused.value).startswith(f"{path}: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        load(tmp_path / "none.yaml", Config())
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory"):
        load(tmp_path, Config())
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("input: Brücke.mp4".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: is not valid YAML"):
        load(latin, Config())


# --- --set


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("sample.every=5", 5),
        ("model.threshold=1", 1.0),
        ("model.threshold=1e-1", 0.1),
        ("model.threshold=2.5e-1", 0.25),
        ("refine.threshold=5e-1", 0.5),
        ("sample.rate=1e1", 10.0),
        ("source.start=1e1", 10.0),
        ("refine.iterations=null", None),
        ("refine.iterations=010", 10),  # YAML 1.1 reads 8
        ("refine.iterations=09", 9),
        ("refine.kmeans_pixels=0x10", 16),
        ("source.rate=010", 10.0),
        ("source.start=010", 10.0),
        ("source.name=010", "010"),
        ("source.name=2024-12-25", "2024-12-25"),
        ("source.name=2024-13-45", "2024-13-45"),
        ("render.text=false", False),
        ("output.path=a=b.mp4", "a=b.mp4"),
        ("output.preset=10", "10"),
        ("render.color=#00ff00", "#00ff00"),
        (" refine.crf.confidence = 0.7", 0.7),
    ],
)
def test_set_reads_a_value_as_its_option_wants_it(assignment: str, value: Any) -> None:
    config = apply(Config(), assignment)
    got = value_of(config, assignment.partition("=")[0].strip())
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("sample.every", "must be key=value"),
        ("sampel.every=2", "unknown key sampel; did you mean sample?"),
        ("sample.evry=2", "unknown key sample.evry; did you mean sample.every?"),
        ("sample.every.more=2", "sample.every"),
        ("sample=2", "sample is a section of keys"),
        ("sample.every=0", "sample.every must be at least 1, received 0"),
        ("sample.every=[", "'[' is not a YAML value"),
        ("sample.every=!!int one", "'!!int one' is not a YAML value"),
        ("render.text=!!bool perhaps", "'!!bool perhaps' is not a YAML value"),
        ("sample.every=" + 2000 * "[", "is not a YAML value"),
        ("sample.every=" + 5000 * "9", "is not a YAML value"),
        ("refine.iterations=5e0", "must be a whole number or null, received '5e0'"),
        ("refine.erosion=4", "refine.erosion must be odd, received 4; use 3 or 5"),
        ("refine.seed=4294967296", "refine.seed must be 0–4294967295, received 4294967296"),
        ("=5", "unknown key"),
    ],
)
def test_a_wrong_set_is_told_by_key_value_and_remedy(assignment: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        apply(Config(), assignment)
    assert str(refused.value).startswith("--set")
    assert told in str(refused.value)


def test_setting_makes_a_new_configuration() -> None:
    config = Config()
    assert apply(config, "sample.every=9") != config
    assert config == Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.workers = 3  # type: ignore[misc]


# --- two ways to say the same


def test_of_two_rivals_the_one_that_is_set_later_counts() -> None:
    twice = load(CONFIGS / "realtime.yaml", Config())
    assert (twice.sample.rate, twice.sample.every) == (2.0, 1)
    fifth = apply(twice, "sample.every=5")
    assert (fifth.sample.rate, fifth.sample.every) == (None, 5)
    assert apply(twice, "sample.every=1").sample.rate is None  # said, though it is the default
    assert apply(fifth, "sample.rate=3").sample == dataclasses.replace(twice.sample, rate=3.0)
    assert apply(fifth, "sample.rate=null").sample == fifth.sample
    assert load(CONFIGS / "default.yaml", twice) == Config()


@pytest.mark.parametrize("key", [k for k, (item, _) in OPTIONS.items() if item.metadata["rival"]])
def test_rivals_are_each_other_s(key: str) -> None:
    section, _, name = key.rpartition(".")
    rival = OPTIONS[f"{section}.{OPTIONS[key][0].metadata['rival']}"][0]
    assert rival.metadata["rival"] == name


# --- times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90.25", 90.25),
        ("1:30", 90),
        ("01:30", 90),
        ("0:05", 5),
        ("00:01:30.5", 90.5),
        ("1:00:00", 3600),
        ("90:00", 5400),
    ],
)
def test_a_time_is_seconds_or_a_clock(text: str, expected: float, tmp_path: Path) -> None:
    assert seconds(text, "here") == expected
    assert apply(Config(), f"source.start={text}").source.start == expected
    path = written(tmp_path / "time.yaml", f"source: {{end: {text}}}")
    assert load(path, Config()).source.end == expected


@pytest.mark.parametrize("text", ["", "-5", "1:", ":30", "1:2:3:4", "1m30s", "1.5:30"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="here must be seconds or hh:mm:ss, received"):
        seconds(text, "here")


def test_a_key_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """YAML would take the last one, and the first block would be gone without a word."""
    path = tmp_path / "twice.yaml"
    path.write_text("model:\n  threshold: 0.9\nrender: {}\nmodel:\n  batch: 2\n")
    with pytest.raises(ConfigError, match="model is there twice"):
        load(path, Config())


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("output.folder=2026_11_29", "2026_11_29"),
        ("output.path=1_000", "1_000"),
        ("source.name=12:30", "12:30"),
        ("output.keep_size=500000000", 500_000_000),
        ("output.keep_size=500_000_000", 500_000_000),
        ("output.keep_size='2.5G'", 2_500_000_000),
    ],
)
def test_names_stay_as_they_are_written(assignment: str, value: Any) -> None:
    section, key = assignment.split("=")[0].split(".")
    assert getattr(getattr(apply(Config(), assignment), section), key) == value


@pytest.mark.parametrize(
    "assignment",
    [
        "output.keep_size=0",
        "output.keep_size=-5",
        f"refine.level={'9' * 400}",
        'output.path="a\\0b"',
    ],
)
def test_what_no_run_can_use_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError):
        apply(Config(), assignment)
