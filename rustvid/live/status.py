"""A small web page that shows how a live run goes, with what supervisors and Prometheus ask for.

/              the page                  /healthz   200 while pictures come, else 503
/stream.mjpg   the annotated picture     /metrics   for Prometheus
/snapshot.jpg  one picture               /status.json
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rustvid.config import StatusConfig
from rustvid.errors import UsageError
from rustvid.live.board import Board
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
    """Serves the page; a context manager. `url` says where, without the token."""

    def __init__(self, config: StatusConfig, board: Board) -> None:
        host, port = status_address(config)
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"board": board, "token": config.token, "of": self})
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    board: Board
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
        pages = {
            "/": self._page,
            "/status.json": self._status,
            "/healthz": self._health,
            "/metrics": self._metrics,
            "/snapshot.jpg": self._snapshot,
            "/stream.mjpg": self._stream,
        }
        answer = pages.get(asked.path)
        if answer is None:
            self._send(404, "text/plain", b"not found\n")
        else:
            answer()

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
        page = Path(__file__).with_name("page.html").read_bytes()
        self._send(200, "text/html; charset=utf-8", page)

    def _status(self) -> None:
        body = json.dumps(self.board.as_dict(), ensure_ascii=False).encode()
        self._send(200, "application/json", body)

    def _health(self) -> None:
        now = self.board.snapshot()
        body = json.dumps({"state": now.state, "latency_s": now.latency}).encode()
        self._send(200 if now.healthy else 503, "application/json", body)

    def _metrics(self) -> None:
        self._send(200, "text/plain; version=0.0.4; charset=utf-8", exposition(self.board))

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

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")  # it would carry the token
        self.end_headers()
        self.wfile.write(body)
