"""A Hub on loopback, for the real ``huggingface_hub`` client: commits, tokens, uploads, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

REPO = r"(?P<repo>[^/]+/[^/]+)"
RESOLVE = re.compile(rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
INFO = re.compile(rf"/api/models/{REPO}(/revision/(?P<revision>[^/]+))?")
PREUPLOAD = re.compile(rf"/api/models/{REPO}/preupload/main")
LFS_BATCH = re.compile(rf"/{REPO}\.git/info/lfs/objects/batch")
OWN_QUESTION = "/api/agent-harnesses"
STORED = re.compile(r"/stored/(?P<oid>[0-9a-f]{64})")
LFS_OBJECT = re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})")
COMMIT = re.compile(rf"/api/models/{REPO}/commit/main")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
# As the real one does: git keeps small texts, everything else is a large file with a sha256.
KEPT_IN_GIT = (".json", ".md", ".gitattributes")


@dataclass
class Fault:
    """What goes wrong with the next requests that match: a status, a cut connection, wrong bytes, or silence."""

    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    hold: bool = False
    garble: bool = False
    body: bytes = b""
    silent: float = 0


@dataclass
class Hub:
    """Serves ``root/OWNER/NAME/FILE``; what is in the folder is the main branch, older commits stay in ``history``."""

    root: Path
    endpoint: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    history: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    # Token to the owners whose repositories it may write; what is private or gated needs a token.
    tokens: dict[str, set[str]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    uploads: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    # Large files lead to the address of a host of its own, as the real Hub's do, and lie there by their sha256.
    storage: str | None = None
    tokens_at_storage: list[str] = field(default_factory=list)
    # What the Hub says of the files: the true commit and sha256 unless a test says otherwise.
    stated: dict[str, str] = field(default_factory=dict)

    def head(self, repo):
        """Take note of what is in the folder, and return its commit."""
        files = {file.name: file.read_bytes() for file in sorted((self.root / repo).iterdir())}
        listed = repr([(name, hashlib.sha256(body).digest()) for name, body in files.items()])
        commit = hashlib.sha256(listed.encode()).hexdigest()[:40]
        self.history.setdefault(repo, {})[commit] = files
        return commit

    def asked(self, words=""):
        """Return the paths of the requests that hold some words."""
        return [path for _, path, _ in self.requests if words in path]

    def fault(self, path):
        """Use up one of the faults for a request."""
        # huggingface_hub asks for it once in a while, before what it is told to ask.
        if OWN_QUESTION in path:
            return None
        for fault in self.faults:
            if fault.times and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Answers one request after the other."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    cut_after: int | None = None

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        path = unquote(self.path.partition("?")[0])
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        fault = self.hub.fault(path) or Fault("")
        self.cut_after, self.hold, self.garble = fault.cut_after, fault.hold, fault.garble
        time.sleep(fault.silent)
        if fault.status is not None:
            self.send_body(fault.status, fault.body, fault.headers)
        elif self.token and self.token not in self.hub.tokens:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif found := STORED.fullmatch(path):
            self.hub.tokens_at_storage.append(self.token)
            self.send_part(self.hub.stored[found["oid"]], {"ETag": f'"{found["oid"]}"'})
        elif self.command in ("GET", "HEAD"):
            self.answer_reader(path)
        else:
            self.answer_writer(path)

    def answer_reader(self, path):
        found = RESOLVE.fullmatch(path) or INFO.fullmatch(path)
        if found is None or not (self.hub.root / found["repo"]).is_dir():
            self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
            return
        repo, head = found["repo"], self.hub.head(found["repo"])
        commit = head if found["revision"] in (None, "main") else found["revision"]
        files = self.hub.history[repo].get(commit)
        if repo in self.hub.private and not self.token:
            self.refuse(401, "RepoNotFound", "Repository not found")
        elif files is None:
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif found.re is INFO:
            self.send_info(repo, commit, files)
        elif repo in self.hub.gated:
            self.refuse(403 if self.token else 401, "GatedRepo", "Access to this model is restricted")
        else:
            self.send_model_file(files.get(found["file"]), found["file"], commit)

    def send_info(self, repo, commit, files):
        siblings = [
            {"rfilename": name, "size": len(body), "blobId": "0" * 40} | lfs(name, body) for name, body in files.items()
        ]
        self.send_json(200, {"id": repo, "sha": commit, "private": repo in self.hub.private, "siblings": siblings})

    def send_model_file(self, content, name, commit):
        if content is None:
            self.send_body(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        etag = hashlib.sha256(content).hexdigest()
        stated = {"X-Repo-Commit": commit, **self.hub.stated}
        if self.hub.storage and not name.endswith(KEPT_IN_GIT):
            self.hub.stored[etag] = content
            linked = {"X-Linked-ETag": f'"{etag}"', "Location": f"{self.hub.storage}/stored/{etag}"}
            self.send_body(302, b"", linked | stated)
            return
        headers = {
            "ETag": f'"{etag}"',
            **stated,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'inline; filename="{name}"',
        }
        if self.garble:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_part(content, headers)

    def send_part(self, content, headers):
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            self.send_body(200, content, headers)
            return
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        part = f"bytes {first}-{last}/{len(content)}"
        self.send_body(206, content[first : last + 1], {**headers, "Content-Range": part})

    def answer_writer(self, path):
        if self.command == "PUT" and (found := LFS_OBJECT.fullmatch(path)):
            self.hub.uploads[found["oid"]] = self.body
            self.send_body(200, b"", {})
        elif path == "/api/validate-yaml":
            self.send_json(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(self.body))
        elif found := PREUPLOAD.fullmatch(path):
            names = [file["path"] for file in json.loads(self.body)["files"]]
            modes = {True: "regular", False: "lfs"}
            files = [
                {"path": name, "uploadMode": modes[name.endswith(KEPT_IN_GIT)], "shouldIgnore": False} for name in names
            ]
            self.may_write(found["repo"]) and self.send_json(200, {"files": files})
        elif found := LFS_BATCH.fullmatch(path):
            self.may_write(found["repo"]) and self.send_lfs_actions(json.loads(self.body)["objects"])
        elif found := COMMIT.fullmatch(path):
            self.may_write(found["repo"]) and self.commit(found["repo"])
        else:
            self.refuse(404, "", "Not found")

    def may_write(self, repo):
        allowed = repo.partition("/")[0] in self.hub.tokens.get(self.token, ())
        if not allowed:
            self.refuse(403 if self.token else 401, "", "You do not have the rights to write here")
        return allowed

    def create(self, asked):
        repo = f"{asked['organization']}/{asked['name']}"
        if not self.may_write(repo):
            return
        url = {"url": f"{self.hub.endpoint}/{repo}", "name": repo}
        if (self.hub.root / repo).is_dir():
            self.send_json(409, {"error": "You already created this model repo", **url})
            return
        (self.hub.root / repo).mkdir(parents=True)
        (self.hub.root / repo / ".gitattributes").write_text("*.onnx filter=lfs\n")
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        self.send_json(200, url)

    def send_lfs_actions(self, objects):
        for entry in objects:
            if entry["oid"] not in self.hub.uploads:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/lfs/{entry['oid']}"}}
        self.send_json(200, {"transfer": "basic", "objects": objects})

    def commit(self, repo):
        folder = self.hub.root / repo
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif item["key"] == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif item["key"] == "lfsFile":
                (folder / value["path"]).write_bytes(self.hub.uploads[value["oid"]])
            elif item["key"] == "deletedFile":
                (folder / value["path"]).unlink()
        oid = self.hub.head(repo)
        self.send_json(200, {"commitUrl": f"{self.hub.endpoint}/{repo}/commit/{oid}", "commitOid": oid})

    def refuse(self, status, code, message):
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send_body(status, json.dumps({"error": message}).encode(), headers)

    def send_json(self, status, value):
        self.send_body(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_body(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_after is not None and self.cut_after < len(body):
            body, self.close_connection = body[: self.cut_after], True
        self.hub.sent += len(body)
        self.wfile.write(body)
        if self.hold:
            self.hub.released.wait(60)

    def log_message(self, *_arguments):
        """Keep quiet."""


def lfs(name, body):
    """Return what the Hub says of a large file."""
    if name.endswith(KEPT_IN_GIT):
        return {}
    return {"lfs": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}}


def client_environment(hub, folder, **more):
    """Return the environment of a program whose Hub, data and settings are those of a test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own = {"HF_HOME": str(folder / "hf"), "FLOWERS_HOME": str(folder / "data"), "HF_ENDPOINT": hub.endpoint}
    return kept | own | {"HF_HUB_DISABLE_TELEMETRY": "1"} | more


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Keep quiet where whoever asked has heard enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(hub):
    """Serve a Hub on a port of its own."""
    handler = type("Handler", (HubHandler,), {"hub": hub})
    server = Server(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def local_hub(root):
    """Serve a folder as a Hub; yields its address and the list of requests."""
    with serving(Hub(Path(root))) as hub:
        yield hub.endpoint, hub.requests
