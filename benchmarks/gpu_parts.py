"""The parts of ``gpu.py``, each a process of its own, which gpu.py starts.

Each prints a line as soon as it knows something, so that one that is stopped has said what it had.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from measured import flowers
from PIL import Image

from flowercli.bundle import ONNX, ONNX_FP16, PLAN, TENSORRT_GRAPH, Bundle, add_files, create
from flowercli.inference.cpu import available_cores, cpu_name
from flowercli.inference.engine import PROFILE, this_machine
from flowercli.inference.libraries import CUDA
from flowercli.inference.nvidia import find_driver, kernel_module
from flowercli.inference.on_device import OnDevice
from flowercli.inference.pinned import is_pinned
from flowercli.inference.pipeline import classify_stream, open_for_many, ordered_map
from flowercli.inference.preprocess import INPUT, load_pixels
from flowercli.inference.probe import cuda_obstacles, tensorrt_obstacles

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowercli.inference.classifier import Classifier

SIZES = tuple(PROFILE.values())
OBSTACLES = {"cuda": cuda_obstacles, "tensorrt": tensorrt_obstacles}
# What one figure may take: it is a rate, so more time makes it steadier and not larger.
SECONDS, WARM_UPS = 2.0, 3
# As cameras of phones make them once somebody has made them smaller.
JPEG_SIZE, JPEGS = (1024, 768), 64
NETWORK = "rexnet_150"


def say(text: str) -> None:
    """Print a line at once."""
    print(f"  {text}", flush=True)


def rate(work: Callable[[], object], pictures: int, seconds: float) -> float:
    """Return pictures a second of a call that does so many."""
    for _ in range(WARM_UPS):
        work()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        work()
        count += pictures
    return count / (time.perf_counter() - started)


def machine(_asked: argparse.Namespace) -> None:
    """Say what there is, and what is missing for each device."""
    driver = find_driver()
    names = ", ".join(gpu.name for gpu in driver.gpus) if driver and driver.gpus else "none"
    say(f"GPU: {names}; driver {kernel_module() or 'none'}; TensorRT and capability: {this_machine()}")
    say(f"CPU: {cpu_name()}, {available_cores()} cores; onnxruntime {ort.__version__}; pinned memory: {is_pinned()}")
    for device, obstacles in OBSTACLES.items():
        found = next(obstacles(), None)
        say(f"{device}: {'nothing is missing' if found is None else f'{found.reason}; {found.fix}'}")


def model(asked: argparse.Namespace) -> None:
    """Make a bundle with random weights in fp32 and fp16: what it answers is nonsense, its speed is not."""
    from flowercli.export.fp16 import convert_fp16
    from flowercli.export.graph import export_fp32

    data, runs = asked.work / "data", asked.work / "runs"
    generator = np.random.default_rng(0)
    for number in range(24):
        path = data / ("light" if number % 2 else "dark") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 128, (64, 64, 3), np.uint8) + 127 * (number % 2)).save(path)
    line = flowers(
        "train", "--data", data, "--output", runs, f"model.name={asked.network}", "model.pretrained=false", "name=run",
        "--epochs", 1, "--batch-size", 8, "loss=ce", "tracking=none", "plots=false", "num_workers=0",
        "data.ratios=[0.7,0.15,0.15]",
    )  # fmt: skip
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    trained = Bundle.load(runs / "run")
    # Two steps calibrate nothing: a temperature near zero would make much of any rounding.
    trained.section["temperature"] = 1.0
    trained.section.pop("known", None)
    export_fp32(trained, asked.work / ONNX)
    convert_fp16(trained, asked.work / ONNX, asked.work / ONNX_FP16)
    bundle = create(asked.bundle, trained.config, {ONNX: asked.work / ONNX, ONNX_FP16: asked.work / ONNX_FP16})
    say(f"{bundle.config['architecture']} with random weights: {', '.join(bundle.section['files'])}")


def tests(_asked: argparse.Namespace) -> None:
    """Run the tests that need a GPU, each with its result as it ends."""
    line = [sys.executable, "-m", "pytest", "-v", "--no-header", "--tb=line", "-p", "no:cacheprovider", "tests/gpu"]
    subprocess.run(line, cwd=Path(__file__).parents[1], check=False)


def engine(asked: argparse.Namespace) -> None:
    """Build a TensorRT engine from the fp16 graph and put it into the bundle."""
    from flowercli.export.build_engine import build_engine

    bundle, folder = Bundle.load(asked.bundle), asked.work / "engine"
    folder.mkdir()
    started = time.perf_counter()
    built = build_engine(bundle, bundle.file(ONNX_FP16), folder)
    names = (PLAN, TENSORRT_GRAPH, "model.trt.json")
    add_files(bundle, {name: folder / name for name in names})
    say(f"engine in {built.precision}, built in {time.perf_counter() - started:.0f} s")


def device(asked: argparse.Namespace) -> None:
    """Pictures a second of our session against onnxruntime's bare one, and against TensorRT without onnxruntime."""
    classifier = opened(asked, max(asked.sizes))
    session: Any = classifier._session  # noqa: SLF001  (as classify has it)
    assert isinstance(session, OnDevice)
    say(f"{classifier.runtime.describe()}; recorded: {recorded(session)}")
    bare = bare_sessions(asked, classifier, session)
    for size in asked.sizes:
        shape = (size, classifier.spec.height, classifier.spec.width, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        ours = rate(lambda pixels=pixels: classifier.run(pixels), size, asked.seconds)
        say(f"batch {size}: ours {ours:.3g} img/s")
        for name, other in bare.items():
            theirs = rate(lambda other=other, pixels=pixels: other.run(None, {INPUT: pixels}), size, asked.seconds)
            say(f"batch {size}: {name} {theirs:.3g} img/s, ours is {ours / theirs:.2f} of it")
        if asked.device == "tensorrt":
            for name, alone in (("TensorRT's own loop", tensorrt_loop), ("trtexec", trtexec)):
                against(name, partial(alone, asked.bundle / PLAN, pixels, asked.seconds), size, ours)


def against(name: str, measured: Callable[[], float], size: int, ours: float) -> None:
    """Measure a peer that may not be there."""
    try:
        theirs = measured()
    except Exception as error:  # noqa: BLE001  (whatever is missing)
        say(f"batch {size}: {name} was not measured: {type(error).__name__}: {error}")
    else:
        say(f"batch {size}: {name} {theirs:.3g} img/s, ours is {ours / theirs:.2f} of it")


def recorded(session: OnDevice) -> bool:
    """Whether runs are recorded as CUDA graphs."""
    return session.session.get_provider_options().get(CUDA, {}).get("enable_cuda_graph") == "1"


def opened(asked: argparse.Namespace, size: int | None) -> Classifier:
    """Open the model as ``classify --batch-size`` does."""
    return open_for_many(Bundle.load(asked.bundle), asked.device, size)


def bare_sessions(asked: argparse.Namespace, classifier: Classifier, session: OnDevice) -> dict[str, Any]:
    """Return onnxruntime's sessions of the same graph as its documentation shows them."""
    graph, options = asked.bundle / classifier.runtime.graph, ort.SessionOptions()
    options.log_severity_level = 4
    if asked.device == "cpu":
        options.intra_op_num_threads = available_cores()
        return {"bare onnxruntime": ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])}
    if asked.device == "tensorrt":  # The engine is in the graph, so the session that is there is as bare as another.
        return {"bare onnxruntime": session.session}
    channels_last = [(CUDA, {"prefer_nhwc": "1"})]
    return {
        "bare onnxruntime": ort.InferenceSession(graph, options, providers=[CUDA]),
        "bare onnxruntime, channels last": ort.InferenceSession(graph, options, providers=channels_last),
    }


def tensorrt_loop(plan: Path, pixels: Any, seconds: float) -> float:
    """Return pictures a second of the same engine in TensorRT's own Python, with torch for its memory."""
    import tensorrt as trt  # type: ignore[import-not-found]
    import torch

    loaded = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan.read_bytes())
    context = loaded.create_execution_context()
    host = torch.from_numpy(pixels).pin_memory()
    on_gpu, back = host.cuda(), []
    context.set_input_shape(INPUT, tuple(pixels.shape))
    context.set_tensor_address(INPUT, on_gpu.data_ptr())
    for name in (loaded.get_tensor_name(place) for place in range(loaded.num_io_tensors)):
        if loaded.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
            back.append(torch.empty(tuple(context.get_tensor_shape(name)), dtype=torch.float32, device="cuda"))
            context.set_tensor_address(name, back[-1].data_ptr())
    stream = torch.cuda.Stream()

    def once() -> None:
        with torch.cuda.stream(stream):
            on_gpu.copy_(host, non_blocking=True)
            context.execute_async_v3(stream.cuda_stream)
            for each in back:
                each.cpu()

    return rate(once, len(pixels), seconds)


def trtexec(plan: Path, pixels: Any, seconds: float) -> float:
    """Return pictures a second as TensorRT's own program says."""
    program = shutil.which("trtexec")
    if program is None:
        raise FileNotFoundError("there is no trtexec on the path")
    shape = "x".join(map(str, pixels.shape))
    line = [program, f"--loadEngine={plan}", f"--shapes={INPUT}:{shape}", "--useCudaGraph", f"--duration={seconds:.0f}"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    (found,) = [line for line in done.stdout.splitlines() if "Throughput:" in line]
    return len(pixels) * float(found.partition("Throughput:")[2].split()[0])


def stream(asked: argparse.Namespace) -> None:
    """Pictures a second of the whole path, of decoding alone and of the device alone: which is the limit."""
    paths = photographs(asked)
    classifier = opened(asked, asked.batch_size)
    many = [str(paths[place % len(paths)]) for place in range(asked.count)]
    gathering = classifier.gathering()
    batches = gathering and gathering.measured()
    say(f"{asked.count} pictures; chosen by measuring: {batches}; {available_cores()} threads decode")
    started = time.perf_counter()
    decoded = sum(1 for _ in ordered_map(lambda path: load_pixels(path, classifier.spec), many, available_cores()))
    decoding = decoded / (time.perf_counter() - started)
    say(f"decoding alone: {decoding:.3g} img/s")
    size = batches.most if batches else 1
    pixels = np.zeros((size, classifier.spec.height, classifier.spec.width, 3), np.uint8)
    alone = rate(lambda: classifier.run(pixels), size, asked.seconds)
    say(f"{asked.device} alone, batches of {size}: {alone:.3g} img/s")
    started = time.perf_counter()
    answered = sum(1 for _ in classify_stream(classifier, many, workers=available_cores()))
    both = answered / (time.perf_counter() - started)
    busy = f"{asked.device} is busy for {both / alone:.0%}"
    say(f"both together: {both:.3g} img/s, {both / min(decoding, alone):.2f} of the slower one; {busy}")


def photographs(asked: argparse.Namespace) -> list[Path]:
    """Return those that are given, or some that are made."""
    if asked.photos is not None:
        return sorted(asked.photos.rglob("*.jpg"))[: asked.count]
    folder = asked.work / "jpegs"
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)

    def write(number: int) -> Path:
        blotches = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(blotches).resize(JPEG_SIZE, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
        return folder / f"{number}.jpg"

    with ThreadPoolExecutor() as pool:
        return list(pool.map(write, range(JPEGS)))


def training(asked: argparse.Namespace) -> None:
    """Pictures a second of training timm's network in bf16, as it is and compiled, without the loading of pictures."""
    import timm
    import torch

    where = "cuda" if asked.device != "cpu" and torch.cuda.is_available() else "cpu"
    side, name = asked.train_side, asked.train_network
    say(f"torch {torch.__version__} on {where}, {name} at {side} px, bf16, batches of {asked.train_batch}")
    pixels = torch.randn(asked.train_batch, 3, side, side, device=where).to(memory_format=torch.channels_last)
    targets = torch.randint(0, 5, (asked.train_batch,), device=where)
    for compiled in (False, True):
        network = timm.create_model(name, num_classes=5).to(where, memory_format=torch.channels_last).train()
        called = torch.compile(network) if compiled else network
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

        def step(called: Any = called, optimizer: Any = optimizer) -> None:
            with torch.autocast(where, dtype=torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(called(pixels), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if where == "cuda":
                torch.cuda.synchronize()

        started = time.perf_counter()
        step()
        first = time.perf_counter() - started
        found = rate(step, asked.train_batch, asked.seconds)
        say(f"{'torch.compile' if compiled else 'as it is'}: {found:.3g} img/s; the first step took {first:.1f} s")


PARTS = {each.__name__: each for each in (machine, model, tests, engine, device, stream, training)}


def arguments() -> argparse.ArgumentParser:
    """Return what each part takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default=NETWORK)
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))), default=SIZES)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--train-network", default=NETWORK)
    parser.add_argument("--train-batch", type=int, default=128)
    parser.add_argument("--train-side", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    return parser


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    given = arguments().parse_args()
    PARTS[given.part](given)
