"""Servers that are away, that fail, or that two projects share."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, until it is told not to."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.away = False
        """Connections are closed without an answer."""
        self.failing: str = ""
        """Writes whose path holds this text are answered with 503."""
        self.failures = 0
        """How many of them are still to fail."""
        self.refused = 0
        """How many requests got no answer of the server."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        proxy = self.server
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else self._chunks()
        if proxy.away:
            proxy.refused += 1
            self.close_connection = True
            return
        write = self.command in ("PUT", "POST") and proxy.failing in self.path
        if proxy.failures > 0 and write:
            proxy.failures -= 1
            proxy.refused += 1
            self._answer(503, [], b"the object store is busy")
            return
        there = http.client.HTTPConnection(proxy.target, timeout=120)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "host")
        }
        there.request(self.command, self.path, body, headers | {"Host": proxy.target})
        answer = there.getresponse()
        self._answer(answer.status, answer.getheaders(), answer.read())
        there.close()

    def _chunks(self) -> bytes:
        body = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """A proxy in front of the server at `target`."""
    server = Proxy(target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
