"""Several cameras at once: one network in turns, and each one's fate its own."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cameras import Camera
from fakes import ColourModel
from test_live import until
from test_watch import ROOT, SLOW, _reachable, command, consistent, free_port, get, rows

from rustvid.cli import main
from rustvid.errors import ConfigError, SourceError, UsageError
from rustvid.live.board import Board
from rustvid.live.cameras import exit_code, lines, watch_all
from rustvid.live.named import read_cameras
from rustvid.live.recorder import Order
from rustvid.method.classify import Answer
from rustvid.report.summary import Summary
from rustvid.threads import Turns

__all__ = ["command"]  # a fixture
pytestmark = pytest.mark.usefixtures("no_leftovers")

COMMON: dict[str, Any] = {
    "workers": 0,
    "refine": {"size": 96, "method": "student"},
    "source": {"retry_first": 0.05, "retry_longest": 0.2, "open_timeout": 20.0},
}


def written(folder: Path, cameras: dict[str, dict[str, Any]], **common: Any) -> Path:
    """A file of cameras."""
    path = folder / "cameras.yaml"
    path.write_text(yaml.safe_dump({**COMMON, **common, "cameras": cameras}))
    return path


class Fleet:
    """A run of several cameras in a thread of its own: `with` ends it as a signal would."""

    def __init__(self, path: Path, model: ColourModel | None = None) -> None:
        self.common, self.cameras = read_cameras(path)
        self.boards: dict[str, Board] = {}
        self.summaries: dict[str, Summary] = {}
        self.error: BaseException | None = None
        self._model = model or ColourModel()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        try:
            self.summaries = watch_all(
                self.common, self.cameras, self._stop.is_set, self._look, self._model
            )
        except BaseException as exc:  # noqa: BLE001 - for the test to see
            self.error = exc

    def _look(self, boards: Sequence[Board]) -> None:
        self.boards = {board.camera: board for board in boards}

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def count(self, camera: str, name: str = "written") -> int:
        board = self.boards.get(camera)
        return board.snapshot().counts.get(name, 0) if board else 0

    def state(self, camera: str) -> str:
        board = self.boards.get(camera)
        return board.snapshot().state if board else ""

    def until(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: condition() or not self._thread.is_alive(), what)
        assert self.error is None, self.error
        assert condition(), f"the run is over, and not: {what}; {self.summaries}"


# --- one after another


def test_those_who_ask_again_and_again_have_their_turns_one_after_another() -> None:
    """However greedy they are: the network cannot be had by one alone."""
    go, served = threading.Semaphore(0), list[int]()

    def work(requests: list[int]) -> list[int]:
        served.extend(requests)
        go.acquire()
        return requests

    def ask(number: int, turns: Turns[int, int]) -> None:
        for _ in range(20):
            assert turns.ask(number) == number

    with Turns(work, 1, "turns") as turns:
        crew = [threading.Thread(target=ask, args=(n, turns)) for n in range(3)]
        for thread in crew:
            thread.start()
        for done in range(50):  # one is at work, the two others wait, all want more
            until(lambda n=done: len(served) == n + 1 and len(turns._waiting) == 2, "all ask")
            go.release()
        go.release(10)  # the rest, as they come
        for thread in crew:
            thread.join()
    assert sorted(served[:3]) == [0, 1, 2] and served[:50] == (served[:3] * 20)[:50]


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    go, order = threading.Event(), []

    def work(requests: list[int]) -> list[int]:
        order.append(list(requests))
        go.wait()
        return requests

    with Turns(work, 2, "turns") as turns:
        crew = [threading.Thread(target=turns.ask, args=(n,)) for n in range(6)]
        for number, thread in enumerate(crew):
            thread.start()
            until(lambda n=number: order == [[0]] and len(turns._waiting) == n, "it waits")
        go.set()
        for thread in crew:
            thread.join()
    assert order == [[0], [1, 2], [3, 4], [5]]


def test_what_breaks_the_shared_part_is_raised_in_all_who_ask() -> None:
    def work(requests: list[int]) -> list[int]:
        raise ValueError("broken")

    with Turns(work, 1, "turns") as turns:
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                turns.ask(1)
    with Turns(work, 1, "turns") as over:
        pass
    with pytest.raises(RuntimeError, match="nobody answers"):
        over.ask(1)


# --- isolation and fairness


def test_one_camera_s_failure_is_not_another_s(tmp_path: Path) -> None:
    """One refuses us, one dies in the middle; the third never notices."""
    with Camera() as good, Camera() as dying, Camera() as refusing:
        refusing.answer = 404
        path = written(
            tmp_path,
            {
                "good": {"input": good.url, "output": {"segment": 2}},
                "dying": {"input": dying.url, "source": {"retry_for": 0.3}},
                "refusing": {"input": refusing.url},
            },
            output={"folder": str(tmp_path)},
        )
        with Fleet(path) as fleet:
            fleet.until(lambda: fleet.count("dying") > 10, "frames of the one that will die")
            dying.kill()
            fleet.until(lambda: fleet.state("dying") == "failed", "its end")
            seen = fleet.count("good")
            fleet.until(lambda: fleet.count("good") > seen + 30, "frames of the good one")
    summaries = fleet.summaries
    assert {name: summary.exit_code for name, summary in summaries.items()} == {
        "good": 0,
        "dying": 3,
        "refusing": 3,
    }
    assert "404" in str(summaries["refusing"].error)
    assert isinstance(summaries["dying"].error, SourceError)
    assert len(consistent(tmp_path / "dying.mp4")) == summaries["dying"].frames > 10
    films = sorted(tmp_path.glob("good-*.mp4"))
    assert films and sum(len(consistent(film)) for film in films) == summaries["good"].frames
    assert not list(tmp_path.glob("*.part.*"))
    assert exit_code(summaries) == 6
    told = "\n".join(lines(summaries))
    assert "3 cameras, 2 failed" in told and "404" in told


class Slow(ColourModel):
    """A network that is asked for more than it can do; it notes who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []

    def look(self, images: Sequence[Any]) -> Answer:
        threading.Event().wait(0.1)  # its work
        self.passes.append(len(images))
        return super().look(images)


def test_no_camera_starves_another_of_the_network(tmp_path: Path) -> None:
    """One sends four times as many frames; the network is too slow for any of them."""
    with Camera(rate=100) as greedy, Camera() as a, Camera() as b:
        inputs = {"greedy": greedy.url, "a": a.url, "b": b.url}
        path = written(
            tmp_path,
            {name: {"input": url} for name, url in inputs.items()},
            output={"folder": str(tmp_path)},
        )
        model = Slow()
        with Fleet(path, model) as fleet:
            for name in inputs:
                fleet.until(
                    lambda n=name: fleet.count(n, "analysed") > 0, f"the first look at {name}"
                )
            before = {name: fleet.count(name, "analysed") for name in inputs}
            for name, seen in before.items():
                fleet.until(
                    lambda n=name, s=seen: fleet.count(n, "analysed") >= s + 8, f"looks at {name}"
                )
    looked = {name: run.analysed - before[name] for name, run in fleet.summaries.items()}
    # Not the other way round: who falls behind puts its own looks off before it drops frames.
    assert looked["greedy"] <= 2 * min(looked["a"], looked["b"]), looked
    assert max(model.passes) > 1, "frames of several cameras go through the network together"
    for name, summary in fleet.summaries.items():
        table = rows(tmp_path / f"{name}.csv")
        assert len(table) == summary.frames > summary.analysed, "the others were tracked"


def test_a_bug_in_one_camera_s_run_ends_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from rustvid.live import watch

    real = watch.Segments

    def buggy(order: Order) -> Any:
        if "bad" in str(order.config.output.path):
            raise ZeroDivisionError("a bug")
        return real(order)

    monkeypatch.setattr(watch, "Segments", buggy)
    with Camera() as one, Camera() as two:
        path = written(
            tmp_path,
            {"bad": {"input": one.url}, "good": {"input": two.url}},
            output={"folder": str(tmp_path)},
        )
        with Fleet(path) as fleet:
            fleet.until(lambda: fleet.count("good") > 20, "frames of the good one")
    assert fleet.summaries["bad"].exit_code == 1 and fleet.summaries["good"].exit_code == 0
    assert "ZeroDivisionError" in caplog.text


def test_workers_that_refine_are_shared_too(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cameras = [stack.enter_context(Camera()) for _ in range(2)]
        path = written(
            tmp_path,
            {f"c{n}": {"input": camera.url} for n, camera in enumerate(cameras)},
            output={"folder": str(tmp_path)},
            workers=2,
        )
        with Fleet(path) as fleet:
            for name in ("c0", "c1"):
                fleet.until(lambda n=name: fleet.count(n, "analysed") > 10, f"masks of {name}")
    for name in ("c0", "c1"):
        table = consistent(tmp_path / f"{name}.mp4")
        assert any(float(row["area_pct"]) > 1 for row in table)


# --- what is said


def test_every_line_of_a_camera_begins_with_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the connection, of what is sent on and of events; and no password comes with it."""
    caplog.set_level("INFO", "rustvid.live")
    folder = tmp_path / "films"
    folder.mkdir()
    with Camera(user="me:s3cret") as gate, Camera() as tower:
        tower.answer = 404
        path = written(
            tmp_path,
            {
                "gate": {"input": gate.url.replace("//", "//me:s3cret@")},
                "tower": {"input": tower.url.replace("//", "//me:s3cret@")},
            },
            output={
                "folder": str(folder),
                "republish": f"rtsp://me:s3cret@127.0.0.1:{free_port()}/key",
            },
            events={"area": 0, "seconds": 0, "command": "false s3cret"},
        )
        with Fleet(path) as fleet:
            fleet.until(lambda: fleet.count("gate", "republish_dropped") > 20, "packets given up")
            fleet.until(lambda: "not delivered" in caplog.text, "the program's failure")
            gate.kill()
            fleet.until(lambda: fleet.state("gate") == "waiting", "the drop")
            fleet.until(lambda: "tower" in caplog.text and "404" in caplog.text, "the refusal")
    said = [record.getMessage() for record in caplog.records]
    assert all(line.startswith(("gate: ", "tower: ")) for line in said), said
    for words in ("connecting", "playing", "waiting", "republish to", "not delivered", "stopped"):
        assert any(line.startswith("gate: ") and words in line for line in said), (words, said)
    told = "\n".join([*said, *lines(fleet.summaries)])
    assert "s3cret" not in told and "127.0.0.1" in told


def test_the_closing_table_names_whose_a_warning_is() -> None:
    summaries = {"gate": Summary(warnings=["low space", "no sound"]), "tower": Summary()}
    summaries["tower"].warnings = ["low space"]
    told = lines(summaries)
    assert [line.split()[0] for line in told[:3]] == ["camera", "gate", "tower"]
    assert told[3:] == [
        "gate, tower: warning: low space",
        "gate: warning: no sound",
        "2 cameras, 0 failed",
    ]


# --- the page


def test_one_page_shows_all_cameras(tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{free_port()}"
    with Camera(user="me:s3cret") as gate, Camera() as tower:
        tower.answer = 404
        path = written(
            tmp_path,
            {
                "gate": {"input": gate.url.replace("//", "//me:s3cret@")},
                "tower": {"input": tower.url, "source": {"retry_refused": True}},
            },
            status={"address": base.removeprefix("http://")},
        )
        with Fleet(path) as fleet:
            until(lambda: _reachable(base), "the page")
            fleet.until(lambda: get(f"{base}/gate/healthz")[0] == 200, "the gate's health")
            fleet.until(lambda: fleet.count("tower") == 0 and fleet.state("tower") != "", "both")
            assert get(f"{base}/healthz")[0] == 503, "one of them is ill"
            assert get(f"{base}/tower/snapshot.jpg")[0] == 503
            assert get(f"{base}/gate/snapshot.jpg")[1].startswith(b"\xff\xd8")
            metrics = get(f"{base}/metrics")[1].decode()
            assert 'rustvid_up{camera="gate"} 1.0' in metrics
            assert 'rustvid_up{camera="tower"} 0.0' in metrics
            both = json.loads(get(f"{base}/status.json")[1])["cameras"]
            assert both["gate"]["counts"]["written"] > 0 and both["tower"]["healthy"] is False
            assert json.loads(get(f"{base}/gate/status.json")[1])["history"]
            assert b"cameras" in get(base)[1] and b"stream.mjpg" in get(f"{base}/gate/")[1]
            for missing in ("/stream.mjpg", "/other/", "/gate/metrics", "/gate/x"):
                assert get(base + missing)[0] == 404
            tower.answer = 200
            fleet.until(lambda: get(f"{base}/healthz")[0] == 200, "both healthy")
            seen = b"".join(get(base + p)[1] for p in ("/", "/status.json", "/gate/status.json"))
    assert b"s3cret" not in seen + metrics.encode()


# --- the file


def test_what_is_common_holds_for_all_and_a_camera_s_own_on_top(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "a": {"input": "rtsp://h/a"},
            "b": {"input": "rtsp://h/b", "sample": {"every": 5}, "output": {"path": "b.mkv"}},
        },
        sample={"every": 10},
        output={"folder": str(tmp_path), "segment": "10m"},
    )
    common, cameras = read_cameras(path)
    assert common.sample.every == 10 and list(cameras) == ["a", "b"]
    assert [camera.sample.every for camera in cameras.values()] == [10, 5]
    paths = [camera.output.path for camera in cameras.values()]
    assert paths == [str(tmp_path / "a.mp4"), "b.mkv"]
    assert all(camera.output.segment == 600 for camera in cameras.values())


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        ({}, "must be a section of named cameras"),
        ({"a/b": {"input": "rtsp://h/x"}}, "letters, digits"),
        ({"a": "rtsp://h/x"}, "is a section of keys"),
        ({"a": {"input": "rtsp://h/x", "model": {"batch": 2}}}, "is one for all cameras"),
        ({"a": {"input": "rtsp://h/x", "outptu": {}}}, r"cameras\.a\.outptu.*cameras\.a\.output"),
        ({"a": {"source": {}}}, r"cameras\.a\.input is missing"),
        ({"a": {"input": "film.mp4", "output": {"path": "x.mp4"}}}, "no such file"),
        ({"a": {"input": "rtsp://h/x", "output": {"path": None}}}, "writes nothing"),
    ],
)
def test_a_file_of_cameras_that_cannot_work_is_refused(
    tmp_path: Path, cameras: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, UsageError, SourceError), match=words):
        read_cameras(written(tmp_path, cameras))


def test_two_cameras_may_not_write_the_same_file(tmp_path: Path) -> None:
    same = {"path": str(tmp_path / "x.mp4")}
    cameras = {n: {"input": f"rtsp://h/{n}", "output": same} for n in "ab"}
    with pytest.raises(UsageError, match="named for a and b"):
        read_cameras(written(tmp_path, cameras))


# --- the command line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_completes_the_files_of_all_cameras(
    number: int, command: list[str], tmp_path: Path
) -> None:
    folder, log = tmp_path / "films", tmp_path / "log.txt"
    folder.mkdir()
    with Camera(user="me:s3cret") as a, Camera() as b, log.open("wb") as told:
        silent = Camera()  # never there: its back-off must not hold the end up
        path = written(
            tmp_path,
            {
                "a": {"input": a.url.replace("//", "//me:s3cret@")},
                "b": {"input": b.url},
                "c": {"input": silent.url, "source": {"retry_longest": 600, "retry_first": 600}},
            },
        )
        words = ["live", str(path), "--out-dir", str(folder), "--json"]
        child = subprocess.Popen(
            [*command[:3], *words, *command[3:]], cwd=ROOT, stdout=subprocess.PIPE, stderr=told
        )
        try:
            parts = [folder / f"{name}.part.csv" for name in "ab"]

            def begun() -> bool:
                return all(p.exists() and p.read_bytes().count(b"\n") > 6 for p in parts)

            until(lambda: begun() or child.poll() is not None, "rows of both")
            child.send_signal(number)
            out, _ = child.communicate(timeout=SLOW)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    assert child.returncode == 0, log.read_text()
    facts = json.loads(out)["cameras"]
    assert set(facts) == {"a", "b", "c"} and facts["c"]["frames"] == 0
    for name in "ab":
        assert len(consistent(folder / f"{name}.mp4")) == facts[name]["frames"] > 5
    assert "s3cret" not in out.decode() + log.read_text()
    assert "3 cameras, 0 failed" in log.read_text()


def test_the_command_line_refuses_a_file_of_cameras_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, {"a": {"input": "ftp://me:s3cret@h/x"}})
    assert main(["live", str(path), "--out-dir", str(tmp_path)]) == 2
    assert main(["live", str(tmp_path / "none.yaml")]) == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 2 and "s3cret" not in err and "none.yaml" in err


def test_the_network_is_compiled_for_each_number_of_pictures(monkeypatch: Any) -> None:
    """One picture alone is not padded to the batch of all cameras."""
    from rustvid.method.framework import KerasNetwork

    network = KerasNetwork.__new__(KerasNetwork)
    network._shapes, network._device = [1, 2, 4], None
    seen: list[int] = []

    class Inner:
        def predict_on_batch(self, stack: Any) -> dict[str, Any]:
            seen.append(len(stack))
            return {"probability": np.zeros(len(stack)), "evidence": np.zeros((len(stack), 2, 2))}

    network._model = Inner()
    for count in (1, 2, 3, 4):
        assert len(network(np.zeros((count, 8, 8, 3), np.uint8)).probability) == count
    assert seen == [1, 2, 4, 4]
