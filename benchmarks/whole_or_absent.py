"""The commands that ``kills.py`` kills, what they read, and whether what is left of what they write is whole."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import sqlite3
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measured import flowers
from PIL import Image

from flowercli.bundle import MANIFEST, REFERENCE, Bundle, add_files
from flowercli.data.changes import missing_photos
from flowercli.data.manifest import Manifest
from flowercli.data.scan import MANIFEST_FILE
from flowercli.errors import FlowersError
from flowercli.models import load_model
from flowercli.monitoring.log_file import models_in, open_to_read, read
from flowercli.monitoring.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    # Of each file its hash; of a log how many answers it has, and what SQLite says of it.
    Contents = dict[str, str | int]

SAMPLES = Path(__file__).parent.parent / "docs" / "samples"
PHOTOS = 6
WHOLE, BEFORE, HALF = "whole", "as before", "HALF"
NO_LOG = ("nothing was logged yet", "There is no log")


@dataclass(frozen=True)
class Command:
    """A command that writes ``target``; ``check`` opens it, and says whether what the command adds is in it."""

    target: str
    line: str
    check: Callable[[Path], bool] = lambda _: True

    def arguments(self, base: Path, folder: Path, url: str) -> list[str]:
        """Return its arguments in the folder of a round."""
        return self.line.format(base=base, round=folder, url=url).split()


def manifest_is_whole(path: Path) -> bool:
    """Read a manifest, or that of a dataset, whose photographs have to be there."""
    manifest = Manifest.read(path / MANIFEST_FILE if path.is_dir() else path)
    return path.is_file() or not missing_photos(manifest.photos, path)


def bundle_is_whole(path: Path) -> bool:
    """Verify a bundle."""
    Bundle.load(path).verify()
    return True


def has_reference(path: Path) -> bool:
    """Verify a bundle; whether it has a reference, which must be readable then."""
    bundle = Bundle.load(path)
    bundle.verify()
    return bundle.has(REFERENCE) and len(Reference.read(bundle).sample) > 0


COMMANDS = {
    "split": Command("split.json", "split {base}/a --output {round}/split.json", manifest_is_whole),
    "merge": Command("merged", "merge {base}/a {base}/b --output {round}/merged", manifest_is_whole),
    "triton": Command("triton", "export flowers5 --triton {round}/triton --triton-backend python"),
    "web": Command("web", "export flowers5 --web {round}/web"),
    "delivery": Command("delivery", "export flowers5 --delivery {round}/delivery", bundle_is_whole),
    "reference": Command("bundle", "reference {round}/bundle --data {base}/a", has_reference),
    "classify": Command("classify.db", "classify {base}/a --log {round}/classify.db"),
    "download": Command("home/datasets/flowers", "download dataset {url}/flowers.tar"),
    "serve": Command("serve.db", "serve --port 0 --log {round}/serve.db"),
}


def contents(path: Path) -> Contents:
    """Return what is in a target; a log is read to its end."""
    if path.suffix == ".db":
        return contents_of_log(path)
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    names = {file: str(file.relative_to(path)) for file in files}
    # What was under way lies in a folder of its own, inside a bundle too, until the next run.
    whole = {file: name for file, name in names.items() if not name.startswith(".partial-")}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for file, name in whole.items()}


def contents_of_log(path: Path) -> Contents:
    """Return the number of answers in a log."""
    try:
        with open_to_read(path) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    except FlowersError as error:
        if any(words in error.message for words in NO_LOG):
            return {"answers": 0, "integrity": "ok"}
        raise
    answers = sum(len(read(path, model.identity).times) for model in models_in(path))
    return {"answers": answers, "integrity": str(said)}


def state(command: Command, target: Path, before: Contents, alone: Contents) -> str:
    """Return what a kill left of a target: ``alone`` is in it where nobody kills."""
    try:
        now = contents(target)
        if now == before or not command.check(target):
            return BEFORE
    except (FlowersError, OSError, sqlite3.Error) as error:
        return f"{HALF}: {error}"
    if "answers" in now:
        grown = int(now["answers"]) > int(before["answers"])
        return WHOLE if grown and now["integrity"] == "ok" else f"{HALF}: {before} became {now}"
    different = sorted({name for name, _ in set(now.items()) ^ set(alone.items())})
    return f"{HALF}: {', '.join(different)}" if different else WHOLE


def write_photos(folder: Path) -> None:
    """Write a small dataset: parts of two samples."""
    for name in ("rose", "tulip"):
        (folder / name).mkdir(parents=True)
        with Image.open(SAMPLES / f"{name}.jpg") as image:
            for number in range(PHOTOS):
                left, top = (round(random.uniform(0, size - 200)) for size in image.size)
                image.crop((left, top, left + 200, top + 200)).save(folder / name / f"{number}.jpg")


def make_base(base: Path) -> bytes:
    """Write what the commands read, and earlier targets; return an archive of photographs."""

    def run(*arguments: object) -> None:
        subprocess.run(
            flowers(*arguments), check=True, capture_output=True, env={**os.environ, "FLOWERS_HOME": str(base)}
        )

    earlier = base / "earlier"
    for name in ("a", "b", "c"):
        write_photos(base / name)
        run("split", base / name, "--ratios", "0.5,0.25,0.25")
    bundle = Bundle.load(shutil.copytree(load_model(None).path, earlier / "bundle"))
    manifest = shutil.copyfile(base / "a" / MANIFEST_FILE, base / MANIFEST)
    add_files(bundle, {MANIFEST: manifest})
    shutil.copyfile(base / "b" / MANIFEST_FILE, earlier / "split.json")
    for name in ("classify.db", "serve.db"):
        run("classify", base / "b", "--log", earlier / name)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(base / "c", "flowers")
    return buffer.getvalue()
