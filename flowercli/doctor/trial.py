"""Classify a generated picture for real, see which runtime each bundle gets, and measure the default one."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flowercli
from flowercli.atomic import scratch_folder
from flowercli.doctor.checks import Check, Status
from flowercli.errors import FlowersError
from flowercli.inference.probe import reinstall
from flowercli.installed import installed
from flowercli.models import FOLDER, load_model, shipped_names
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier

SIZE = (1024, 768)
LIMIT_SECONDS = 120
# Decoding and the graph, one picture at a time, and both on all cores: two seconds together.
ALONE_SECONDS, TOGETHER_SECONDS = 0.4, 1.2


def classify_once() -> Iterator[Check]:
    """Run ``flowers classify`` on a generated picture, in a process of its own: what is broken can end it."""
    with scratch_folder("doctor") as scratch:
        picture = scratch / "picture.jpg"
        picture.write_bytes(generated_picture())
        # -P: nothing that happens to lie in the current folder is imported. What runs here must still be found.
        paths = [os.environ.get("PYTHONPATH", ""), str(Path(flowercli.__file__).parent.parent)]
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", "flowercli", "classify", "--json", str(picture)],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    if done.returncode == 0:
        yield Check(
            "classify", Status.OK, "a generated picture was classified", values={"answer": _answer(done.stdout)}
        )
    else:
        yield _failure(done.returncode, done.stderr)


def _answer(text: str) -> Any:
    answer = json.loads(text)
    return {key: answer[key] for key in ("predicted_class", "confidence", "rejected")}


def _failure(code: int, errors: str) -> Check:
    lines = errors.strip().splitlines()
    said = [line for line in lines if line.startswith("Error: ")]
    if code < 0:
        text, fix = f"the process was ended by {signal.Signals(-code).name}", reinstall()
    elif said:
        text = said[-1].removeprefix("Error: ")
        after = [line for line in lines[lines.index(said[-1]) + 1 :] if "flowers doctor" not in line]
        fix = " ".join(after) or "FLOWERS_DEBUG=1 flowers classify PICTURE"
    else:
        text, fix = lines[-1] if lines else f"it exited with {code}", "FLOWERS_DEBUG=1 flowers classify PICTURE"
    return Check("classify", Status.PROBLEM, text, fix, values={"exit_code": code})


def runtimes() -> Iterator[Check]:
    """Yield for each bundle, those that ship and those that were downloaded, where it would run and why not better."""
    for name in shipped_names():
        yield _runtime(FOLDER / name)
    for entry in installed("model"):
        yield _runtime(entry.path)


def _runtime(path: Path) -> Check:
    from flowercli.bundle import Bundle

    try:
        # Where onnxruntime cannot be imported, this raises the error that says so.
        from flowercli.inference.classifier import Classifier

        runtime = Classifier.open(Bundle.load(path)).runtime
    except FlowersError as error:
        return Check(path.name, Status.PROBLEM, error.message, error.hint, values={"path": str(path), "device": None})
    rejected = [other._asdict() for other in runtime.rejected]
    values = {"path": str(path), "device": runtime.device, "graph": runtime.graph, "rejected": rejected}
    notes = tuple(f"not {other.device}: {other.reason}" for other in runtime.rejected)
    return Check(path.name, Status.OK, f"{runtime.device}, {runtime.graph}", notes=notes, values=values)


def benchmark() -> Iterator[Check]:
    """Measure the default bundle for two seconds: decoding, the graph, and both on all cores."""
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.cpu import available_cores
    from flowercli.inference.preprocess import load_pixels

    classifier, picture, threads = Classifier.open(load_model(None)), generated_picture(), available_cores()
    decode = _milliseconds(lambda: load_pixels(picture, classifier.spec))
    pixels = load_pixels(picture, classifier.spec)[None]
    graph = _milliseconds(lambda: classifier.run(pixels))
    rate = _rate(classifier, picture, threads)
    width, height = SIZE
    text = f"{rate:.0f} img/s with {counted(threads, 'thread')} on {classifier.runtime.device}"
    alone = f"alone, a JPEG of {width}×{height} takes {decode:.1f} ms to decode and {graph:.1f} ms in the graph"
    values = {
        "images_per_second": round(rate, 1),
        "decode_ms": round(decode, 2),
        "graph_ms": round(graph, 2),
        "threads": threads,
        "device": classifier.runtime.device,
        "picture": [width, height],
    }
    yield Check("default model", Status.OK, text, notes=(alone,), values=values)


def _milliseconds(work: Callable[[], object]) -> float:
    work()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < ALONE_SECONDS:
        work()
        count += 1
    return 1000 * (time.perf_counter() - started) / count


def _rate(classifier: Classifier, picture: bytes, threads: int) -> float:
    from flowercli.inference.pipeline import classify_stream

    with scratch_folder("doctor") as scratch:
        path = scratch / "picture.jpg"
        path.write_bytes(picture)
        started = time.perf_counter()
        paths = iter(lambda: str(path) if time.perf_counter() - started < TOGETHER_SECONDS else "", "")
        count = sum(1 for _ in classify_stream(classifier, paths, workers=threads))
        return count / (time.perf_counter() - started)


def generated_picture() -> bytes:
    """Return a JPEG of soft coloured blotches, about as large as a photograph of its size."""
    import numpy as np
    from PIL import Image

    blotches = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blotches).resize(SIZE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
