"""The metrics of a live run, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rustvid.live.board import Board

_COUNTERS = {
    "read": ("frames_read", "Frames decoded"),
    "written": ("frames_written", "Frames written"),
    "analysed": ("frames_analysed", "Frames that the network looked at"),
    "dropped": ("frames_dropped", "Frames that came faster than they could be worked on"),
    "lost": ("frames_lost", "Frames that the camera should have sent and that did not come"),
    "damaged": ("packets_damaged", "Packets that could not be decoded"),
    "reconnects": ("reconnects", "Connections after the first"),
    "events": ("events", "Events"),
    "events_lost": ("events_lost", "Deliveries of an event that were given up"),
    "worker_restarts": ("worker_restarts", "Worker processes that died and were replaced"),
}


def exposition(board: Board) -> bytes:
    """The metrics as Prometheus reads them (text format 0.0.4)."""
    registry = CollectorRegistry()
    registry.register(_Reader(board))
    return generate_latest(registry)


class _Reader(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        now = self._board.snapshot()
        for key, (name, words) in _COUNTERS.items():
            yield CounterMetricFamily(f"rustvid_{name}", words, now.counts.get(key, 0))
        yield GaugeMetricFamily(
            "rustvid_up", "1 while pictures come", float(now.state == "playing")
        )
        yield GaugeMetricFamily(
            "rustvid_frames_per_second", "Frames written, of late", now.frames_per_second
        )
        if now.latency is not None:
            yield GaugeMetricFamily(
                "rustvid_latency_seconds",
                "From the camera to the file, median of late",
                now.latency,
            )
        yield GaugeMetricFamily(
            "rustvid_corroded_area_ratio", "Corroded share of the last frame", now.area / 100
        )
        depths = GaugeMetricFamily("rustvid_queue_depth", "Frames that wait", labels=["queue"])
        for queue, depth in now.queues.items():
            depths.add_metric([queue], depth)
        yield depths
