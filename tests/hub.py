"""A Hub on loopback: what ``huggingface_hub`` asks of the real one to fetch a model's files."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/[^/]+)?")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Serves ``root/OWNER/NAME/FILE`` with ETag, commit and ranges; keeps the requests it got."""

    protocol_version = "HTTP/1.1"
    root: Path
    requests: list[tuple[str, str, str | None]]

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0]
        self.requests.append((self.command, path, self.headers.get("Range")))
        if found := RESOLVE.fullmatch(path):
            self.send_model_file(self.root / found["repo"] / found["file"])
        elif (found := API.fullmatch(path)) and (self.root / found["repo"]).is_dir():
            files = [{"rfilename": file.name} for file in sorted((self.root / found["repo"]).iterdir())]
            body = json.dumps({"id": found["repo"], "sha": COMMIT, "siblings": files}).encode()
            self.send_body(200, body, {"Content-Type": "application/json"})
        else:
            self.send_body(404, b"", {"X-Error-Code": "RepoNotFound"})

    def send_model_file(self, file):
        if not file.is_file():
            self.send_body(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            self.send_body(200, content, headers)
            return
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        part = f"bytes {first}-{last}/{len(content)}"
        self.send_body(206, content[first : last + 1], {**headers, "Content-Range": part})

    def send_body(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_arguments):
        """Keep quiet."""


@contextmanager
def local_hub(root):
    """Serve a folder as a Hub; yields its address and the list of requests."""
    requests: list[tuple[str, str, str | None]] = []
    handler = type("Handler", (HubHandler,), {"root": Path(root), "requests": requests})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
