"""A small web page that shows how a live run goes, with what supervisors and Prometheus ask for.

/              the page                  /healthz   200 while pictures come, else 503
/stream.mjpg   the annotated picture     /metrics   for Prometheus
/snapshot.jpg  one picture               /status.json

Of several cameras / shows all, /NAME/ is the page of one, with what belongs to it below, and
/healthz, /metrics and /status.json at the top are of all.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rustvid.config import StatusConfig
from rustvid.errors import UsageError
from rustvid.live.board import Board, Snapshot
from rustvid.live.events import jpeg
from rustvid.live.metrics import exposition
from rustvid.preflight import is_loopback, status_address

_LONGEST_SIDE = 960  # pixels of the pictures
_PAUSE = 0.1  # seconds between two pictures of a stream, at least
_PATIENCE = 1.0  # seconds between looks at whether the server stops
_IDLE = 30.0  # seconds that a client may take
_MOST_STREAMS = 8  # viewers at once: each costs a JPEG ten times a second
_BOUNDARY = "rustvidframe"


class StatusServer:
    """Serves the page; a context manager. `url` says where, without the token.

    boards: by the name of the camera; "" where there is one alone
    """

    def __init__(self, config: StatusConfig, boards: Mapping[str, Board]) -> None:
        host, port = status_address(config)
        self.stopping = threading.Event()
        handler = type(
            "Handler", (_Handler,), {"boards": boards, "token": config.token, "of": self}
        )
        try:
            self._server = _Server((host, port), handler)
        except OSError as exc:
            raise UsageError(
                f"status.address {config.address}: cannot be served ({exc.strerror}); "
                "choose another port"
            ) from exc
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/"
        self.streams = threading.BoundedSemaphore(_MOST_STREAMS)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_PAUSE,), name="rustvid-status", daemon=True
        )

    def __enter__(self) -> StatusServer:
        self._thread.start()
        logging.getLogger("rustvid.live").info("status: %s", self.url)
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a viewer that does not read is not waited for

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = _family(address[0])
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that has gone is no news; the rest is for the log."""
        logging.getLogger("rustvid.live").debug("status page: a request failed", exc_info=True)


def _family(host: str) -> Any:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Handler(BaseHTTPRequestHandler):
    boards: Mapping[str, Board]
    board: Board  # that was asked for
    token: str | None
    of: StatusServer
    server_version = "RustVid"
    sys_version = ""
    timeout = _IDLE

    def do_GET(self) -> None:
        """Answer; the token comes in the query or as a bearer."""
        asked = urlsplit(self.path)
        if not self._allowed(parse_qs(asked.query)):
            return
        camera, _, page = asked.path.removeprefix("/").rpartition("/")
        pages = {
            "": self._page,
            "status.json": self._status,
            "healthz": self._health,
            "snapshot.jpg": self._snapshot,
            "stream.mjpg": self._stream,
        }
        of_all = {
            "": self._overview,
            "status.json": self._status_of_all,
            "healthz": self._health_of_all,
        }
        board = self.boards.get(camera)
        if board:
            self.board = board
        answer = pages.get(page) if board else None if camera else of_all.get(page)
        if not camera and page == "metrics":
            answer = self._metrics
        if answer is None:
            self._send(404, "text/plain", b"not found\n")
        else:
            answer()

    def do_HEAD(self) -> None:
        """The same without what it is about, as monitors ask."""
        self.do_GET()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the request line may hold the token."""

    def _allowed(self, query: dict[str, list[str]]) -> bool:
        if self.token:
            given = query.get("token", [""])[0]
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if any(
                hmac.compare_digest(word.encode(), self.token.encode()) for word in (given, bearer)
            ):
                return True
            self._send(401, "text/plain", b"a token is needed: ?token=...\n")
            return False
        # without one, a page of another site must not reach us under a name of its own
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if not is_loopback(host):
            self._send(403, "text/plain", b"ask for it as 127.0.0.1 or localhost\n")
            return False
        return True

    def _page(self) -> None:
        self._html("page.html")

    def _overview(self) -> None:
        self._html("cameras.html")

    def _html(self, name: str) -> None:
        page = Path(__file__).with_name(name).read_bytes()
        self._send(200, "text/html; charset=utf-8", page)

    def _status(self) -> None:
        self._json(200, self.board.as_dict())

    def _status_of_all(self) -> None:
        boards = {name: vars(board.snapshot()) for name, board in self.boards.items()}
        self._json(200, {"cameras": boards})

    def _health(self) -> None:
        now = self.board.snapshot()
        self._json(200 if now.healthy else 503, _health(now))

    def _health_of_all(self) -> None:
        now = {name: board.snapshot() for name, board in self.boards.items()}
        well = all(snapshot.healthy for snapshot in now.values())
        states = {name: _health(snapshot) for name, snapshot in now.items()}
        self._json(200 if well else 503, {"cameras": states})

    def _metrics(self) -> None:
        self._send(200, "text/plain; version=0.0.4; charset=utf-8", exposition(self.boards))

    def _snapshot(self) -> None:
        found = self.board.picture(0, _PATIENCE)
        if found is None:
            self._send(503, "text/plain", b"no picture yet\n")
        else:
            self._send(200, "image/jpeg", jpeg(found[1], _LONGEST_SIDE))

    def _stream(self) -> None:
        if not self.of.streams.acquire(blocking=False):
            self._send(503, "text/plain", b"too many viewers\n")
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self._pictures()
        finally:
            self.of.streams.release()

    def _pictures(self) -> None:
        last = 0
        while not self.of.stopping.is_set():
            found = self.board.picture(last, _PATIENCE)
            if found is None:
                continue
            last, picture = found
            data = jpeg(picture, _LONGEST_SIDE)
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(_PAUSE)

    def _json(self, code: int, facts: dict[str, Any]) -> None:
        self._send(code, "application/json", json.dumps(facts, ensure_ascii=False).encode())

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")  # it would carry the token
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _health(now: Snapshot) -> dict[str, Any]:
    return {"state": now.state, "latency_s": now.latency}
