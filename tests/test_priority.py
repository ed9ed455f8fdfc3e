"""Encoders take no priority that nobody gave them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import media
import pytest

from rustvid.config import OutputConfig, SourceConfig
from rustvid.video import open_sink, open_source, priority
from rustvid.video.sink import Template

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's priorities")


def policies() -> set[int]:
    """Of all threads of this process."""
    return {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_no_encoder_changes_the_priority_of_a_thread(codec: str, tmp_path: Path) -> None:
    source, before = media.clip(tmp_path / "a.mkv", frames=3), policies()
    seen: list[set[int]] = []
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        template = Template(reader.info, reader.container, ())
        with open_sink(tmp_path / "out.mkv", template, OutputConfig(codec=codec)) as sink:  # type: ignore[arg-type]
            for frame in reader.frames():
                sink.write(frame.picture, frame)
                seen.append(policies())
            sink.finish(())
    assert seen == [before] * 3 and policies() == before


def test_this_thread_and_those_begun_inside_are_as_this_one_was() -> None:
    go, found, before = threading.Event(), dict[str, int](), os.sched_getscheduler(0)

    def note() -> None:
        go.wait()
        found["begun inside"] = os.sched_getscheduler(0)

    def work() -> None:
        with priority.unchanged():
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # needs no privilege
            inside = threading.Thread(target=note)
            inside.start()
        found["this one"] = os.sched_getscheduler(0)
        go.set()
        inside.join()

    apart = threading.Thread(target=work)
    apart.start()
    apart.join()
    assert found == {"begun inside": before, "this one": before}


def test_an_error_inside_changes_nothing_of_it() -> None:
    before = os.sched_getscheduler(0)
    with pytest.raises(ValueError, match="broken"), priority.unchanged():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        raise ValueError("broken")
    assert os.sched_getscheduler(0) == before
