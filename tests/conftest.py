"""What the tests share: toy photographs, one trained bundle, and two ways to run the program."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from support.forked import Forked, can_fork, forked_python, forking, run_forked

import flowercli.training  # noqa: F401  (before a test imports torch: its threads shall not spin, here neither)
from flowercli.cli.main import main
from flowercli.data.scan import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Keeps the Hub out of reach. Its client reads this when it is first imported, so before any test's module is.
os.environ["HF_HUB_OFFLINE"] = "1"
# A busy machine takes longer for one example than for another.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")
# Fixtures of many tests about one subject.
pytest_plugins = ["support.published", "support.repositories", "support.transfers"]

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "docs" / "samples"
FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
COLOURS = {"blue": (40, 60, 220), "green": (40, 180, 60), "reds": (220, 40, 50)}
PHOTOS_A_CLASS = 40


@dataclass(frozen=True)
class Run:
    """What a run of the program gave."""

    code: int
    out: str
    err: str


def pytest_configure(config: pytest.Config) -> None:
    """Start what processes that train are forked from, once for all workers, which begin as such processes too."""
    if not hasattr(config, "workerinput") and find_spec("torch") and hasattr(os, "fork"):
        running = contextlib.ExitStack()
        running.enter_context(forking())
        config.add_cleanup(running.close)
        if config.getoption("tx", None):
            config.option.tx = [f"popen//python={shlex.join(forked_python())}" for _ in config.option.tx]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker process begin with its share of the slow ones: none begins with one when all else is done.

    Each is given a stretch of the list; one that is through takes what another has left.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    whole = len(items)
    items.clear()
    for worker in range(workers):
        share = slow[worker::workers]
        room = whole * (worker + 1) // workers - len(items) - len(share)
        items += [*share, *others[:room]]
        del others[:room]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """Keep the user's own data directory out of the tests."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERS_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def own_import_path(monkeypatch):
    """Forget what a test puts on the import path: a loaded MLflow model puts its own, smaller `flowercli` in front."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run(capfd):
    """Run the program in this process, through its true entry point."""

    def call(*arguments: object) -> Run:
        capfd.readouterr()
        code = main(untracked(arguments))
        captured = capfd.readouterr()
        return Run(code, captured.out, captured.err)

    return call


def flowers(*arguments: object, timeout: float = 300, forked: bool = True, **options) -> Run:
    """Run the program as a process of its own; one that wants torch is forked where it is loaded."""
    environment = options.get("env", os.environ)
    if forked and options.keys() <= {"env"} and can_fork(untracked(arguments), environment):
        return Run(*run_forked(untracked(arguments), ROOT, timeout, environment))
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, **options
    )
    return Run(done.returncode, done.stdout, done.stderr)


def command(*arguments: object) -> list[str]:
    """Return the command line of the program in this environment."""
    return [sys.executable, "-W", "error", "-m", "flowercli", *untracked(arguments)]


def untracked(arguments: Sequence[object]) -> list[str]:
    """Have training record and draw nothing unless a test says so: MLflow and matplotlib take seconds a run."""
    texts = [str(argument) for argument in arguments]
    if texts[:1] != ["train"] or "--resume" in texts:
        return texts
    tracked = any(text.startswith(("tracking", "--tracking")) for text in texts)
    drawn = any(text.startswith("plots=") for text in texts)
    return [*texts, *([] if tracked else ["tracking=none"]), *([] if drawn else ["plots=false"])]


def default_interrupt() -> None:
    """Undo what a shell does to its background jobs, whose children would ignore Ctrl-C; run in the child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_training(*arguments: object, forked: bool = True) -> subprocess.Popen[str] | Forked:
    """Start ``flowers train`` as the leader of a group of processes, as a terminal or a job scheduler does."""
    # An interrupt may come between a library's opening of a file and its ``with``.
    ignored = "ignore::ResourceWarning"
    if forked and can_fork(["train"]):
        return Forked(untracked(["train", *arguments]), ROOT, ignored)
    line = command("train", *arguments)
    line[line.index("-m") : line.index("-m")] = ["-W", ignored]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=default_interrupt,  # noqa: PLW1509
    )  # fmt: skip


def in_terminal(arguments: list[object], columns: int = 100, stream: str = "stdout") -> Run:
    """Run the program with one stream on a terminal of its own and return what it shows, without colours."""
    import fcntl
    import pty
    import termios

    main_end, program_end = pty.openpty()
    fcntl.ioctl(program_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: program_end}
    with subprocess.Popen(command(*arguments), cwd=ROOT, env=environment, text=True, **streams) as process:
        os.close(program_end)
        chunks = []
        # On Linux the read fails, rather than ends, once the program has closed its side.
        with contextlib.suppress(OSError):
            while chunk := os.read(main_end, 65536):
                chunks.append(chunk)
        os.close(main_end)
        piped = process.stderr or process.stdout
        assert piped is not None
        rest = piped.read()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(chunks).decode()).replace("\r\n", "\n")
    return Run(process.returncode, shown, rest) if stream == "stdout" else Run(process.returncode, rest, shown)


@pytest.fixture(scope="session")
def photos():
    """Return the folder of real photographs."""
    folder = os.environ.get("FLOWERS_PHOTOS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLOWERS_PHOTOS does not name a folder of real photographs")
    return Path(folder).resolve()


def write_picture(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """Write a noisy picture in one colour: easy to tell apart, never twice the same."""
    generator = np.random.default_rng(seed)
    small = generator.normal(0, 40, (6, 8, 3)) + np.array(colour)
    blotches = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    blotches.save(path, quality=90)


def write_dataset(folder: Path, photos: int = PHOTOS_A_CLASS) -> Path:
    """Write a dataset of three classes of colour."""
    for position, (name, colour) in enumerate(COLOURS.items()):
        for number in range(photos):
            write_picture(folder / name / f"{number:03}.jpg", colour, 1000 * position + number)
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Return a function that makes what all worker processes share: the first to ask makes it, the others wait."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own

    def call(name: str, make: Callable[[Path], Path]) -> Path:
        made = root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not made.exists():
                # One that failed is made anew by the next, elsewhere.
                folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
                made.write_text(str(make(folder)), encoding="utf-8")
            return Path(made.read_text(encoding="utf-8"))

    return call


@pytest.fixture(scope="session")
def dataset(made_once):
    """Return a small dataset; not to be changed."""
    return made_once("data", lambda folder: write_dataset(folder / "colours"))


@pytest.fixture
def own_dataset(dataset, tmp_path):
    """Return a copy of the small dataset that a test may change."""
    return Path(shutil.copytree(dataset, tmp_path / "colours", ignore=shutil.ignore_patterns(MANIFEST_FILE)))


@pytest.fixture(scope="session")
def trained(made_once, dataset):
    """Return a bundle that the program trained and exported; not to be changed. The one expensive fixture."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    return made_once("runs", partial(train_and_export, dataset))


def train_and_export(dataset: Path, output: Path) -> Path:
    """Train a tiny model on the small dataset for a few epochs, export it, and return its bundle."""
    arguments = ("--data", dataset, "model=tiny", "--epochs", 6, "--batch-size", 16, "optim.lr=3e-3", "loss=ce")
    done = flowers("train", *arguments, "num_workers=0", "validate_every=2", "--output", output)
    assert done.code == 0, done.err
    bundle = Path(done.out.strip())
    done = flowers("export", bundle, "--onnx", "--int8", "--max-drop", "20")
    assert done.code == 0, done.err
    return bundle


@pytest.fixture
def own_bundle(trained, tmp_path):
    """Return a copy of the trained bundle that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "bundle"))
