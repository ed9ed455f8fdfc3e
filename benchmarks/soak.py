"""A camera with a fault a minute, for as long as you like: what is lost, what is kept, what grows.

    python benchmarks/soak.py [--minutes 30] [--config realtime] [--json FILE] [--plot FILE.png]

A process plays a camera, 1080p at 25 frames a second over RTSP, in real time; another one is
RustVid, which writes segments of a minute. Once a minute the camera is killed, stopped (SIGSTOP),
away, silent, refuses with 404, restarts its clock or changes the size of its picture. In between,
once a second, the memory, threads and open files of RustVid are read from /proc, and its counts
from its status page. At the end it gets a SIGTERM; then every file is decoded and compared with its
table. Exit code 1 if something is not as promised.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import pickle
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine

sys.path.insert(0, str(machine.ROOT / "tests"))

from rustvid import demo

SIZES = {"1080p": (1920, 1080), "720p": (1280, 720)}
RATE, FILM_SECONDS = 25, 4
AWAY, STOPPED, SILENT, REFUSED = 20.0, 10.0, 8.0, 5.0  # seconds
START = 300.0  # seconds that the first picture may take: the network loads
WARM = 120.0  # seconds after the first picture in which memory may still grow
FAULTS = ("killed", "stopped", "away", "clock", "silent", "refused", "size")


# --- the camera, a process of its own


def units_of(film: Path, size: tuple[int, int]) -> list[list[bytes]]:
    """The film at this size as H.264 with a key frame a second: the NAL units of each frame."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, RATE), RATE
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "g": str(RATE), "crf": "23"}
    found = []
    with av.open(str(film)) as source:
        for index, frame in enumerate(source.decode(video=0)):
            scaled = frame.reformat(*size, format="yuv420p")
            scaled.pts, scaled.time_base = index, Fraction(1, RATE)
            data = b"".join(bytes(packet) for packet in encoder.encode(scaled))
            units = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
            found.append([unit for unit in units if unit])
    return found


def serve(port: int, folder: Path, size: str) -> None:
    """Play the camera; lines on stdin are faults."""
    from cameras import Camera

    frames = pickle.loads((folder / f"{size}.units").read_bytes())  # ours, of a moment ago
    with Camera(SIZES[size], RATE, frames=frames, port=port) as camera:
        print("ready", flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word == "clock":
                camera.restart_clock = True
            elif word == "silent":
                camera.frozen.set()
            elif word == "again":
                camera.frozen.clear()
                camera.answer = 200
            elif word == "refuse":
                camera.answer = 404
                camera.kill()
                camera.start()


class CameraProcess:
    """Starts, and starts again, the camera on its port."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            self.port = int(chosen.getsockname()[1])
        self._folder, self.size = folder, "1080p"
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> CameraProcess:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        words = [__file__, "--serve", str(self.port), str(self._folder), self.size]
        self._child = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdout
        self._child.stdout.readline()

    def kill(self) -> None:
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def signal(self, number: int) -> None:
        assert self._child
        self._child.send_signal(number)

    def tell(self, word: str) -> None:
        assert self._child and self._child.stdin
        self._child.stdin.write(word + "\n")
        self._child.stdin.flush()


def strike(camera: CameraProcess, fault: str, wait: Any) -> None:
    """Let one fault happen; when this returns, the stream is back."""
    if fault == "stopped":
        camera.signal(signal.SIGSTOP)
        wait(STOPPED)
        camera.signal(signal.SIGCONT)
    elif fault == "clock":
        camera.tell("clock")
    elif fault in ("silent", "refused"):
        camera.tell("silent" if fault == "silent" else "refuse")
        wait(SILENT if fault == "silent" else REFUSED)
        camera.tell("again")
    else:
        camera.kill()
        if fault == "away":
            wait(AWAY)
        if fault == "size":
            camera.size = "720p" if camera.size == "1080p" else "1080p"
        camera.start()


# --- RustVid, another process


class Watched:
    """The run: its process, what its page says, and what the system says about it."""

    def __init__(self, url: str, folder: Path, config: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            place = f"127.0.0.1:{chosen.getsockname()[1]}"
        self._page = f"http://{place}/status.json"
        self.log = folder / "log.txt"
        words = ["-m", "rustvid", url, "--out", str(folder / "soak.mp4"), "--segment", "1m"]
        words += ["--config", config, "--status", place, "--json"]
        words += ["--set", "source.retry_refused=true"]
        self._told = self.log.open("wb")
        self.child = subprocess.Popen(
            [sys.executable, *words], cwd=machine.ROOT, stdout=subprocess.PIPE, stderr=self._told
        )

    def counts(self) -> dict[str, int]:
        """What its page says; nothing while it does not answer."""
        with suppress(OSError, ValueError), urllib.request.urlopen(self._page, timeout=5) as page:
            status = json.load(page)
            return {**status["counts"], "playing": int(status["state"] == "playing")}
        return {}

    def resident(self) -> dict[str, float]:
        """MB resident, threads and open files."""
        base = Path(f"/proc/{self.child.pid}")
        lines = dict(
            line.split(":", 1) for line in (base / "status").read_text().splitlines() if ":" in line
        )
        files = [str(entry) for entry in (base / "fd").iterdir()]
        return {
            "rss_mb": round(int(lines["VmRSS"].split()[0]) / 1000, 1),
            "threads": int(lines["Threads"]),
            "files": len(files),
        }

    def end(self) -> tuple[int, dict[str, Any]]:
        """SIGTERM; the exit code and the summary."""
        self.child.send_signal(signal.SIGTERM)
        out, _ = self.child.communicate(timeout=300)
        self._told.close()
        return self.child.returncode, json.loads(out)

    def kill(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
        self._told.close()


class Logbook:
    """What is read once a second, by a thread of its own."""

    def __init__(self, watched: Watched) -> None:
        self.rows: list[dict[str, float]] = []
        self._watched = watched
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Logbook:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def written(self) -> int:
        return int(self.rows[-1].get("written", 0)) if self.rows else 0

    def wait(self, seconds: float) -> None:
        """Real time is what a soak is made of; it ends at once if the run does."""
        until = self.now + seconds
        while self.now < until:
            if self._watched.child.poll() is not None:
                raise SystemExit(f"the run has ended: {self._watched.log.read_text()[-2000:]}")
            self._stop.wait(min(1.0, max(0.0, until - self.now)))

    def frames_after(self, count: int, limit: float) -> float | None:
        """Seconds until more than so many frames were written; None: not in time."""
        began = self.now
        while self.now - began < limit:
            if self._watched.counts().get("written", 0) > count:
                return round(self.now - began, 2)
            self.wait(0.2)
        return None

    def _keep(self) -> None:
        while not self._stop.wait(1.0):
            with suppress(OSError, KeyError):  # it has ended
                row = {"at": round(self.now, 1), **self._watched.resident()}
                self.rows.append({**row, **self._watched.counts()})


# --- what is left


def checked(film: Path) -> dict[str, Any]:
    """A segment: does it decode, has it a row for each frame, and does time go on?"""
    with film.with_suffix(".csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    with av.open(str(film)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    stamps = [float(row["time_s"]) for row in rows]
    forwards = all(a < b for line in (times, stamps) for a, b in itertools.pairwise(line))
    return {"film": film.name, "frames": len(times), "rows": len(rows), "forwards": forwards}


def soaked(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    film = folder / "film.mp4"
    demo.write(film, seconds=FILM_SECONDS, size=SIZES["1080p"])
    for name, size in SIZES.items():
        (folder / f"{name}.units").write_bytes(pickle.dumps(units_of(film, size)))
    faults: list[dict[str, Any]] = []
    with (
        CameraProcess(folder) as camera,
        ended(Watched(f"rtsp://127.0.0.1:{camera.port}/live", folder, options.config)) as watched,
    ):
        with Logbook(watched) as log:
            if log.frames_after(25, START) is None:
                raise SystemExit(f"no picture in {START} s: {watched.log.read_text()[-2000:]}")
            first = log.now
            for number in range(1, options.minutes + 1):
                log.wait(max(0.0, first + 60 * number - 45 - log.now))
                if number == options.minutes:
                    log.wait(45)  # the last minute is a quiet one
                    break
                fault = FAULTS[(number - 1) % len(FAULTS)]
                at = log.now
                strike(camera, fault, log.wait)
                back = log.frames_after(watched.counts().get("written", 0), 120.0)
                faults.append({"fault": fault, "at_s": round(at - first, 1), "back_after_s": back})
                print(json.dumps(faults[-1]), flush=True)
            rows = [{**row, "at": round(row["at"] - first, 1)} for row in log.rows]
        code, summary = watched.end()
    left = [path.name for path in folder.glob("*.part.*")]
    segments = [checked(path) for path in sorted(folder.glob("soak-*.mp4"))]
    return {
        "minutes": options.minutes,
        "config": options.config,
        "beside": options.beside,
        "exit_code": code,
        "camera": summary["live"],
        "frames_in_files": sum(segment["frames"] for segment in segments),
        "rows": sum(segment["rows"] for segment in segments),
        "segments": len(segments),
        "parts_left": left,
        "faults": faults,
        **grown(rows),
        "wrong": wrong(code, summary, segments, left, faults),
        "over_time": rows[::5],
    }


@contextmanager
def ended(watched: Watched) -> Iterator[Watched]:
    try:
        yield watched
    finally:
        watched.kill()


def grown(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of the first and the last sixth after warming up, and the peaks."""
    warm = [row for row in rows if row["at"] > WARM] or rows
    some = max(1, len(warm) // 6)
    told: dict[str, Any] = {}
    for key in ("rss_mb", "threads", "files"):
        told[key] = {
            "early": statistics.median(row[key] for row in warm[:some]),
            "late": statistics.median(row[key] for row in warm[-some:]),
            "peak": max(row[key] for row in rows),
        }
    return told


def wrong(
    code: int,
    summary: dict[str, Any],
    segments: list[dict[str, Any]],
    left: list[str],
    faults: list[dict[str, Any]],
) -> list[str]:
    """What is not as promised."""
    found = [f"exit code {code}"] if code else []
    found += [f"left behind: {name}" for name in left]
    for one in segments:
        if one["frames"] != one["rows"] or not one["forwards"]:
            found.append(f"{one['film']}: {one['frames']} frames, {one['rows']} rows")
    total = sum(one["frames"] for one in segments)
    if total != summary["frames"]:
        found.append(f"{summary['frames']} frames by the summary, {total} in the files")
    return found + [f"no pictures after: {f}" for f in faults if f["back_after_s"] is None]


def plotted(result: dict[str, Any], path: Path) -> None:
    """Memory and frames a second over time, with the faults."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["over_time"]
    minutes = [row["at"] / 60 for row in rows]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(10, 6))
    above.plot(minutes, [row["rss_mb"] for row in rows], color="#1f77b4")
    above.set_ylabel("resident memory, MB")
    above.set_ylim(bottom=0)
    steps = [
        (b["at"] / 60, (b.get("written", 0) - a.get("written", 0)) / (b["at"] - a["at"]))
        for a, b in itertools.pairwise(rows)
        if "written" in a and "written" in b
    ]
    below.plot(*zip(*steps, strict=True), color="#2ca02c")
    below.set_ylabel("frames written a second")
    below.set_xlabel("minutes since the first picture")
    for fault in result["faults"]:
        for axes in (above, below):
            axes.axvline(fault["at_s"] / 60, color="#d62728", alpha=0.3, linewidth=1)
        below.text(fault["at_s"] / 60, 0.5, fault["fault"], rotation=90, fontsize=7, alpha=0.7)
    above.set_title("1080p25 over RTSP, a fault a minute (red)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--config", default="realtime")
    parser.add_argument("--beside", default="", help="what else ran on the machine, to be told")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        port, folder, size = options.serve
        serve(int(port), Path(folder), size)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = soaked(options, Path(folder))
    result["machine"] = machine.facts()
    shown = {k: v for k, v in result.items() if k not in ("over_time", "machine", "faults")}
    print(json.dumps(shown, indent=2))
    if options.json:
        machine.write_json(options.json, result)
    if options.plot:
        plotted(result, options.plot)
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
