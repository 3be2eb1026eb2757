"""A server on this machine that answers as told, well or badly; used by tests and benchmarks."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class Fault(Enum):
    """How an answer goes wrong on its way."""

    NONE = "none"
    HANG = "hang"
    DRIP = "drip"
    HALF = "half"
    HALF_CHUNKED = "half_chunked"
    NO_LENGTH = "no_length"
    CUT_GZIP = "cut_gzip"
    RESET = "reset"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer to give."""

    body: bytes = b""
    kind: str = "text/csv"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    zipped: bool = False
    fault: Fault = Fault.NONE


App = Callable[[Asked], Reply]
HANG_S = 0.6


class Loopback:
    """Serves an app on 127.0.0.1 until the block ends; `asked` keeps every request."""

    def __init__(self, app: App) -> None:
        self.asked: list[Asked] = []
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                asked = Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()})
                outer.asked.append(asked)
                try:
                    outer.send(self, app(asked))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        """One answer, with its fault."""
        if reply.fault is Fault.HANG:
            self.over.wait(HANG_S)
            handler.close_connection = True
            return
        if reply.fault is Fault.RESET:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        body = gzip.compress(reply.body) if reply.zipped or reply.fault is Fault.CUT_GZIP else reply.body
        if reply.fault is Fault.CUT_GZIP:
            body = body[:-9]
        handler.send_response(reply.status)
        if reply.kind:
            handler.send_header("Content-Type", reply.kind)
        if reply.zipped or reply.fault is Fault.CUT_GZIP:
            handler.send_header("Content-Encoding", "gzip")
        for key, value in reply.headers.items():
            handler.send_header(key, value)
        self._send_body(handler, body, reply.fault)

    def _send_body(self, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        half = len(body) // 2
        if fault in (Fault.NO_LENGTH, Fault.HALF, Fault.HALF_CHUNKED):
            handler.close_connection = True
            handler.send_header("Connection", "close")
        if fault is Fault.HALF_CHUNKED:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(f"{len(body):x}\r\n".encode() + body[:half])
            return
        if fault is not Fault.NO_LENGTH:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if fault is Fault.DRIP:
            for i in range(len(body)):
                handler.wfile.write(body[i : i + 1])
                handler.wfile.flush()
                time.sleep(0.03)
            return
        handler.wfile.write(body[:half] if fault is Fault.HALF else body)


class Clock:
    """Real seconds plus those that were slept, so that waiting costs nothing but counts."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Wait in the count only."""
        self.waits.append(seconds)
        self.slept += seconds
