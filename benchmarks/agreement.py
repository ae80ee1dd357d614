"""Whether every form of a model gives the same answers: torch, ONNX fp32, fp16 and int8, Triton, the delivery's client.

python benchmarks/agreement.py PHOTOS BUNDLE     (BUNDLE: exported with --onnx --fp16 --int8; needs the extra 'train')

With --triton PYTHON, of an environment with nvidia-pytriton as `nox -s triton` makes it, a real server is asked too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowercli.bundle import Bundle
from flowercli.evaluation.answers import answer_rows, variants_of
from flowercli.evaluation.intervals import wilson
from flowercli.export.package import Options
from flowercli.export.packages import write_packages
from flowercli.export.triton import PYTHON, write_repository
from flowercli.inference.sources import walk

Probabilities = npt.NDArray[np.float64]
# The share of same answers that is promised, against torch.
LIMITS = {"onnx": 0.9995, "int8": 0.99, "triton": 0.99, "delivery": 0.99}
TESTS = Path(__file__).parents[1] / "tests"


def main() -> None:
    """Print how each form agrees with torch; exit with 1 where one agrees less than is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--triton", type=Path, metavar="PYTHON")
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    paths = sorted(walk(str(arguments.photos)))
    paths = sorted(random.Random(2024).sample(paths, min(arguments.count, len(paths))))
    found = {variant: asked(bundle, variant, paths) for variant in variants_of(bundle)}
    if arguments.triton:
        found["triton"] = served(bundle, paths, arguments.triton)
    found["delivery"] = delivered(bundle, paths)
    reference = found.pop("torch")
    print(f"{len(paths)} photographs, against torch")
    print(f"{'form':10} {'same answer':>12} {'95 % interval':>17} {'other':>6} {'max diff.':>10} {'mean diff.':>10}")
    missed = [name for name, ours in found.items() if compared(name, ours, reference) < LIMITS.get(name, 0)]
    sys.exit(f"Less than promised: {', '.join(missed)}" if missed else 0)


def asked(bundle: Bundle, variant: str, paths: list[str]) -> Probabilities:
    """Return the probabilities ``[N, C]`` that a file of the bundle gives."""
    print(f"Asking {variant}", file=sys.stderr)
    return np.stack([row[0] for row in answer_rows(bundle, variant, [Path(path) for path in paths])])


def delivered(bundle: Bundle, paths: list[str]) -> Probabilities:
    """Return the probabilities ``[N, C]`` that the client of a delivery prints: five, the others count as none."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "delivery"
        any_loss = Options(max_drop=float("inf"))
        write_packages(bundle, {"delivery": folder}, any_loss, lambda message: print(message, file=sys.stderr))
        client = [sys.executable, "-I", str(folder / "classify.py"), *paths]
        lines = subprocess.run(client, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    answers = [json.loads(line)["all_predictions"] for line in lines]
    return np.array([[answer.get(name, 0) for name in bundle.class_names] for answer in answers])


def served(bundle: Bundle, paths: list[str], python: Path) -> Probabilities:
    """Return the probabilities ``[N, C]`` that a Triton server gives for the bytes of the files, over HTTP."""
    sys.path.insert(0, str(TESTS))
    os.environ["FLOWERS_TRITON"] = str(python)
    from support.triton_server import running

    with tempfile.TemporaryDirectory() as temporary:
        repository, folder = Path(temporary) / "repository", Path(temporary)
        packed = write_repository(bundle, repository, Options(triton_backend=PYTHON))
        print(f"Asking Triton ({packed.record['graph']})", file=sys.stderr)
        with running(repository, folder) as server, ThreadPoolExecutor(4) as pool:
            url = f"http://{server.http}/v2/models/flowers/infer"
            return np.stack(list(pool.map(lambda path: ask_triton(url, Path(path)), paths)))


def ask_triton(url: str, path: Path) -> Probabilities:
    """Return the probabilities ``[C]`` that a server gives for one file: the request is its bytes."""
    request = urllib.request.Request(url, path.read_bytes(), {"Inference-Header-Content-Length": "0"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        outputs = json.loads(response.read(int(response.headers["Inference-Header-Content-Length"])))["outputs"]
        tensors = {output["name"]: response.read(output["parameters"]["binary_data_size"]) for output in outputs}
    return np.frombuffer(tensors["probabilities"], np.float32).astype(np.float64)


def compared(name: str, ours: Probabilities, theirs: Probabilities) -> float:
    """Print one line and return the share of photographs with the same predicted class."""
    same = ours.argmax(axis=1) == theirs.argmax(axis=1)
    difference = np.abs(ours - theirs)
    low, high = wilson(int(same.sum()), len(same))
    interval = f"{100 * low:.2f}–{100 * high:.2f} %"
    figures = f"{same.mean():12.2%} {interval:>17} {(~same).sum():6} {difference.max():10.1e} {difference.mean():10.1e}"
    print(f"{name:10} {figures}")
    return float(same.mean())


if __name__ == "__main__":
    main()
