"""The cores of a run are shared by one plan, and the plan reaches decoder, encoder and workers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest

from rustvid.budget import Threads, available, plan, size_pool, threads_of, within
from rustvid.config import Config, apply
from rustvid.pipeline import run
from rustvid.video.film import FileSource
from rustvid.video.muxed import VideoSink


@pytest.mark.parametrize(
    ("cores", "student", "advanced"),
    [
        (1, Threads(1, 1, 0, 1), Threads(1, 1, 1, 1)),
        (2, Threads(3, 2, 0, 3), Threads(3, 2, 2, 3)),
        (4, Threads(5, 4, 0, 6), Threads(5, 4, 4, 6)),
        (16, Threads(5, 16, 0, 12), Threads(5, 16, 16, 12)),
    ],
)
def test_the_plan(cores: int, student: Threads, advanced: Threads) -> None:
    assert plan(cores, "student") == student
    assert plan(cores, "advanced") == plan(cores, "crf") == advanced
    light = replace(advanced, workers=max(1, cores // 2))
    assert plan(cores, "student-crf") == light


def test_workers_that_were_asked_for_are_had() -> None:
    assert [plan(4, method, 3).workers for method in ("student", "advanced")] == [3, 3]
    assert plan(4, "advanced", 0).workers == 0


def test_a_number_of_threads_is_taken_for_the_cores() -> None:
    config = apply(Config(), "threads=3")
    assert threads_of(config) == plan(3, config.refine.method)
    assert threads_of(Config()) == plan(available(), "auto")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("max 100000", None),
        ("", None),
        ("100000 0", None),
        ("what", None),
    ],
)
def test_a_container_may_have_a_part_of_the_machine(quota: str, cores: int | None) -> None:
    assert within(quota) == cores


def test_there_are_no_more_cores_than_the_process_may_use() -> None:
    assert 1 <= available() <= len(os.sched_getaffinity(0))


def test_a_pool_that_somebody_has_sized_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    size_pool(3)
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "7"
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    size_pool(3)
    assert os.environ.pop("TF_NUM_INTRAOP_THREADS") == "3"


def test_the_plan_reaches_decoder_and_encoder(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    frames, start = FileSource.frames, VideoSink._start

    def spied_frames(source: FileSource) -> Any:
        for frame in frames(source):
            seen["decode"] = source._stream.codec_context.thread_count
            yield frame

    def spied_start(sink: VideoSink, picture: Any) -> None:
        start(sink, picture)
        seen["encode"] = sink._video.codec_context.thread_count

    monkeypatch.setattr(FileSource, "frames", spied_frames)
    monkeypatch.setattr(VideoSink, "_start", spied_start)
    config = replace(fakes.quick("threads=3"), input=str(clip))
    config = apply(config, f"output.path={tmp_path / 'out.mp4'}")
    run(config, model=fakes.ColourModel()).raise_for_error()
    assert seen == {"decode": 4, "encode": 4}
