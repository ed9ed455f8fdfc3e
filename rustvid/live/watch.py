"""The story of a live run: the pipeline, its files, its events and who watches it.

camera ─► … as in pipeline.py … ─► segments ─► events ─► program, web address
                                       └─────► board ─► status page, metrics
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import reduce
from statistics import median

from rustvid.config import Config, StatusConfig
from rustvid.errors import RustVidError, SourceError
from rustvid.frames import Measured, Picture
from rustvid.live.board import Board
from rustvid.live.clips import Clips
from rustvid.live.deliver import Courier, program, webhook
from rustvid.live.events import Events
from rustvid.live.named import live_paths
from rustvid.live.recorder import Order, Recorder
from rustvid.live.segments import Segments
from rustvid.live.status import StatusServer
from rustvid.method.classify import Network
from rustvid.pipeline import Engine, Line, opened
from rustvid.preflight import Paths
from rustvid.redact import host_of, redacted
from rustvid.report.summary import Summary
from rustvid.threads import WriteBehind
from rustvid.video.live import LiveSource
from rustvid.video.republish import Republisher
from rustvid.video.sink import part_of

Written = Callable[[Measured, Picture], None]

_AWAY = 4.0  # seconds without a result, after which nothing waits for the next one
_BEHIND = 2  # results that wait for the encoder: more would be delay


def watch(
    config: Config,
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Board], None] | None = None,
    model: Network | None = None,
    written: Written | None = None,
) -> Summary:
    """Watch `config.input`, a camera, until it is given up or `asked_to_stop`; write the outputs.

    asked_to_stop: looked at ten times a second; the files are then completed, and it is no error
    progress: called after every frame is analysed; may raise RustVidError to break off
    model: one that is loaded already; None loads `config.model`
    written: called with every result and its annotated picture, once they are in the files; from
        the thread that writes
    Errors before the start are raised. What ends the run later is in `summary.error`; if it was the
    camera, the files are complete all the same.
    """
    paths = live_paths(config)
    board = Board(redacted(config.source.name or str(config.input)))
    with status_page(config.status, {"": board}):
        return follow(config, paths, board, asked_to_stop, progress, model, written)


@contextmanager
def status_page(config: StatusConfig, boards: Mapping[str, Board]) -> Iterator[None]:
    """Serve the page of the cameras, if one is asked for."""
    with StatusServer(config, boards) if config.address else nullcontext():
        yield


def follow(
    config: Config,
    paths: Paths,
    board: Board,
    asked_to_stop: Callable[[], bool],
    progress: Callable[[Board], None] | None = None,
    model: Network | None = None,
    written: Written | None = None,
    engine: Engine | None = None,
) -> Summary:
    """Watch one camera, alone or beside others that share the engine; as `watch`."""
    summary = Summary(input=redacted(str(config.input)))
    started = time.perf_counter()
    with ExitStack() as stack:
        couriers = [stack.enter_context(courier) for courier in _couriers(config)]
        mark = board.camera if engine else ""
        events = Events(board.camera, config.events, _to_all(couriers), mark)
        line = stack.enter_context(opened(config, summary, model, asked_to_stop, engine=engine))

        def show(result: Measured, drawn: Picture) -> None:
            board.written(result, drawn, time.time())
            events.see(result, drawn)
            if written:
                written(result, drawn)

        kind = Clips if config.output.clips else Segments
        taps = [stack.enter_context(tap) for tap in _taps(config)]
        order = Order(line.source, config, paths, summary, show, events.written, taps)
        recorder: Recorder = kind(order)

        def facts() -> dict[str, int]:
            lost = sum(courier.lost for courier in couriers)
            counts = {"events": events.count, "events_lost": lost, **recorder.facts}
            return reduce(operator.or_, (tap.facts for tap in taps), counts)

        try:
            with recorder, events:
                _drive(line, recorder, board, facts, progress, events.tell_all)
        except RustVidError as exc:
            summary.error = summary.error or exc
            parts = [part_of(path) for path in recorder.current.all]
            summary.kept = [part for part in parts if part.exists()] if summary.frames else []
        _note(summary, line, board)
    summary.elapsed = time.perf_counter() - started
    return summary


def _drive(
    line: Line,
    recorder: Recorder,
    board: Board,
    facts: Callable[[], dict[str, int]],
    progress: Callable[[Board], None] | None,
    idle: Callable[[], None],
) -> None:
    """Drive the line until the camera ends; then complete the files. idle: for when it is away"""
    source = line.source
    assert isinstance(source, LiveSource)
    with WriteBehind(recorder.write, _BEHIND, "rustvid-encode", idle, _AWAY) as writer:

        def look() -> tuple[str, str, dict[str, int], dict[str, int]]:
            health = source.health
            counts = {
                "read": health.read,
                "dropped": health.dropped,
                "lost": health.lost,
                "damaged": health.damaged,
                "reconnects": health.reconnects,
                "worker_restarts": line.pool.restarts,
                **facts(),
            }
            queues = {"decoded": source.waiting, "encode": writer.waiting}
            state = health.state.value if health.state else "starting"
            return state, health.reason, counts, queues

        board.facts = look
        try:
            for result in line.results():
                if progress:
                    progress(board)
                writer.put(result)
        except SourceError as exc:
            line.summary.error = exc  # what came until then is whole
        writer.finish()
        recorder.finish()


def _couriers(config: Config) -> list[Courier]:
    made, mark = [], config.source.mark
    if command := config.events.command:
        made.append(Courier("events.command", program(command), mark=mark))
    if url := config.events.webhook:
        made.append(Courier(host_of(url), webhook(url), mark=mark))
    return made


def _taps(config: Config) -> list[Republisher]:
    url = config.output.republish
    return [Republisher(url, config.source)] if url else []


def _to_all(couriers: list[Courier]) -> Callable[[str], None]:
    def tell(text: str) -> None:
        for courier in couriers:
            courier.send(text)

    return tell


def _note(summary: Summary, line: Line, board: Board) -> None:
    """Tell the summary how the camera did, and what `output.keep` has left of the files."""
    summary.outputs = [path for path in summary.outputs if path.exists()]
    latencies = board.latencies()
    summary.live = dict(board.snapshot().counts)
    if latencies:
        summary.latency_median = median(latencies)
        summary.latency_p99 = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
