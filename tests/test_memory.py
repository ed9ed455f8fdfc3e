"""Memory is planned before a run starts: fewer frames wait where it is little, or it is refused."""

from __future__ import annotations

import resource
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import media
import numpy as np
import pytest
from fakes import ColourModel, quick
from hypothesis import given, settings
from hypothesis import strategies as st

from rustvid import memory, pipeline, tracking
from rustvid.cli import main
from rustvid.config import Config, apply
from rustvid.errors import ConfigError, OutOfMemory, RustVidError
from rustvid.frames import Classified, Frame, Localised, Picture, Refined
from rustvid.memory import MB, Demand, Limit, limit_of, plan_of, planned
from rustvid.method import model
from rustvid.method.models import find
from rustvid.pipeline import plan_for, run
from rustvid.report.summary import Summary
from rustvid.video import open_source

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
HD = Demand(
    picture=3_110_400, pixels=2_073_600, seen=448 * 448, every=1, workers=4, batch=4
)  # 1080p, 8 bits, 4:2:0
demands = st.builds(
    Demand,
    picture=st.integers(10_000, 300_000_000),
    pixels=st.integers(10_000, 150_000_000),
    seen=st.integers(32 * 32, 1024 * 1024),
    every=st.integers(1, 100),
    workers=st.integers(0, 32),
    batch=st.integers(1, 64),
    batch_fixed=st.booleans(),
    lean=st.booleans(),
)


def strict(there: int) -> Limit:
    return Limit(there, "--max-memory", True)


def test_a_run_with_room_is_made_as_wished_and_says_nothing() -> None:
    plan, warnings = planned(HD, strict(100_000 * MB))
    assert (plan.workers, plan.batch, plan.deep, warnings) == (4, 4, 8, [])
    assert planned(HD, None) == (plan, [])


def test_a_lean_run_takes_less_and_keeps_its_batch() -> None:
    """One picture at a time: a smaller batch would save nothing."""
    lean = replace(HD, lean=True)
    assert plan_of(lean, 4, 4).needed < plan_of(HD, 4, 4).needed - 500 * MB
    least = plan_of(lean, 0, 4, 1, 64).needed
    assert planned(lean, strict(least))[0].batch == 4
    with pytest.raises(RustVidError):
        planned(lean, strict(least - 1))


def test_frames_in_flight_go_first_then_workers_then_the_batch() -> None:
    steps = []
    for there in range(plan_of(HD, 4, 4).needed, 0, -5 * MB):
        try:
            plan, _ = planned(HD, strict(there))
        except RustVidError:
            break
        assert plan.needed <= there
        if not steps or plan != steps[-1]:
            steps.append(plan)
    assert len(steps) > 8
    frames = [step for step in steps if step.workers == 4]
    assert [step.deep for step in frames] == sorted((s.deep for s in frames), reverse=True)
    assert frames[-1].deep == frames[-1].ahead == 1 and {s.batch for s in frames} == {4}
    workers = [step.workers for step in steps if step.batch == 4]
    assert workers == sorted(workers, reverse=True) and workers[-1] == 0
    assert [step.batch for step in steps[-2:]] == [2, 1]


def test_what_does_not_fit_is_refused_with_both_figures_and_the_remedy() -> None:
    with pytest.raises(RustVidError, match=r"are needed for pictures of 2\.1 megapixels") as told:
        planned(HD, strict(100 * MB))
    text = str(told.value)
    assert "100 MB are available (--max-memory)" in text and "the least is" in text
    assert "--max-memory" in text and "\n" not in text and "model.size" not in text
    with pytest.raises(RustVidError, match=r"--set model\.size=320"):
        planned(replace(HD, any_size=True), strict(100 * MB))  # a student, on any engine


def test_what_happens_to_be_free_is_told_but_never_refused_and_changes_no_result() -> None:
    plan, (warning,) = planned(HD, Limit(100 * MB, "free now", False))
    assert (plan.workers, plan.batch) == (0, 4)
    assert "free now" in warning and "the system may swap or end it" in warning


def test_frames_that_wait_to_be_tracked_are_planned_with_their_flows() -> None:
    """Of a small film these are most of it."""
    still = np.zeros((90, 160), np.uint8)
    picture = Picture((still,), "gray", 8, 0, 0, "bt601", True)
    frames = [Frame(n, Fraction(n), Fraction(1), picture, still) for n in range(2)]
    first = Refined(Localised(Classified(frames[0], 0.9), None), np.zeros((64, 64), np.uint8))
    tracker = tracking._Tracker(first)
    tracker.follow(Localised(Classified(frames[1], None), None))
    assert tracker._bytes == pytest.approx(still.nbytes + memory._CARRIED, rel=0.01)
    small = replace(HD, picture=still.nbytes, pixels=still.size, every=2)
    more = plan_of(replace(small, every=12), 0, 1, 1, 64).needed
    waits = more - plan_of(small, 0, 1, 1, 64).needed
    assert waits >= 10 * (still.nbytes + memory._CARRIED)


def test_what_is_asked_for_is_kept_to_where_even_less_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is free may be more in a moment; the limit will not be."""
    monkeypatch.setattr(memory, "_available", lambda: 200 * MB)
    monkeypatch.setattr(memory, "_control_group", lambda: None)
    with pytest.raises(RustVidError, match=r"300 MB are available \(--max-memory\)"):
        planned(HD, limit_of(300 * MB))
    with pytest.raises(RustVidError, match="compiles its network"):
        memory.check_compiling(7 * MB, limit_of(300 * MB))
    asked = plan_of(HD, 0, 4, 1, 64).needed
    plan, (warning,) = planned(HD, limit_of(asked))
    assert plan.needed <= asked and plan.batch == 4 and "free now" in warning
    assert planned(HD, limit_of(asked - 1))[0].batch == 2


def test_the_batch_of_a_network_that_is_loaded_stays() -> None:
    fixed = replace(HD, batch_fixed=True)
    least = min(plan_of(fixed, 0, 4, 1, 64).needed, plan_of(HD, 0, 1, 1, 64).needed)
    assert planned(HD, strict(least))[0].batch == 1
    with pytest.raises(RustVidError):
        planned(fixed, strict(least))


@settings(deadline=None)
@given(demand=demands, there=st.integers(1, 1 << 40))
def test_a_plan_fits_what_there_is_or_is_refused(demand: Demand, there: int) -> None:
    try:
        plan, warnings = planned(demand, strict(there))
    except RustVidError:
        assert plan_of(demand, 0, demand.batch if demand.batch_fixed else 1, 1, 64).needed > there
        return
    assert plan.needed <= there and len(warnings) <= 1
    assert 0 <= plan.workers <= demand.workers and 1 <= plan.batch <= demand.batch
    assert plan.deep >= 1 and 1 <= plan.ahead <= 64
    assert bool(warnings) == (plan != plan_of(demand, demand.workers, demand.batch))


@settings(deadline=None)
@given(demand=demands)
def test_larger_pictures_more_workers_and_larger_batches_need_more(demand: Demand) -> None:
    needed = plan_of(demand, demand.workers, demand.batch).needed
    double = replace(demand, picture=2 * demand.picture)
    assert plan_of(double, demand.workers, demand.batch).needed > needed
    assert plan_of(demand, demand.workers + 1, demand.batch).needed > needed
    assert plan_of(demand, demand.workers, demand.batch + 1).needed > needed


# --- what there is


def test_the_narrowest_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available", lambda: 8_000 * MB)
    monkeypatch.setattr(memory, "_control_group", lambda: 2_000 * MB)
    found = limit_of(None)
    assert found and found.there == 2_000 * MB and found.strict and "container" in found.why
    found = limit_of(1_000 * MB)
    assert found and found.there == 1_000 * MB and found.why == "--max-memory"
    monkeypatch.setattr(memory, "_control_group", lambda: None)
    found = limit_of(None)
    assert found and (found.there, found.strict) == (8_000 * MB, False)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4_500 * MB, -1))
    found = limit_of(None)
    assert found and found.there == 500 * MB and "ulimit -v" in found.why


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "3000000"}, 3_000_000),
        ("4:memory:/x", {"memory/x/memory.limit_in_bytes": "2000000"}, 2_000_000),
        ("4:memory:/x", {"memory/memory.limit_in_bytes": str(1 << 62)}, None),
        ("4:cpu:/x", {}, None),
        ("garbage", {}, None),
    ],
)
def test_the_limit_of_a_container_is_read(
    line: str,
    files: dict[str, str],
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both kinds of control groups; one that is above counts too."""
    places = {"/proc/self/cgroup": tmp_path / "cgroup", "/sys/fs/cgroup": tmp_path / "fs"}
    (tmp_path / "cgroup").write_text(line + "\n")
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content + "\n")
    monkeypatch.setattr(memory, "Path", lambda name: places[name])
    assert memory._control_group() == expected


# --- a run


def allowed(source: Path, out: Path, amount: int | None, *more: str) -> Config:
    given = (f"output.path={out}", f"max_memory={amount or 'null'}", *more)
    return replace(quick(*given), input=str(source))


def least(film: Path) -> int:
    """What the smallest plan of a network that is loaded takes."""
    with open_source(str(film), (1, 1), Config().source) as source:
        demand = pipeline._demand(quick(), ColourModel(), source.info)
    return plan_of(demand, 0, demand.batch, 1, 64).needed


@pytest.mark.parametrize(("options", "gap"), [(("sample.rate=2",), 5), (("sample.rate=30",), 1)])
def test_looks_by_the_second_are_planned_by_the_films_own_rate(
    tmp_path: Path, options: tuple[str, ...], gap: int
) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=12, rate=media.Fraction(10), size=(96, 72))
    with open_source(str(film), (1, 1), Config().source) as source:
        assert pipeline._demand(quick(*options), ColourModel(), source.info).every == gap


def test_a_run_with_little_memory_gives_the_same(tmp_path: Path) -> None:
    """Fewer frames wait, no worker is started; not one byte of the result changes."""
    film = media.clip(tmp_path / "film.mp4", frames=60, size=(96, 72))
    results = []
    for name, amount in (("wide", None), ("tight", least(film))):
        config = allowed(film, tmp_path / f"{name}.mkv", amount, "output.codec=ffv1", "workers=2")
        summary = run(config, model=ColourModel())
        assert summary.exit_code == 0
        results.append((summary, tmp_path / f"{name}.mkv"))
    (wide, before), (tight, after) = results
    assert not wide.warnings and "0 workers" in tight.warnings[0]
    assert before.with_suffix(".csv").read_bytes() == after.with_suffix(".csv").read_bytes()
    assert np.array_equal(*(np.stack(media.decode_rgb(path)) for path in (before, after)))


def test_the_plan_is_what_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=20, size=(96, 72))
    made: dict[str, Any] = {}

    class Seen(pipeline.Pool):
        def __init__(self, *args: Any, **wanted: Any) -> None:
            made.update(wanted)
            super().__init__(*args, **wanted)

    monkeypatch.setattr(pipeline, "Pool", Seen)
    config = allowed(film, tmp_path / "o.mp4", least(film), "workers=3")
    plan = plan_for(config, ColourModel(), Summary())
    run(config, model=ColourModel())
    assert (made["workers"], made["ahead"]) == (plan.workers, plan.ahead) == (0, plan.ahead)
    assert plan.ahead < plan_for(replace(config, max_memory=None), ColourModel(), Summary()).ahead


def test_too_little_is_told_before_any_work(tmp_path: Path, capsys: Told) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=20, size=(96, 72))
    out = tmp_path / "o.mp4"
    assert main([str(film), "--out", str(out), "--max-memory", "50M"]) == 1
    told = capsys.readouterr().err
    assert "50 MB are available (--max-memory)" in told and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_memory_that_ends_on_the_way_keeps_what_was_done(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=60, rate=media.Fraction(10), size=(96, 72))

    class Starved(ColourModel):
        def look(self, images: Any) -> Any:
            if self.seconds > 40:
                raise MemoryError
            self.seconds += len(images)
            return super().look(images)

    summary = run(allowed(film, tmp_path / "o.mp4", None), model=Starved())
    assert isinstance(summary.error, OutOfMemory) and summary.exit_code == 1
    assert 20 <= summary.frames < 60 and "--resume" in str(summary.error)
    config = apply(allowed(film, tmp_path / "o.mp4", least(film)), "output.resume=true")
    assert run(config, model=ColourModel()).frames == 60


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """The modules that are loaded, as far as a plan asks: none, though others have loaded some."""
    modules: dict[str, None] = {}
    for asking in (pipeline, model):
        monkeypatch.setattr(asking, "sys", SimpleNamespace(modules=modules))
    return modules


def test_a_network_on_litert_that_is_loaded_is_planned_as_lean(
    tmp_path: Path, loaded: dict[str, None]
) -> None:
    """Unless TensorFlow is in memory all the same, for another's sake."""

    class Compiled(ColourModel):
        engine = "litert"

    film = media.clip(tmp_path / "film.mp4", frames=20, size=(96, 72))
    config = allowed(film, tmp_path / "o.mp4", None)
    heavy = plan_for(config, ColourModel(), Summary()).needed
    assert plan_for(config, Compiled(), Summary()).needed < heavy - 500 * MB
    loaded["tensorflow"] = None
    assert plan_for(config, Compiled(), Summary()).needed == heavy


@pytest.mark.usefixtures("loaded")
def test_a_run_on_litert_is_planned_as_lean_before_its_network_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=20, size=(96, 72))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing kept"))
    config = allowed(film, tmp_path / "o.mp4", None, "model.engine=litert")
    keras = apply(config, "model.engine=keras")
    first = plan_for(config, None, Summary()).needed
    assert first < plan_for(keras, None, Summary()).needed - 500 * MB


@pytest.mark.usefixtures("loaded")
def test_a_first_run_is_refused_where_its_network_cannot_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    """It takes more than the run itself, and what is killed for it would say nothing."""
    film = media.clip(tmp_path / "film.mp4", frames=20, size=(96, 72))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = [str(film), "--out", str(tmp_path / "o.mp4"), "--set", "model.engine=litert"]
    needed = memory.compiling(find(Config().model.name).stat().st_size)
    assert main([*given, "--max-memory", f"{needed // MB - 1}M"]) == 1
    told = capsys.readouterr().err
    assert f"about {needed / MB:.0f} MB for a moment" in told and told.count("\n") == 1
    assert f"{needed // MB - 1} MB are available (--max-memory)" in told
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_only_a_strict_limit_refuses_to_compile() -> None:
    memory.check_compiling(7 * MB, None)
    memory.check_compiling(7 * MB, Limit(100 * MB, "free now", False))
    memory.check_compiling(7 * MB, strict(memory.compiling(7 * MB)))
    with pytest.raises(RustVidError, match="compiles its network"):
        memory.check_compiling(7 * MB, strict(memory.compiling(7 * MB) - 1))


def test_a_size_is_read_with_its_unit() -> None:
    assert apply(Config(), "max_memory=2G").max_memory == 2_000_000_000
    with pytest.raises(ConfigError, match="max_memory must be a size like 500M"):
        apply(Config(), "max_memory=lots")
