"""A service with a page and an observer, such as other parts of the program add: run as a script."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.serve_server import HTML

from flowercli.serving.http.server import serve
from flowercli.serving.http.settings import Settings
from flowercli.serving.http.supervisor import supervise
from flowercli.serving.sockets import bind, url_of

STYLE = b"p { margin: 0; }\n" * 100


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str


def page(classifier):
    files = {"/": File(HTML, "text/html; charset=utf-8"), "/vendor/ort.wasm": File(b"\0asm", "application/wasm")}
    files["/page.css"] = File(STYLE, "text/css; charset=utf-8")
    return {**files, "/model/names.json": File(json.dumps(classifier.bundle.class_names).encode(), "application/json")}


class Recorder:
    """Writes down what it is told; fails at tulips."""

    def __init__(self, folder: Path, classifier) -> None:
        self.folder = folder
        self.names = classifier.bundle.class_names
        self.seen = []

    def observe(self, observation, request):
        if observation.answer.predicted_class == "tulip":
            message = "no tulips"
            raise ValueError(message)
        picture = [observation.width, observation.height, observation.brightness]
        self.seen.append([observation.answer.predicted_class, *picture, request])

    def close(self):
        self.folder.joinpath("observed.json").write_text(json.dumps(self.seen))


def main() -> None:
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    settings = Settings(page=page, observers=(partial(Recorder, folder),), api_key="secret")
    with bind("127.0.0.1", 0, "flowers serve") as listener:

        def say(*_anything):
            sys.stderr.write(f"Ready: {url_of(listener)}\n")
            sys.stderr.flush()

        if workers == 1:
            serve(settings, listener, say)
        else:
            supervise(settings, listener, workers, say)


if __name__ == "__main__":
    main()
