"""The command line as far as it goes without a network: parsing, refusing, printing."""

from __future__ import annotations

import argparse
import io
import json
import runpy
import sys
from functools import reduce
from pathlib import Path

import pytest

from rustvid import __version__, cli, demo, pipeline
from rustvid.cli import main
from rustvid.config import Config, load
from rustvid.errors import Interrupted, SinkError
from rustvid.report.summary import Summary
from rustvid.training import evaluation, tune
from rustvid.training.tune import Tuned

ROOT = Path(__file__).resolve().parents[1]
Told = pytest.CaptureFixture[str]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that a run was asked for; nothing is run."""
    asked: list[Config] = []

    def run(config: Config, progress: object = None) -> Summary:
        asked.append(config)
        return Summary(input=str(config.input), elapsed=1.0)

    monkeypatch.setattr(pipeline, "run", run)
    return asked


def refusal(told: Told) -> str:
    """The one line of stderr, without the program's name."""
    out, err = told.readouterr()
    assert out == ""
    assert err.startswith("rustvid: ")
    assert err.count("\n") == 1
    return err.removeprefix("rustvid: ").rstrip("\n")


# --- what is refused, before anything is decoded


@pytest.mark.parametrize("option", ["--colour", "--outt", "-x"])
def test_an_unknown_option_ends_with_2(option: str, clip: Path, capsys: Told) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(clip), "--out", "a.mp4", option, "1"])
    assert left.value.code == 2
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


def test_without_an_output_there_is_nothing_to_do(clip: Path, capsys: Told) -> None:
    assert main([str(clip)]) == 2
    assert refusal(capsys) == (
        "nothing to write: add --out annotated.mp4 (or --csv, --mask, --json)"
    )


def test_a_missing_input_ends_with_3(tmp_path: Path, capsys: Told) -> None:
    missing = tmp_path / "nowhere.mp4"
    assert main([str(missing), "--out", str(tmp_path / "a.mp4")]) == 3
    assert refusal(capsys) == f"{missing}: no such file or folder; check the path"
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_ends_with_2_and_is_left_alone(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "a.mp4"
    out.write_text("an hour of work")
    assert main([str(clip), "--out", str(out)]) == 2
    assert refusal(capsys) == f"{out}: exists; choose another name or add --overwrite"
    assert out.read_text() == "an hour of work"
    assert list(tmp_path.iterdir()) == [out]


def test_a_table_that_exists_beside_the_video_is_refused_too(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    (tmp_path / "a.csv").touch()
    assert main([str(clip), "--out", str(tmp_path / "a.mp4")]) == 2
    assert refusal(capsys).startswith(f"{tmp_path / 'a.csv'}: exists")


def test_a_folder_that_is_not_there_ends_with_5(clip: Path, tmp_path: Path, capsys: Told) -> None:
    assert main([str(clip), "--out", str(tmp_path / "none" / "a.mp4")]) == 5
    assert "no such folder for a.mp4; create it first" in refusal(capsys)


def test_the_part_of_a_crashed_run_survives_a_refusal(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    part = tmp_path / "a.part.mp4"
    part.write_text("all that was saved")
    (tmp_path / "m.mkv").mkdir()
    given = ["--out", str(tmp_path / "a.mp4"), "--mask", str(tmp_path / "m.mkv")]
    assert main([str(clip), *given]) == 2
    assert "is a folder" in refusal(capsys)
    assert part.read_text() == "all that was saved"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--set", "refine.itterations=5"], "did you mean refine.iterations?"),
        (["--set", "refine.size=0"], "--set: refine.size must be 32–4096, received 0"),
        (["--every", "0"], "--every: sample.every must be at least 1, received 0"),
        (
            ["--every", "often"],
            "--every: sample.every must be a whole number or auto, received 'often'",
        ),
        (["--view", "x-ray"], "--view: render.view must be overlay, heatmap, mask or side-by-side"),
        (["--start", "soon"], "--start: source.start must be seconds or hh:mm:ss"),
        (["--config", "fast"], "--config fast: not a .yaml file nor one of default, guided, paper"),
        (["--config", "none.yaml"], "none.yaml: cannot be read"),
        (["--model", "rustseg-huge"], "model rustseg-huge: is not shipped"),
        (["--model", "my.npz"], "my.npz: no such file"),
        (["--start", "9", "--end", "3"], "source.end 3.0 s must be after source.start 9.0 s"),
    ],
)
def test_a_wrong_value_ends_with_2_and_says_where_and_what(
    given: list[str], told: str, clip: Path, tmp_path: Path, capsys: Told
) -> None:
    assert main([str(clip), "--out", str(tmp_path / "a.mp4"), *given]) == 2
    assert told in refusal(capsys)


def test_an_unknown_key_of_a_file_is_told_with_the_file(tmp_path: Path, capsys: Told) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("sampel: {every: 2}")
    assert main(["config", "--config", str(path)]) == 2
    assert refusal(capsys) == f"{path}: unknown key sampel; did you mean sample?"


def test_verbose_adds_the_traceback(tmp_path: Path, capsys: Told) -> None:
    main([str(tmp_path / "none.mp4"), "--json", "--verbose"])
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("rustvid: ")


def test_nothing_given_prints_the_help(capsys: Told) -> None:
    assert main([]) == 2
    assert "usage: rustvid" in capsys.readouterr().out


# --- shortcuts, --set, files


def test_every_shortcut_is_a_key_of_the_configuration() -> None:
    for key, _ in (cli._SHORTCUTS | cli._LIVE_SHORTCUTS).values():
        reduce(getattr, key.split("."), Config())


@pytest.mark.parametrize(
    ("flag", "value", "key", "expected"),
    [
        ("--csv", "t.csv", "output.csv", "t.csv"),
        ("--mask", "m.mkv", "output.mask", "m.mkv"),
        ("--model", "rustseg-lite", "model.name", "rustseg-lite"),
        ("--device", "gpu:0", "model.device", "gpu:0"),
        ("--every", "5", "sample.every", 5),
        ("--start", "0:01", "source.start", 1.0),
        ("--end", "00:00:02.5", "source.end", 2.5),
        ("--view", "side-by-side", "render.view", "side-by-side"),
        ("--workers", "0", "workers", 0),
        ("--hwaccel", "cuda", "source.hwaccel", "cuda"),
        ("--max-memory", "2G", "max_memory", 2 * 10**9),
    ],
)
def test_a_shortcut_sets_its_key(
    flag: str,
    value: str,
    key: str,
    expected: object,
    ran: list[Config],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(clip), "--out", "a.mp4", flag, value, "--quiet"]) == 0
    (config,) = ran
    assert reduce(getattr, key.split("."), config) == expected
    assert (config.input, config.output.path) == (str(clip), "a.mp4")


def test_every_shortcut_is_tested_above() -> None:
    (marks,) = test_a_shortcut_sets_its_key.pytestmark  # type: ignore[attr-defined]
    assert {flag for flag, *_ in marks.args[1]} == set(cli._SHORTCUTS) - {"--out", "--out-dir"}


@pytest.mark.parametrize(
    "name", ["1234.mp4", "null.mp4", "a: b.mp4", "true", "#1.mp4", "\U0001f600.mp4"]
)
def test_a_file_name_is_never_read_as_yaml(
    name: str, ran: list[Config], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(clip), "--out", name] if "." in name else [str(clip), "--out", f"{name}.mp4"]
    assert main([*given, "--quiet"]) == 0
    assert ran[0].output.path == given[-1]


def test_a_later_word_wins_file_then_set_then_shortcut(
    ran: list[Config], clip: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("sample: {every: 2}\nrefine: {size: 100, erosion: 3, seed: 1}")
    two.write_text("refine: {size: 200, erosion: 7}")
    main(
        [
            str(clip),
            "--json",
            "--quiet",
            "--every",
            "9",
            "--set",
            "sample.every=5",
            "--set",
            "refine.size=300",
            "--config",
            str(one),
            "--config",
            str(two),
        ]
    )
    (config,) = ran
    assert config.sample.every == 9  # shortcut over --set over file
    assert config.refine.size == 300  # --set over both files
    assert config.refine.erosion == 7  # second file over the first
    assert config.refine.seed == 1


def test_flags_set_their_keys(ran: list[Config], clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    main([str(clip), "--out", str(tmp_path / "a.mp4"), "--overwrite", "--no-text", "--quiet"])
    assert ran[0].output.overwrite
    assert not ran[0].render.text


@pytest.mark.parametrize("words", [[], ["run"]])
def test_run_is_the_default_command(words: list[str], ran: list[Config], clip: Path) -> None:
    assert main([*words, str(clip), "--json", "--quiet"]) == 0
    assert ran[0].input == str(clip)


# --- what a run prints


def test_json_is_alone_on_stdout(ran: list[Config], clip: Path, capsys: Told) -> None:
    assert main([str(clip), "--json", "--every", "3"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["versions"]["rustvid"] == __version__
    assert facts["config"]["sample"]["every"] == 3
    assert facts["exit_code"] == 0
    assert "frames per second" in err


def test_quiet_says_nothing_where_all_is_well(
    ran: list[Config], clip: Path, tmp_path: Path, capsys: Told
) -> None:
    assert main([str(clip), "--csv", str(tmp_path / "t.csv"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_at_the_end_of_a_run_is_told_and_sets_the_exit_code(
    clip: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_: Summary(error=Interrupted(15)))
    assert main([str(clip), "--json", "--quiet"]) == 143
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 143
    assert err == "rustvid: interrupted by signal 15\n"


# --- the other commands


def test_config_prints_documented_yaml_that_loads_again(capsys: Told, tmp_path: Path) -> None:
    assert main(["config", "--set", "sample.every=7", "--config", "paper"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load(printed, Config())
    assert config.sample.every == 7
    assert config.refine.method == "crf"
    assert "# " in printed.read_text(encoding="utf-8")


def test_a_terminal_that_is_no_utf8_gets_what_it_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["config"]) == 0
    screen.seek(0)
    assert "(0?1)" in screen.read()  # a dash that Latin-1 lacks


def test_models_lists_what_is_shipped(capsys: Told) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shipped = sorted(p.stem for p in (ROOT / "rustvid/method/weights").glob("*.npz"))
    assert [line.split()[0] for line in lines] == shipped
    assert all(" MB  " in line and len(line.split("MB  ")[1]) > 10 for line in lines)


def test_demo_hands_over_what_was_given(
    capsys: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def write(path: Path, **given: object) -> Path:
        calls.append((path, given))
        return path

    monkeypatch.setattr(demo, "write", write)
    out = tmp_path / "demo.mp4"
    assert main(["demo", str(out), "--seconds", "2"]) == 0
    assert main(["demo", str(out), "--overwrite"]) == 0
    assert calls == [(out, {"overwrite": False, "seconds": 2.0}), (out, {"overwrite": True})]
    assert f"wrote {out}\n" in capsys.readouterr().out


# --- help


def test_help_tells_the_exit_codes_and_the_first_command(capsys: Told) -> None:
    text = " ".join(helped(["--help"], capsys).split())
    assert "rustvid footage.mp4 --out annotated.mp4" in text
    assert (
        "0 ok, 1 failure, 2 usage or configuration, 3 input unreadable or cut short, "
        "5 output, 6 some frames, files or cameras failed, 129, 130 and 143 interrupted"
    ) in text


def test_every_option_has_a_help_text() -> None:
    (commands,) = (
        a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction)
    )
    assert set(commands.choices) == set(cli.COMMANDS)
    for name, parser in commands.choices.items():
        for action in parser._actions:
            assert action.help or action.metavar == "OUT.mp4", f"{name} {action.dest}"


def test_version_is_the_packages(capsys: Told) -> None:
    assert helped(["--version"], capsys) == f"rustvid {__version__}\n"


@pytest.mark.parametrize("start", ["rustvid.py", "rustvid"])
def test_the_launcher_and_the_module_are_the_command(
    start: str, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = helped(["--help"], capsys)
    monkeypatch.setattr(sys, "argv", [start, "--help"])
    with pytest.raises(SystemExit) as left:
        if start == "rustvid":
            runpy.run_module("rustvid", run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / start), run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == expected


def helped(words: list[str], capsys: Told) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    return capsys.readouterr().out


def test_training_without_photos_is_told_and_leaves_no_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["train", str(tmp_path), "--out", str(out), "--set", "crop=64"]) == 2
    assert "no class folder corrosion" in capsys.readouterr().err
    assert not list(out.glob("*.npz"))


@pytest.mark.parametrize(
    "words", [["evaluate", "segment"], ["evaluate", "classify"], ["tune"], ["adapt"]]
)
def test_a_refinement_that_a_run_refuses_is_not_measured_either(
    words: list[str], tmp_path: Path, capsys: Told
) -> None:
    """At once: before the pictures, which are not there, are looked for."""
    quick = ["refine.method=crf", "refine.engine=fast", "refine.crf.appearance_sigma_xy=3"]
    given = [*words, str(tmp_path / "none"), *(w for key in quick for w in ("--set", key))]
    out = [] if words[0] == "evaluate" else ["--out", str(tmp_path / "out")]
    assert main([*given, *out]) == 2
    assert "refine.engine fast needs a reach of 10 pixels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "where", "code", "told"),
    [
        (["evaluate", "segment"], "folder", 2, "folder: is a folder; name a file in it"),
        (["evaluate", "classify"], "file/figures.json", 5, "file: no such folder for figures.json"),
        (["evaluate", "classify"], "n" * 300, 5, "cannot be written (File name too long)"),
        (["tune"], "nowhere/tuned.yaml", 5, "nowhere: no such folder for tuned.yaml"),
        (["tune"], "folder", 2, "folder: is a folder; name a file in it"),
        (["bench"], "folder", 2, "folder: is a folder; name a file in it"),
    ],
)
def test_where_a_result_cannot_be_written_is_told_before_the_work(
    words: list[str], where: str, code: int, told: str, tmp_path: Path, capsys: Told
) -> None:
    """Before the pictures, which are not there, are looked for."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    flag = "--out" if words == ["tune"] else "--json"
    assert main([*words, str(tmp_path / "none"), flag, str(tmp_path / where)]) == code
    assert told in capsys.readouterr().err


def test_figures_may_go_to_folders_that_are_not_there_yet(tmp_path: Path, capsys: Told) -> None:
    """They are made when there are figures, and not before."""
    figures = tmp_path / "deep" / "deeper" / "figures.json"
    assert main(["evaluate", "segment", str(tmp_path / "none"), "--json", str(figures)]) == 2
    assert "none: no such folder or film" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_was_found_is_printed_though_it_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Told
) -> None:
    def full(*_: object) -> Path:
        raise SinkError("figures.json: cannot be written (No space left on device)")

    found = evaluation.Evaluation("a table", {})
    monkeypatch.setattr(evaluation, "evaluate_segment", lambda *_: found)
    monkeypatch.setattr(evaluation.Evaluation, "write_json", full)
    tuned = Tuned(Config(), 0.1, 0.2, 0.15, 30, 60)
    monkeypatch.setattr(tune, "tune", lambda *_: tuned)
    monkeypatch.setattr(Tuned, "write", full)
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "a.png"):
        (tmp_path / "photos" / name).touch()
    figures = str(tmp_path / "figures.json")
    assert main(["evaluate", "segment", str(tmp_path / "photos"), "--json", figures]) == 5
    said = capsys.readouterr()
    assert said.out == "a table\n" and "No space left" in said.err
    assert main(["tune", str(tmp_path / "photos"), "--out", figures]) == 5
    said = capsys.readouterr()
    assert said.out == f"{tuned.text}\n" and "No space left" in said.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["", "--csv", "a.csv"], 2, "an input is empty"),
        (["-", "--csv", "a.csv"], 2, "a pipe can be read only once"),
        (["http://[foo", "--csv", "a.csv"], 2, "names no host"),
        (["demo", "a.mp4", "--seconds", "nan"], 2, "less than one frame"),
        (["demo", "a.mp4", "--seconds", "inf"], 2, "less than one frame"),
        (["demo", f"{'n' * 300}.mp4"], 5, "File name too long"),
        (["train", "n" * 300, "--out", "o"], 5, "File name too long"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Told,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rustvid: ") and told in line


def test_cameras_take_the_switches_of_one() -> None:
    """What preflight advises, `rustvid live` knows."""
    words = ["live", "cameras.yaml", "--overwrite", "--no-text", "--keep-all", "--clips"]
    config = cli._configuration(cli.build_parser().parse_args(words))
    assert config.output.overwrite and config.output.clips and config.source.keep_all
    assert not config.render.text
