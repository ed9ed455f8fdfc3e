"""The metrics of a live run, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rustvid.live.board import Board, Snapshot

_COUNTERS = {
    "read": ("frames_read", "Frames decoded"),
    "written": ("frames_written", "Frames written"),
    "analysed": ("frames_analysed", "Frames that the network looked at"),
    "dropped": ("frames_dropped", "Frames that came faster than they could be worked on"),
    "lost": ("frames_lost", "Frames that the camera should have sent and that did not come"),
    "damaged": ("packets_damaged", "Packets that could not be decoded"),
    "reconnects": ("reconnects", "Calls after the first picture, answered or not"),
    "clips": ("clips", "Clips begun"),
    "recorded": ("frames_recorded", "Frames in clips"),
    "republished": ("packets_republished", "Packets sent on"),
    "republish_dropped": ("packets_not_republished", "Packets that could not be sent on"),
    "republish_connections": ("republish_connections", "Connections for sending on"),
    "events": ("events", "Events"),
    "events_lost": ("events_lost", "Deliveries of an event that were given up"),
    "worker_restarts": ("worker_restarts", "Worker processes that died and were replaced"),
}
_GAUGES: dict[str, tuple[str, Callable[[Snapshot], float | None]]] = {
    "up": ("1 while pictures come", lambda now: float(now.state == "playing")),
    "frames_per_second": ("Frames written, of late", lambda now: now.frames_per_second),
    "latency_seconds": ("From the camera to the file, median of late", lambda now: now.latency),
    "corroded_area_ratio": ("Corroded share of the last frame", lambda now: now.area / 100),
}


def exposition(boards: Mapping[str, Board]) -> bytes:
    """The metrics as Prometheus reads them (text format 0.0.4).

    boards: by the name of the camera, which is then a label; "" where there is one alone
    """
    registry = CollectorRegistry()
    registry.register(_Reader(boards))
    return generate_latest(registry)


class _Reader(Collector):
    def __init__(self, boards: Mapping[str, Board]) -> None:
        self._boards = boards
        self._labels = [] if set(boards) == {""} else ["camera"]

    def collect(self) -> Iterator[Metric]:
        now = [([name] * len(self._labels), b.snapshot()) for name, b in self._boards.items()]
        for key, (name, words) in _COUNTERS.items():
            counter = CounterMetricFamily(f"rustvid_{name}", words, labels=self._labels)
            for labels, board in now:
                counter.add_metric(labels, board.counts.get(key, 0))
            yield counter
        for name, (words, value) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"rustvid_{name}", words, labels=self._labels)
            for labels, board in now:
                if (number := value(board)) is not None:
                    gauge.add_metric(labels, number)
            yield gauge
        depths = GaugeMetricFamily(
            "rustvid_queue_depth", "Frames that wait", labels=[*self._labels, "queue"]
        )
        for labels, board in now:
            for queue, depth in board.queues.items():
                depths.add_metric([*labels, queue], depth)
        yield depths
