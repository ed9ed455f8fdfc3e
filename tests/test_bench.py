"""`rustvid bench`: every figure is there, survives as JSON, and a slower one is noticed."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import fakes
import media
import numpy as np
import pytest

from rustvid import cli, demo
from rustvid.bench import machine, rounds, suite
from rustvid.bench.compare import compare
from rustvid.bench.contestants import NullModel, transcode
from rustvid.bench.measurement import Measurement
from rustvid.bench.rounds import ChildFailed, Contestant, measured
from rustvid.bench.suite import Plan, bench, ninety, plan_for
from rustvid.bench.tables import report
from rustvid.config import Config, OutputConfig, load
from rustvid.errors import UsageError
from rustvid.pipeline import run
from rustvid.presets import config_path

Told = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    return demo.write(folder / "film.mp4", size=(160, 120), seconds=1)


@pytest.fixture(scope="module")
def result(film: Path) -> dict[str, Any]:
    """Measured for real, each stage twice, each contestant once."""
    realtime = load(config_path("realtime"), Config())
    own = replace(fakes.quick(), refine=Config().refine)
    plan = Plan(
        presets={"default": own, "realtime": realtime},
        models=(),
        stage_models=("rustvid-student", "rustseg-lite"),
        runs=2,
        rounds=1,
        tries=1,
        minutes=600.0,  # on a busy machine too
        workers=(1,),
    )
    steps: list[str] = []
    found = bench(film, plan, steps.append)
    assert "stages" in steps and sum("realtime, rustvid" in step for step in steps) == 1
    return found


@pytest.fixture
def saved(result: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "old.json"
    machine.write_json(path, result)
    return path


# --- what is measured


def test_every_stage_of_the_paper_and_of_the_pipeline_is_measured(result: dict[str, Any]) -> None:
    stages = result["stages"]
    assert {label.partition(" (")[0] for label in stages} == {
        *("Decode", "Convert for the network", "Classify + Localise", "Refine"),
        *("End-to-End", "Measure", "Render", "Encode"),
    }
    for label in ("Refine (CRF: 25)", "Refine (advanced: 10)", "Refine (student)"):
        assert stages[label]["empty_masks"] in (0, 1, 2)
    for stage in stages.values():
        assert len(stage["runs"]) == 2
        assert 0 < stage["median"] <= stage["p90"] <= max(stage["runs"])
    # twenty-five iterations over 572 x 572 pixels are dearer than a comparison
    assert stages["Refine (CRF: 25)"]["median"] > stages["Refine (student)"]["median"]
    parts = zip(
        stages["Classify + Localise (rustseg-lite)"]["runs"],
        stages["Refine (CRF: 25)"]["runs"],
        strict=True,
    )
    whole = stages["End-to-End (rustseg-lite, Refine (CRF: 25))"]["runs"]
    assert whole == pytest.approx([sum(pair) for pair in parts], abs=2e-6)


def test_every_contestant_runs_the_whole_film(result: dict[str, Any], film: Path) -> None:
    raced = result["contestants"]
    assert list(raced) == [
        *("decode", "source", "transcode", "transcode, as realtime", "null", "refine, 1 workers"),
        *("default, rustvid-student", "realtime, rustvid-student"),
    ]
    assert {facts["frames"] for facts in raced.values()} == {30}
    assert raced["default, rustvid-student"]["analysed_frames"] == 30
    assert raced["realtime, rustvid-student"]["analysed_frames"] == 2  # a second of film
    crew = raced["refine, 1 workers"]
    assert crew["refined_frames"] == 30 and crew["workers"] == 1
    for name in ("null", "default, rustvid-student", "realtime, rustvid-student"):
        facts = raced[name]
        assert facts["refined_frames"] == facts["analysed_frames"]  # the threshold is 0
        assert facts["real_time"] == (facts["fps"]["median"] >= 30)
    (only,) = result["films"].values()
    assert only["size"] == [160, 120] and only["sha256"] == machine.file_digest(film)


def test_the_ceiling_has_the_same_encoder(result: dict[str, Any]) -> None:
    raced = result["contestants"]
    for name, top in (
        ("default, rustvid-student", "transcode"),
        ("realtime, rustvid-student", "transcode, as realtime"),
    ):
        ratio = raced[name]["rounds"][0]["fps"] / raced[top]["rounds"][0]["fps"]
        assert raced[name]["of_transcode"]["median"] == pytest.approx(ratio, abs=0.002)
    assert raced["transcode, as realtime"]["of_transcode"]["median"] == 1


def test_the_tables_say_it_all(result: dict[str, Any]) -> None:
    text, written = report(result), report(result, as_markdown=True)
    for told in (text, written):
        assert result["machine"]["processor"] in told
        assert "Tesla P-100" in told and "26.13" in told  # the paper's rows
        assert "Not measured: 720p; 1080p; 4K" in told
        assert "refinement by workers" in told
    for name in (*result["contestants"], *result["stages"]):
        assert f"| {name} |" in written


def test_which_presets_take_which_models(film: Path, tmp_path: Path) -> None:
    presets = {name: load(config_path(name), Config()) for name in ("default", "paper")}
    found = list(suite._contestants(plan_for(presets, False), film, "film", ""))
    raced = {one.name: one for one in found if one.kind == "pipeline"}
    assert set(raced) == {
        *("default, rustvid-student", "default, rustseg-lite", "default, rustseg"),
        *("paper, rustseg-lite", "paper, rustseg"),
    }
    # every frame with a CRF: the beginning of the film is enough
    assert raced["default, rustvid-student"].config.source.end is None
    assert raced["paper, rustseg"].config.source.end == 1
    assert {name for name, one in raced.items() if one.once} == {
        *("default, rustseg-lite", "default, rustseg", "paper, rustseg"),
    }
    assert all(one.config.model.threshold == 0 for one in raced.values())


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=3)
    config = replace(Config(), input=str(film), model=replace(Config().model, name="nobody"))
    with pytest.raises(ChildFailed, match=r"(?s)nobody ended with exit code 1: .*nobody"):
        measured(Contestant("nobody", "pipeline", config), 1, tmp_path)


@pytest.mark.parametrize(
    ("name", "codec", "kind", "size"),
    [
        ("odd.webm", "libvpx-vp9", "yuv420p", (65, 49)),
        ("odd.avi", "mjpeg", "yuvj420p", (65, 49)),
        ("rgb.mkv", "ffv1", "bgr0", (64, 48)),
        ("odd_rgb.mov", "qtrle", "rgb24", (65, 49)),
        ("semiplanar.mkv", "rawvideo", "nv12", (64, 48)),
        ("ten_bits.mkv", "ffv1", "yuv422p10le", (64, 48)),
    ],
)
def test_every_film_that_rustvid_takes_is_transcoded(
    name: str, codec: str, kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """In the format that the pipeline would choose for its encoder."""
    film = plain_film(tmp_path / name, codec, kind, size)
    config = OutputConfig(path=str(tmp_path / "annotated.mp4"), preset="ultrafast")
    assert transcode(film, tmp_path / "transcoded.mp4", config).frames == 5
    run(replace(Config(), input=str(film), output=config), model=NullModel()).raise_for_error()
    assert pixel_format_of(tmp_path / "transcoded.mp4") == pixel_format_of(Path(str(config.path)))


def plain_film(path: Path, codec: str, kind: str, size: tuple[int, int]) -> Path:
    """Five gray pictures."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, kind
        for level in range(5):
            gray = np.full((*size[::-1], 3), 40 * level, np.uint8)
            frame = av.VideoFrame.from_ndarray(gray, "rgb24").reformat(format=kind)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pixel_format_of(path: Path) -> str:
    """Whatever its range."""
    with av.open(str(path)) as container:
        return str(container.streams.video[0].codec_context.pix_fmt).replace("yuvj", "yuv")


def test_sound_that_mp4_does_not_hold_is_left_out_of_the_transcoding(tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    with av.open(str(film), "w") as container:
        video: Any = container.add_stream("mjpeg", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        sound: Any = container.add_stream("pcm_mulaw", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        for _ in range(3):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuvj420p")))
            container.mux(sound.encode(silence))
        container.mux([*video.encode(None), *sound.encode(None)])
    assert transcode(film, tmp_path / "transcoded.mp4", OutputConfig()).frames == 3


def test_a_films_digest_is_taken_without_its_being_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film" * 100_000)
    wanted = hashlib.sha256(film.read_bytes()).hexdigest()
    monkeypatch.delattr(Path, "read_bytes")
    assert machine.file_digest(film) == wanted


def test_nine_in_ten() -> None:
    assert ninety([3.0]) == 3.0
    assert ninety([float(n) for n in range(11)]) == pytest.approx(9.0)


# --- an end in time


class Ticking:
    """A measurement takes a minute of a clock that stands still otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.done = 0.0, []  # type: float, list[str]
        monkeypatch.setattr(rounds.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(rounds, "measured", self._measured)

    def _measured(self, one: Contestant, *_: Any) -> Measurement:
        self.now += 60
        self.done.append(one.name)
        return Measurement(frames=1, seconds=1.0)


def a_field(*once: bool) -> list[Contestant]:
    return [
        Contestant(f"{number}", "decode", Config(), once=alone) for number, alone in enumerate(once)
    ]


def test_rounds_turn_and_those_of_one_round_do_not_come_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Ticking(monkeypatch)
    found = rounds.compete(a_field(False, False, True), 3, 1, tmp_path, lambda _: None)
    assert clock.done == ["0", "1", "2", "1", "0", "0", "1"]
    assert [len(runs) for runs in found.values()] == [3, 3, 1]


def test_no_round_is_begun_that_would_not_end_in_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, said = Ticking(monkeypatch), []  # type: Ticking, list[str]
    rounds.compete(a_field(False, False, True), 9, 1, tmp_path, said.append, until=430)
    assert clock.now == 420 and len(clock.done) == 7  # 3 minutes, 2 and 2
    assert "3 of 9 rounds" in said[-1]


def test_what_the_first_round_has_no_time_for_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Ticking(monkeypatch)
    said: list[str] = []
    found = rounds.compete(a_field(*[False] * 4), 2, 1, tmp_path, said.append, until=100)
    assert [len(runs) for runs in found.values()] == [1, 1, 0, 0]
    assert "3 is left out" in said[-2]


def test_sigterm_leaves_no_folder_behind(film: Path, tmp_path: Path) -> None:
    code = "import sys; from rustvid.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "bench", str(film), "--quick"]
    root = Path(suite.__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while process.poll() is None and not list(tmp_path.glob("rustvid-bench-*/job.log")):
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
        finally:
            process.kill()
    assert not list(tmp_path.glob("rustvid-bench-*"))


def test_as_many_workers_as_there_are_cores() -> None:
    assert [suite.crews(cores) for cores in (1, 2, 6, 16)] == [
        *((1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8, 16)),
    ]


# --- two results


def test_a_result_is_the_same_after_json(result: dict[str, Any], saved: Path) -> None:
    assert json.loads(saved.read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    found = compare(saved, saved, 0.0)
    assert {one.speed for one in found.changes} == {1.0}
    assert len(found.changes) == len(result["stages"]) + len(result["contestants"])
    assert found.same_machine and not found.missing and not found.slower


@pytest.mark.parametrize("where", ["fps", "stage"])
def test_a_planted_regression_is_found(
    where: str, result: dict[str, Any], saved: Path, tmp_path: Path, capsys: Told
) -> None:
    slower = copy.deepcopy(result)
    if where == "fps":
        slower["contestants"]["null"]["fps"]["median"] *= 0.85
    else:
        slower["stages"]["Render"]["median"] /= 0.85
    new = tmp_path / "new.json"
    machine.write_json(new, slower)
    asked = ["bench", "--compare", str(saved), str(new)]
    assert cli.main(asked) == 1  # beyond a tenth
    assert "SLOWER" in capsys.readouterr().out
    assert cli.main([*asked, "--share", "0.2", "--markdown"]) == 0
    assert "SLOWER" not in capsys.readouterr().out
    assert cli.main(["bench", "--compare", str(new), str(saved)]) == 0  # faster is no harm


def test_what_cannot_be_compared_is_said(
    result: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.json"
    other = copy.deepcopy(result)
    other["machine"]["cores"] += 1
    del other["contestants"]["null"]
    machine.write_json(new, other)
    found = compare(saved, new, 0.1)
    assert found.missing == ("null",) and not found.same_machine
    assert "different machines" in found.text()
    machine.write_json(new, {**other, "contestants": {}, "stages": {}})
    with pytest.raises(UsageError, match="no figure in common"):
        compare(saved, new, 0.1)
    with pytest.raises(UsageError, match="--share"):
        compare(saved, saved, 1.0)
    for text in ("", "[]", '{"machine": {}, "stages": {"Decode": 3}}'):
        new.write_text(text)
        with pytest.raises(UsageError, match=r"new\.json"):
            compare(new, saved, 0.1)


# --- refused before anything is measured


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.mp4"], 3, "missing.mp4"),
        (["--rounds", "0"], 2, "--rounds"),
        (["--minutes", "0.5"], 2, "--minutes"),
        (["--json", "nowhere/bench.json"], 5, "nowhere"),
        (["--compare", "a.json", "b.json"], 2, "a.json"),
    ],
)
def test_bad_arguments(arguments: list[str], code: int, said: str, capsys: Told) -> None:
    assert cli.main(["bench", *arguments]) == code
    assert said in capsys.readouterr().err


# --- without a film of one's own


def test_synthetic_films_of_every_size(tmp_path: Path) -> None:
    presets = {"default": Config(), "realtime": load(config_path("realtime"), Config())}
    plan = Plan(presets, seconds=0.2, sizes={"big": (128, 96), "small": (64, 64)})
    films = dict(suite._synthetic(plan, tmp_path, lambda _: None))
    assert [suite.described(film)["size"] for film in films.values()] == [[128, 96], [64, 64]]
    whole = list(suite._contestants(plan, films["big"], "big", ""))
    other = list(suite._contestants(plan, films["small"], "small", "small"))
    assert [one.name for one in other] == [
        *("transcode, small", "transcode, as realtime, small"),
        *("default, rustvid-student, small", "realtime, rustvid-student, small"),
    ]
    assert {dict(one.facts)["film"] for one in other} == {"small"}
    assert {one.encoder for one in other} == {one.name for one in other[:2]}
    names = [one.name for one in (*whole, *other)]
    assert len(names) == len(set(names))  # results are kept by name
