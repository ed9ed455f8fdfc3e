"""Several cameras at once: one network for all, and each one's fate its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rustvid.config import Config
from rustvid.errors import RustVidError
from rustvid.live.board import Board
from rustvid.live.named import paths_of_all
from rustvid.live.shared import Shared, shared
from rustvid.live.watch import follow, status_page
from rustvid.method.classify import Network
from rustvid.preflight import Paths
from rustvid.redact import redacted
from rustvid.report.summary import SOME_FRAMES_FAILED, Summary

_LOOK = 0.1  # seconds between looks at whether they still run


def watch_all(
    common: Config,
    cameras: Mapping[str, Config],
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Sequence[Board]], None] = lambda boards: None,
    model: Network | None = None,
) -> dict[str, Summary]:
    """Watch all cameras, as `watch` does one, until each is given up or `asked_to_stop`.

    common: whose network, workers and status page serve all
    progress: called ten times a second; may raise RustVidError to break off
    A camera that is given up or cannot be written any more ends alone; its summary says why.
    """
    cameras = {name: _called(name, config) for name, config in cameras.items()}
    paths = paths_of_all(cameras)
    boards = {name: Board(name) for name in cameras}
    summaries: dict[str, Summary] = {}
    enough = threading.Event()

    def watch_one(name: str, all_share: Shared) -> None:
        summaries[name] = _followed(cameras[name], paths[name], boards[name], stopped, all_share)

    def stopped() -> bool:
        return enough.is_set() or asked_to_stop()

    whole = Summary()
    with (
        status_page(common.status, boards),
        shared(common, whole, len(cameras), model) as all_share,
    ):
        crew = [
            threading.Thread(
                target=watch_one, args=(name, all_share), name=f"rustvid-{name}", daemon=True
            )
            for name in cameras
        ]
        try:
            for thread in crew:
                thread.start()
            while any(thread.is_alive() for thread in crew):
                progress(list(boards.values()))
                enough.wait(_LOOK)
        finally:
            enough.set()
            for thread in crew:
                if thread.ident is not None:
                    thread.join()
    for summary in summaries.values():
        summary.warnings = [*whole.warnings, *summary.warnings]
    return {name: summaries[name] for name in cameras}


def exit_code(summaries: Mapping[str, Summary]) -> int:
    """0, or 6 where a camera failed or frames did."""
    return SOME_FRAMES_FAILED if any(s.exit_code for s in summaries.values()) else 0


def lines(summaries: Mapping[str, Summary]) -> list[str]:
    """The table of all, as a person reads it; warnings of a camera after its name."""
    width = max(6, *map(len, summaries))
    told = [f"{'camera':{width}}  frames  corroded  dropped    lost  reconnects  peak %  "]
    for name, summary in summaries.items():
        counts = summary.live
        told.append(
            f"{name:{width}}  {summary.frames:6}  {summary.corroded:8}  "
            f"{counts.get('dropped', 0):7}  {counts.get('lost', 0):6}  "
            f"{counts.get('reconnects', 0):10}  {100 * summary.peak_area:6.2f}  "
            f"{summary.error or f'{len(summary.outputs)} files'}"
        )
    failed = sum(bool(summary.error) for summary in summaries.values())
    return [*told, *_warnings(summaries), f"{len(summaries)} cameras, {failed} failed"]


def _warnings(summaries: Mapping[str, Summary]) -> list[str]:
    """Each warning once, after the names of the cameras that it is of."""
    owners: dict[str, list[str]] = {}
    for name, summary in summaries.items():
        for text in dict.fromkeys(summary.warnings):
            owners.setdefault(text, []).append(name)
    return [f"{', '.join(names)}: warning: {text}" for text, names in owners.items()]


def _called(name: str, config: Config) -> Config:
    """A camera's configuration that knows its name, for what is logged of it."""
    return replace(config, source=replace(config.source, name=name))


def _followed(
    config: Config, paths: Paths, board: Board, stopped: Callable[[], bool], all_share: Shared
) -> Summary:
    """One camera's run, in its own thread; whatever ends it is in the summary."""
    log = logging.getLogger("rustvid.live")
    try:
        summary = follow(config, paths, board, stopped, engine=all_share.engine())
    except RustVidError as exc:
        summary = Summary(input=redacted(str(config.input)), error=exc)
    except Exception as exc:  # a bug: it is shown whole, and the others go on
        log.error("%s: ended by a bug", board.camera, exc_info=exc)
        error = RustVidError(f"{board.camera}: ended by a bug ({type(exc).__name__}), see the log")
        summary = Summary(input=redacted(str(config.input)), error=error)
    if summary.error:
        log.error("%s: %s", board.camera, summary.error)
    return summary
