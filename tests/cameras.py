"""Cameras made of Python alone: an RTSP server and an HTTP one, on loopback, with faults to order.

The RTSP one sends H.264 of `media.picture(index)`, every frame a key frame, in real time; `index`
counts on while nobody listens, as the world before a camera does.
"""

from __future__ import annotations

import base64
import itertools
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import media

COUNT = 100  # different frames, then again from the first
_LARGEST = 1200  # bytes of an RTP payload


@lru_cache(maxsize=4)
def coded(size: tuple[int, int], gop: int = 1) -> list[list[bytes]]:
    """The NAL units of COUNT frames, each `gop`th a key frame with its parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 25), 25
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(gop), "crf": "18"}
    frames = []
    for index in range(COUNT):
        frame = av.VideoFrame.from_ndarray(media.picture(index, size), "rgb24")
        frame.pts = index
        data = b"".join(
            bytes(packet) for packet in encoder.encode(frame.reformat(format="yuv420p"))
        )
        units = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
        frames.append([unit for unit in units if unit])
    return frames


class Camera:
    """An RTSP camera. `with` starts it; `kill` and `start` again at will, on the same port.

    frames: NAL units of each frame of its film, shown over and over; None: `coded(size)`
    answer: 200, or a status to refuse with; user: "name:password" that is asked for
    loss: share of the UDP packets that get lost; frozen: set to send nothing more for a while
    """

    def __init__(
        self,
        size: tuple[int, int] = (160, 120),
        rate: int = 25,
        user: str = "",
        loss: float = 0.0,
        frames: list[list[bytes]] | None = None,
        port: int = 0,
    ) -> None:
        self.frames = frames
        self.size, self.rate, self.user, self.loss = size, rate, user, loss
        self.answer = 200
        self.restart_clock = False  # stamps begin again in the middle of a connection
        self.frozen = threading.Event()
        self.connections = 0  # that got so far as to play
        self.asked = 0  # requests of any kind
        self._random = random.Random(1)
        self._began = time.monotonic()
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        with socket.create_server(("127.0.0.1", port)) as chosen:
            self.port = chosen.getsockname()[1]
        if frames is None:
            coded(size)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def __enter__(self) -> Camera:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread(self._accept, self._listener)

    def kill(self) -> None:
        """As when the power is cut, but that the kernel closes the sockets."""
        if self._listener:
            listener, self._listener = self._listener, None
            _shut(listener)
        for client in list(self._clients):
            _shut(client)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _thread(self, work, *arguments) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._clients.add(client)
            self._thread(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            self._talk(client)
        except OSError:  # it has gone, or we were killed
            return
        finally:
            self._clients.discard(client)
            client.close()

    def _talk(self, client: socket.socket) -> None:
        requests = client.makefile("rb")
        target: tuple[str, int] | None = None
        for line in requests:
            if line.startswith(b"$"):  # RTCP of the receiver, between the requests
                return
            method = line.split(b" ")[0].decode("latin-1")
            headers = {}
            for header in iter(requests.readline, b"\r\n"):
                if not header:
                    return
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            self.asked += 1
            status, extra, body = self._answer(method, headers)
            if method == "SETUP" and "client_port=" in headers.get("transport", ""):
                port = int(headers["transport"].split("client_port=")[1].split("-")[0])
                target = ("127.0.0.1", port)
                extra += f"Transport: {headers['transport']};server_port=0-0\r\n"
            elif method == "SETUP":
                extra += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            client.sendall(
                f"RTSP/1.0 {status}\r\nCSeq: {headers.get('cseq', '0')}\r\nSession: 1\r\n{extra}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY" and status.startswith("200"):
                self.connections += 1
                self._play(client, target)
                return

    def _answer(self, method: str, headers: dict[str, str]) -> tuple[str, str, str]:
        wanted = "Basic " + base64.b64encode(self.user.encode()).decode()
        if self.user and method != "OPTIONS" and headers.get("authorization") != wanted:
            return "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n', ""
        if self.answer != 200 and method != "OPTIONS":
            return f"{self.answer} Refused", "", ""
        if method != "DESCRIBE":
            return "200 OK", "", ""
        sdp = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/90000\r\na=framerate:{self.rate}\r\n"
            "a=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
        )
        return "200 OK", "Content-Type: application/sdp\r\n", sdp

    def _play(self, client: socket.socket, target: tuple[str, int] | None) -> None:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sequence = itertools.count()
        first = begin = self._now()
        with datagrams:
            for number in itertools.count(first):
                due = self._began + number / self.rate - time.monotonic()
                if due > 0:  # real time is what a camera is made of
                    time.sleep(due)
                if _gone(client):
                    return
                if self.frozen.is_set():
                    continue
                if self.restart_clock:
                    self.restart_clock, begin = False, number
                stamp = 90000 * (number - begin) // self.rate
                frames = self.frames or coded(self.size)
                for payload, last in _payloads(frames[number % len(frames)]):
                    head = struct.pack(
                        ">BBHII", 0x80, 96 | last << 7, next(sequence) & 0xFFFF, stamp, 7
                    )
                    data = head + payload
                    if not target:
                        client.sendall(struct.pack(">BBH", 0x24, 0, len(data)) + data)
                    elif self._random.random() >= self.loss:
                        datagrams.sendto(data, target)

    def _now(self) -> int:
        return round((time.monotonic() - self._began) * self.rate)


def _payloads(units: list[bytes]) -> list[tuple[bytes, int]]:
    """RTP payloads of a frame (RFC 6184), the last with its mark."""
    found = []
    for unit in units:
        if len(unit) <= _LARGEST:
            found.append(unit)
            continue
        indicator, kind = bytes([unit[0] & 0xE0 | 28]), unit[0] & 0x1F
        pieces = [unit[at : at + _LARGEST] for at in range(1, len(unit), _LARGEST)]
        for number, piece in enumerate(pieces):
            begins, ends = (number == 0) << 7, (number == len(pieces) - 1) << 6
            found.append(indicator + bytes([kind | begins | ends]) + piece)
    return [(payload, int(number == len(found) - 1)) for number, payload in enumerate(found)]


def _gone(client: socket.socket) -> bool:
    """Has it closed, or said goodbye? Its reports are read and forgotten."""
    try:
        said = client.recv(4096, socket.MSG_DONTWAIT)
        return said == b"" or b"TEARDOWN" in said
    except BlockingIOError:
        return False


def _shut(listening: socket.socket) -> None:
    try:
        listening.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # nobody was connected
    finally:
        listening.close()


class Process:
    """A camera that is a process: it can be killed and stopped as one. `with` starts it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            self.port = int(chosen.getsockname()[1])
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it can be connected to."""
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdout and self._child.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """SIGKILL."""
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def signal(self, number: int) -> None:
        assert self._child
        self._child.send_signal(number)


class Quiet(BaseHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *arguments: object) -> None:
        return


class Server:
    """A web server of this process; a context manager. gone: set when it ends."""

    def __init__(
        self, handler: type[Quiet], name: str, gone: threading.Event | None = None
    ) -> None:
        self._gone = gone or threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Stills(Server):
    """MJPEG over HTTP: `rate` pictures a second, which have no times."""

    def __init__(self, rate: float) -> None:
        gone = threading.Event()

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
                self.end_headers()
                for index in itertools.count():
                    bgr = cv2.cvtColor(media.picture(index), cv2.COLOR_RGB2BGR)
                    data = cv2.imencode(".jpg", bgr)[1].tobytes()
                    head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return
                    if gone.wait(1 / rate):
                        return

        super().__init__(Handler, "video", gone)


class Web(Server):
    """Sends a file over HTTP as a camera would: in real time, from its beginning each time."""

    def __init__(self, film: Path, seconds: float, answer: int = 200) -> None:
        self.connections = 0
        self.answer = answer
        data, web = film.read_bytes(), self

        class Handler(Quiet):
            def do_GET(self) -> None:
                if web.answer != 200:
                    self.send_error(web.answer)
                    return
                web.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                began = time.monotonic()
                for at in range(0, len(data), 188 * 7):
                    due = began + seconds * at / len(data) - time.monotonic()
                    if due > 0:
                        time.sleep(due)
                    try:
                        self.wfile.write(data[at : at + 188 * 7])
                    except OSError:
                        return

        super().__init__(Handler, "live.ts")


class Playlist(Server):
    """HLS: a film of three seconds in one piece, by a playlist that says that it is complete, or
    does not."""

    def __init__(self, folder: Path, complete: bool) -> None:
        film = media.clip(folder / "film.ts", frames=90, audio=0)
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n"
        end = "#EXT-X-ENDLIST\n" if complete else ""
        self.playlist = folder / "live.m3u8"
        self.playlist.write_text(f"{head}#EXTINF:3.0,\n{film.name}\n{end}")

        class Files(Quiet, SimpleHTTPRequestHandler):
            def translate_path(self, path: str) -> str:
                return str(folder / Path(path).name)

        super().__init__(Files, self.playlist.name)


class Silent(Server):
    """A web server that sends a part of a film, and then says nothing more."""

    def __init__(self, film: Path, share: float) -> None:
        data, gone = film.read_bytes(), threading.Event()

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: round(share * len(data))])
                gone.wait()

        super().__init__(Handler, film.name, gone)


if __name__ == "__main__":  # a `Process`; it ends with its stdin
    with Camera(port=int(sys.argv[1])):
        print("ready", flush=True)
        sys.stdin.read()
