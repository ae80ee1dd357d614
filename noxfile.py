"""What CI runs: ``nox``. One session alone: ``nox -s lint``; without installing again: ``nox -R``."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "base", "docs", "tests"]

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
CLI_REFERENCE = "docs/cli.md"
# One more than the cores of a small machine: many tests wait for servers, for processes that die, or for a retry.
WORKERS = "3"


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, layers, dependencies."""
    session.install("-e", ".", *group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-logo")
    session.run("deptry", "flowercli")


@nox.session
def base(session: nox.Session) -> None:
    """The tests of the base install, without torch, on the lowest versions allowed, but for the marker `network`."""
    session.install(".", *lowest_versions(), *group("test"))
    session.run("pytest", "-n", WORKERS, "-m", "not network", *session.posargs, env=photos())


@nox.session
def tests(session: nox.Session) -> None:
    """Types and every test, with everything that training, DVC and serving need, an S3 server, Chromium where it is."""
    groups = (package for name in ("test", "s3", "serve", "browser", "deploy") for package in group(name))
    session.install("-e", ".[train,data,serve,heif]", "mypy", "hatchling", *groups)
    session.run("mypy")
    session.run("pytest", "-n", WORKERS, "--dist", "worksteal", "--durations", "10", *session.posargs, env=photos())


@nox.session(default=False)
def triton(session: nox.Session) -> None:
    """The model repository on a real Triton server, which has an environment of its own. Linux on x86-64."""
    session.install(".", *group("test"), *group("triton"))
    folder = Path(session.create_tmp()).absolute()
    shutil.rmtree(folder / "repository", ignore_errors=True)
    session.run("flowers", "export", "flowers5", "--triton", str(folder / "repository"), "--triton-backend", "python")
    session.run("python", "-m", "venv", str(folder / "server"))
    server = str(folder / "server" / "bin" / "python")
    # What the repository asks for, and nothing of this project.
    wanted = ("nvidia-pytriton", "-r", str(folder / "repository" / "requirements.txt"))
    session.run(server, "-m", "pip", "install", "--quiet", *wanted, external=True)
    session.run("pytest", "tests/test_triton.py", *session.posargs, env={**photos(), "FLOWERS_TRITON": server})


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Sessions on CUDA and TensorRT, and engines. Needs a GPU; TensorRT comes from NVIDIA's own index."""
    session.install("-e", ".[train,tensorrt]", *group("test"))
    session.run("pytest", "tests/gpu", *session.posargs, env=photos())


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, after checking that the CLI reference is what the program says."""
    session.install(".", *group("docs"))
    current = session.run("python", "docs/cli_reference.py", silent=True)
    if Path(CLI_REFERENCE).read_text(encoding="utf-8") != current:
        session.error(f"{CLI_REFERENCE} is not current: python docs/cli_reference.py > {CLI_REFERENCE}")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session(default=False)
def default_model(session: nox.Session) -> None:
    """Train the shipped model anew: nox -s default_model -- FLOWER_PHOTOS FLOWERS17 [FOLDER OF IMAGENET WEIGHTS]."""
    session.install("-e", ".[train]")
    five, seventeen, *weights = session.posargs
    large = train(session, "shipped_teacher", five, *from_folder(weights, "tf_efficientnet_lite2"))
    small = small_teacher(session, five, large, weights)
    taught = f"distill.teacher=[{small},{garden(session, five, seventeen, large, weights)}]"
    # First from the photographs of the five flowers in both datasets, then from those of the dataset it is for.
    both = f"{seventeen}-of-the-five"
    kept = [part for name in ("daisy", "dandelion", "rose", "sunflower", "tulip") for part in ("--class", name)]
    session.run("flowers", "merge", five, seventeen, *kept, "--output", both)
    first = train(session, "shipped_default", both, taught, *from_folder(weights, "tf_efficientnet_lite1"))
    more = (f"model.weights={first}", "optim.lr=1.5e-4", "augment.image_size=192", "augment.mix_probability=0.3")
    again = (taught, *more, "epochs=7", "validate_every=7")
    runs = [train(session, "shipped_default", five, *again, f"seed={seed}") for seed in (2024, 7)]
    model = f"{first}-mean"
    session.run("flowers", "average", *runs, "--output", model)
    finish(session, model, "flowers5")


@nox.session(default=False)
def garden_model(session: nox.Session) -> None:
    """Train the second shipped model: nox -s garden_model -- FLOWER_PHOTOS FLOWERS17 [FOLDER OF IMAGENET WEIGHTS]."""
    session.install("-e", ".[train]")
    five, seventeen, *weights = session.posargs
    large = train(session, "shipped_teacher", five, *from_folder(weights, "tf_efficientnet_lite2"))
    finish(session, garden(session, five, seventeen, large, weights), "garden18")


def small_teacher(session: nox.Session, data: str, teacher: str, weights: list[str]) -> str:
    """Train two EfficientNet-Lite0 with a larger teacher, and return the path of the mean of their weights."""
    lite0 = from_folder(weights, "tf_efficientnet_lite0")
    first = train(session, "shipped_student", data, f"distill.teacher=[{teacher}]", *lite0)
    more = ("seed=7", "epochs=12", "validate_every=12")
    second = train(session, "shipped_student", data, f"distill.teacher=[{teacher},{first}]", *more, *lite0)
    session.run("flowers", "average", first, second, "--output", f"{first}-mean")
    return f"{first}-mean"


def garden(session: nox.Session, five: str, seventeen: str, large: str, weights: list[str]) -> str:
    """Train the model of eighteen flowers, whose teacher starts from ``large``; return the path of its bundle."""
    session.run("flowers", "split", five)
    session.run("flowers", "split", seventeen, "--stratify", "--ratios", "0.8,0.1,0.1")
    data = f"{seventeen}-and-five"
    session.run("flowers", "merge", five, seventeen, "--output", data)
    again = ("epochs=6", "optim.lr=2e-4")
    more = (f"model.weights={large}", "validate_every=3", "data.sampler=square_root", *again)
    teacher = f"distill.teacher=[{train(session, 'shipped_teacher', data, *more)}]"
    first = train(session, "shipped_garden", data, teacher, *from_folder(weights, "tf_efficientnet_lite1"))
    more = (f"model.weights={first}", "validate_every=6", "augment.mix_probability=0.25", "seed=7", *again)
    return train(session, "shipped_garden", data, teacher, *more)


def finish(session: nox.Session, model: str, name: str) -> None:
    """Export a model, measure it and put it where it ships from."""
    session.run("flowers", "export", model, "--onnx", "--int8")
    for split in ("val", "test"):
        session.run("flowers", "eval", model, "--split", split)
    session.run("python", "-m", "flowercli.models.ship", model, name)


def train(session: nox.Session, recipe: str, data: str, *overrides: str) -> str:
    """Run one recipe and return the path of its bundle."""
    output = session.run(
        "flowers", "train", "--data", data, f"recipe={recipe}", "tracking=none", *overrides, silent=True
    )
    return str(output).strip().splitlines()[-1]


def from_folder(weights: list[str], name: str) -> list[str]:
    """Take the ImageNet weights from a folder laid out like the Hub; from the Hub itself without one."""
    return [f"model.weights={folder}/{name}.in1k" for folder in weights]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(PROJECT["dependency-groups"][name])


def lowest_versions() -> list[str]:
    """Return the base dependencies pinned to the lowest version that pyproject.toml allows."""
    requirements = PROJECT["project"]["dependencies"]
    return [re.sub(r">=([\d.]+)", r"==\1.*", requirement) for requirement in requirements]


def photos() -> dict[str, str]:
    """Pass the folder of real photographs on, as an absolute path."""
    folder = os.environ.get("FLOWERS_PHOTOS")
    return {"FLOWERS_PHOTOS": str(Path(folder).resolve())} if folder else {}
