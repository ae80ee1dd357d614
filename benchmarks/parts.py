"""What a photograph costs part by part, with which decoder, and what bound the fastest parts make together.

python benchmarks/parts.py PHOTOS [--count 2000] [--rounds 3] [--enlarge 4000]

Decoders that are installed are compared: this program's reader (Pillow), Pillow alone, and simplejpeg, PyTurboJPEG and
libvips (`pip install simplejpeg pyturbojpeg 'pyvips[binary]' opencv-python-headless`), each at the smallest scale of
the JPEG that is large enough, on one thread. Each is followed by the graph, to see whether it names the same flowers
and refuses the same pictures. Times are CPU milliseconds of this thread, in turn, medians of rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from throughput import enlarged

from flowercli.inference.classifier import Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.preprocess import Picture, center_box, load_pixels
from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowercli.inference.preprocess import PreprocessSpec

    Reader = Callable[[bytes], np.ndarray]
    Resizer = Callable[[np.ndarray, PreprocessSpec], np.ndarray]

WARM_UP = 20


def main() -> None:
    """Print a line for each decoder, one for the graph, and the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--enlarge", type=int, help="longer side in pixels of copies to take instead")
    parser.add_argument("--model")
    asked = parser.parse_args()
    larger = contextlib.nullcontext(asked.photos)
    with enlarged(asked.photos, asked.enlarge, asked.count) if asked.enlarge else larger as folder:
        found = sorted(folder.rglob("*.jpg"))
        files = [path.read_bytes() for path in found[:: max(1, len(found) // asked.count)][: asked.count]]
    classifier = Classifier.open(load_model(asked.model), "cpu")
    spec = classifier.spec
    readers = available_readers(spec)
    times: dict[str, list[float]] = {name: [] for name in (*readers, "graph")}
    answers: dict[str, list[tuple[str, bool]]] = {}
    for _ in range(asked.rounds):
        for name, reader in readers.items():
            times[name].append(cost(reader, files))
        pixels = [load_pixels(file, spec) for file in files[:200]]
        times["graph"].append(cost(lambda each: classifier.run(each[np.newaxis]), pixels))
    for name, reader in readers.items():
        answers[name] = [answer(classifier, reader(file)) for file in files]
    print(f"{len(files)} photographs, {asked.rounds} rounds in turn; CPU on one thread, median")
    for name in readers:
        same = statistics.mean(mine == theirs for mine, theirs in zip(answers["flowers"], answers[name], strict=True))
        print(f"{name:28} {statistics.median(times[name]):6.2f} ms   same class and refusal {100 * same:.2f} %")
    graph = statistics.median(times["graph"])
    print(f"{'graph':28} {graph:6.2f} ms")
    fastest = min(statistics.median(times[name]) for name in readers)
    cores = available_cores()
    print(f"bound of the fastest parts   {1000 * cores / (fastest + graph):.0f} img/s on {cores} cores")


def available_readers(spec: PreprocessSpec) -> dict[str, Reader]:
    """Return what makes the pixels of a model from a JPEG, by name; the first is this program's."""
    readers: dict[str, Reader] = {"flowers": lambda file: load_pixels(file, spec), "Pillow": with_pillow(spec)}
    makers = {
        "simplejpeg and Pillow": partial(with_simplejpeg, resized=resized_by_pillow),
        "simplejpeg and OpenCV": with_simplejpeg,
        "PyTurboJPEG and OpenCV": with_turbo,
        "libvips": with_vips,
    }
    for name, make in makers.items():
        with contextlib.suppress(ImportError, OSError, RuntimeError):
            readers[name] = make(spec)
    return readers


def with_pillow(spec: PreprocessSpec) -> Reader:
    """Reduce while decoding, then resize in two steps."""

    def read(file: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(file))
        shorter = min(spec.resize_to)
        image.draft("RGB", (shorter, shorter))
        return resized_by_pillow(image.convert("RGB"), spec)

    return read


def resized_by_pillow(image: Image.Image | np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Cut the centre and resize it as this program does."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    box = center_box(image.size, (spec.height, spec.width), spec.crop_pct)
    return np.asarray(image.resize((spec.width, spec.height), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))


def cut_and_resized(pixels: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Cut the centre and resize it with OpenCV: by areas where it gets smaller."""
    cv2 = import_module("cv2")
    height, width = pixels.shape[:2]
    left, top, right, bottom = map(round, center_box((width, height), (spec.height, spec.width), spec.crop_pct))
    cut = pixels[top:bottom, left:right]
    smaller = cut.shape[0] > spec.height
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized: np.ndarray = cv2.resize(cut, (spec.width, spec.height), interpolation=how)
    return resized


def with_simplejpeg(spec: PreprocessSpec, resized: Resizer = cut_and_resized) -> Reader:
    """Decode with libjpeg-turbo through simplejpeg."""
    simplejpeg, _ = import_module("simplejpeg"), import_module("cv2")
    shorter = min(spec.resize_to)

    def read(file: bytes) -> np.ndarray:
        fast = resized is cut_and_resized
        return resized(simplejpeg.decode_jpeg(file, min_height=shorter, min_width=shorter, fastdct=fast), spec)

    return read


def with_turbo(spec: PreprocessSpec) -> Reader:
    """Decode with libjpeg-turbo through PyTurboJPEG."""
    module, _ = import_module("turbojpeg"), import_module("cv2")
    decoder: Any = module.TurboJPEG()
    shorter = min(spec.resize_to)

    def read(file: bytes) -> np.ndarray:
        width, height, *_ = decoder.decode_header(file)
        eighths = next((part for part in range(1, 8) if min(width, height) * part >= 8 * shorter), 8)
        decoded = decoder.decode(file, pixel_format=module.TJPF_RGB, scaling_factor=(eighths, 8))
        return cut_and_resized(decoded, spec)

    return read


def with_vips(spec: PreprocessSpec) -> Reader:
    """Decode and resize with libvips, on one thread."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    vips = import_module("pyvips")

    def read(file: bytes) -> np.ndarray:
        height, width = spec.resize_to
        image = vips.Image.thumbnail_buffer(file, 10_000, height=height, size="both")
        if image.width < width:
            image = vips.Image.thumbnail_buffer(file, width, height=10_000, size="both")
        left, top = (image.width - spec.width) // 2, (image.height - spec.height) // 2
        pixels: np.ndarray = image.crop(left, top, spec.width, spec.height).colourspace("srgb").numpy()[..., :3]
        return pixels

    return read


def cost(what: Callable[[Any], object], inputs: list[Any]) -> float:
    """Return CPU milliseconds of this thread for each input."""
    for each in inputs[:WARM_UP]:
        what(each)
    started = time.thread_time()
    for each in inputs:
        what(each)
    return 1000 * (time.thread_time() - started) / len(inputs)


def answer(classifier: Classifier, pixels: np.ndarray) -> tuple[str, bool]:
    """Return the class and whether it is refused."""
    (found,) = classifier.answer([Picture(pixels, pixels.shape[1], pixels.shape[0])])
    return found.predicted_class, found.rejected


if __name__ == "__main__":
    main()
