"""A web server on loopback that serves files with ranges and ETags, and fails in the ways that real ones do."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

RANGE = re.compile(r"bytes=(\d+)-")
CHUNK = 65536


@dataclass
class Answer:
    """How a request is answered; by default as it should be."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    # Bytes of the body after which the connection ends: -1 before the status line.
    cut_after: int | None = None
    # End it with a reset rather than as if all were sent.
    reset: bool = False
    # Added to the length that is announced.
    longer: int = 0
    ignore_range: bool = False
    ignore_if_range: bool = False
    with_validator: bool = True
    with_length: bool = True
    # Seconds before the answer, and for each 64 kB.
    silence: float = 0
    pause: float = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shared = self.server.shared
        with shared.lock:
            answer = shared.plan.pop(0) if shared.plan else shared.usual
            shared.requests.append((self.path, self.headers.get("Range")))
        time.sleep(answer.silence)
        self.close_connection = True
        if answer.cut_after == -1:
            self.end(answer)
            return
        content = shared.files.get(self.path.partition("?")[0])
        if answer.status or content is None:
            self.refuse(answer.status or 404, answer.headers)
            return
        self.give(content, answer)

    def do_POST(self):
        """Lead to where the plan says, as an API that gives out addresses."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def refuse(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def give(self, content, answer):
        etag = f'"{self.server.shared.etag(content)}"'
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        same = answer.ignore_if_range or self.headers.get("If-Range") in (None, etag)
        start = int(asked[1]) if asked and same and not answer.ignore_range else 0
        if start and start >= len(content):
            self.refuse(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if answer.with_length:
            self.send_header("Content-Length", str(len(content) - start + answer.longer))
        if answer.with_validator:
            self.send_header("ETag", etag)
        self.send_header("Connection", "close")
        self.end_headers()
        self.send(memoryview(content)[start:], answer)

    def send(self, body, answer):
        # Little of what counts as sent lies in the system's buffers.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        if answer.cut_after is not None:
            body = body[: answer.cut_after]
        for position in range(0, len(body), CHUNK):
            try:
                self.wfile.write(body[position : position + CHUNK])
            except OSError:
                return
            self.server.shared.count(min(CHUNK, len(body) - position))
            time.sleep(answer.pause)
        if answer.cut_after is not None:
            self.end(answer)

    def end(self, answer):
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_arguments):
        """Keep quiet."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Keep quiet: connections are broken on purpose."""


class Shared:
    """What a test sets and reads: the files by path, the plan of answers, the requests, the bytes sent."""

    def __init__(self, files, address):
        self.files = dict(files)
        self.address = address
        self.plan: list[Answer] = []
        self.usual = Answer()
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        self.lock = threading.Lock()
        self._etags: dict[int, str] = {}

    def url(self, path):
        return self.address + path

    def count(self, number):
        with self.lock:
            self.sent += number

    def etag(self, content):
        if id(content) not in self._etags:
            self._etags[id(content)] = hashlib.sha256(content).hexdigest()
        return self._etags[id(content)]


@contextmanager
def archive_server(files, context=None, port=0):
    """Serve ``files``, bytes by path; yields what a test needs. ``context`` is for TLS."""
    server = Server(("127.0.0.1", port), Handler)
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    server.shared = Shared(files, f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.shared
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
