"""What CI runs: ``nox``. One session alone: ``nox -s lint``; without installing again: ``nox -R``."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "base", "docs", "tests"]

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
CLI_REFERENCE = "docs/cli.md"
# One more than the cores of a small machine: many tests wait for servers, for processes that die, or for a retry.
WORKERS = "3"
# Of the recipe of the model that ships: flowers that its first round is not shown, pictures that no round is shown,
# and the kinds of these among which there may be one of its flowers.
UNSEEN = {
    "fire_lily",
    "frangipani",
    "giant_white_arum_lily",
    "globe_thistle",
    "hippeastrum",
    "nasturtium",
    "poinsettia",
    "purple_coneflower",
    "snapdragon",
    "thorn_apple",
}
UNSEEN_KINDS = ("leaf_potato", "trash", "sketch", "dogs")
FIVE = ("daisy", "dandelion", "rose", "sunflower", "tulip")
# After the first round, whose head starts near zero.
LATER = ("validate_every=4", "optim.head_lr_scale=3", "loss.label_smoothing=0")
RARE_ONES_OFTENER = ("data.sampler=three_quarters", *LATER)
AS_THEY_ARE = ("data.sampler=shuffle", *LATER)
WITH_FLOWERS = frozenset({"tree_flowers", "wild_plants", "wild_plants_lookalike"})


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, layers, dependencies."""
    install(session, "-e", ".", *group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-logo", env=variables())
    session.run("deptry", "flowercli")
    session.run("pip-audit", "--local", "--skip-editable", "--progress-spinner", "off")


@nox.session
def base(session: nox.Session) -> None:
    """The tests of the base install, without torch, on the lowest versions allowed, but for the marker `network`."""
    session.install(".", *lowest_versions(), *group("test"))
    session.run("pytest", "-n", WORKERS, "-m", "not network", *session.posargs, env=variables())


@nox.session
def tests(session: nox.Session) -> None:
    """Types and every test, with everything that training, DVC and serving need, an S3 server, Chromium where it is."""
    groups = (package for name in ("test", "s3", "serve", "browser", "deploy", "installers") for package in group(name))
    install(session, "-e", ".[train,data,serve,heif,ray]", "mypy", "hatchling", *groups)
    session.run("mypy", env=variables())
    session.run("pytest", "-n", WORKERS, "--dist", "worksteal", "--durations", "10", *session.posargs, env=variables())


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
    session.run(
        "pytest", "tests/export/test_triton.py", *session.posargs, env={**variables(), "FLOWERS_TRITON": server}
    )


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Sessions on CUDA and TensorRT, and engines. Needs a GPU; TensorRT comes from NVIDIA's own index."""
    session.install("-e", ".[train,tensorrt]", *group("test"))
    session.run("pytest", "tests/gpu", *session.posargs, env=variables())


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Feed each door for strangers' bytes with what may break it, two minutes: nox -s fuzz [-- SECONDS TARGET …]."""
    session.install("-e", ".[http]", *group("fuzz"))
    session.run("python", "tests/fuzz", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure `flowers classify` against what people use today: nox -s bench -- PHOTOS [TIMM_CHECKOUT].

    Four tables (a folder, one photograph from cold, 20,000 photographs, photographs of 12 megapixels), the cost of the
    parts, and a plot in the session's temporary folder. An hour on two cores that do nothing else.
    """
    photographs, *checkout = (str(Path(path).resolve()) for path in session.posargs)
    session.install(".[train]", *group("bench"))
    folder = Path(session.create_tmp()).absolute()
    session.run("python", "-m", "venv", str(folder / "peers"))
    session.run(str(folder / "peers/bin/python"), "-m", "pip", "install", "--quiet", "ultralytics", external=True)
    peers = ["--yolo", str(folder / "peers/bin/yolo"), *(f"--timm={path}/inference.py" for path in checkout)]
    throughput = ("python", "benchmarks/throughput.py", photographs)
    session.run(*throughput, *peers, "--count", "611", "--plot", str(folder / "throughput.svg"))
    session.run(*throughput, *peers, "--count", "1")
    session.run(*throughput, "--links", "20000", "--runs", "2")
    session.run(*throughput, *peers, "--enlarge", "4000", "--count", "100", "--runs", "3")
    session.run("python", "benchmarks/parts.py", photographs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, after checking that the CLI reference is what the program says."""
    install(session, ".", *group("docs"))
    current = session.run("python", "docs/cli_reference.py", silent=True, env=variables())
    if Path(CLI_REFERENCE).read_text(encoding="utf-8") != current:
        session.error(f"{CLI_REFERENCE} is not current: python docs/cli_reference.py > {CLI_REFERENCE}")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", env=variables())


@nox.session(default=False)
def garden_model(session: nox.Session) -> None:
    """Train the model of a hundred flowers, and that of five, from photographs to what ships.

    nox -s garden_model -- WORK FLOWER_PHOTOS FLOWERS17 MORE_FLOWERS OXFORD102 OTHERS WILD_PLANTS NOT_FLOWERS [WEIGHTS]

    WORK gets everything that is made on the way; what is there already is not made again. WEIGHTS: a folder of ImageNet
    weights, laid out like the Hub.
    """
    session.install("-e", ".[train]")
    work, five, *more = (str(Path(folder).resolve()) for folder in session.posargs[:5])
    outliers = gather_outliers(Path(work) / "outliers", session.posargs[5:8])
    weights = from_folder(session.posargs[8:], "tf_efficientnet_lite1")
    session.run("flowers", "split", five)
    for source in more:
        session.run("flowers", "split", source, "--stratify", "--ratios", "0.84,0.08,0.08")
    sources = [five, *more]
    garden = merge_once(session, f"{work}/garden", sources, outliers)
    second = with_ten_left_out(session, work, sources, garden, outliers, weights)
    all_flowers = (f"model.weights={second}", "seed=9", "optim.lr=3e-4", *RARE_ONES_OFTENER)
    third = train_once(session, f"{work}/third", "shipped_garden", garden, outliers, *all_flowers)
    last = (f"model.weights={third}", "seed=11", "optim.lr=2.5e-4", *AS_THEY_ARE, "epochs=5", "validate_every=5")
    final = train_once(session, f"{work}/final", "shipped_garden", garden, outliers, *last)
    session.run("flowers", "export", final, "--onnx", "--int8")
    session.run("flowers", "reference", final)
    measure(session, final, "garden")
    if not Path(f"{work}/mean").exists():
        session.run("flowers", "average", third, final, "--output", f"{work}/mean")
    five_alone(session, work, sources, garden, outliers, f"{work}/mean")


def with_ten_left_out(
    session: nox.Session, work: str, sources: Sequence[str], garden: str, outliers: str, weights: Sequence[str]
) -> str:
    """Train and measure without ten flowers: as their photographs fare, so does a flower that nobody taught it."""
    kept = [part for name in class_names(garden) if name not in UNSEEN for part in ("--class", name)]
    unseen = [str(Path(garden) / name) for name in sorted(UNSEEN)]
    and_unseen = gather(Path(work) / "outliers-and-unseen", outliers, unseen)
    fewer = merge_once(session, f"{work}/garden-but-ten", sources, and_unseen, *kept, held_out=UNSEEN)
    first = train_once(session, f"{work}/first", "shipped_garden", fewer, and_unseen, *weights)
    more = (f"model.weights={first}", "seed=8", "optim.lr=4e-4", *RARE_ONES_OFTENER)
    second = train_once(session, f"{work}/second", "shipped_garden", fewer, and_unseen, *more)
    session.run("flowers", "eval", second, "--split", "test")
    return second


def five_alone(
    session: nox.Session, work: str, sources: Sequence[str], garden: str, outliers: str, weights: str
) -> None:
    """Train the model of five flowers: for it, every other flower is a picture that shows none of them."""
    others = [str(Path(garden) / name) for name in class_names(garden) if name not in FIVE]
    and_others = gather(Path(work) / "outliers-and-others", outliers, others)
    few = [part for name in FIVE for part in ("--class", name)]
    data = merge_once(session, f"{work}/five-flowers", sources, and_others, *few)
    start = (
        f"model.weights={weights}",
        "seed=12",
        "optim.lr=2e-4",
        "augment.image_size=192",
        "accept=0.98",
        *AS_THEY_ARE,
    )
    model = train_once(session, f"{work}/flowers5", "shipped_garden", data, and_others, *start)
    session.run("flowers", "export", model, "--onnx", "--int8")
    # It is asked about the split of the original dataset.
    script = ("python", "-m", "flowercli.training.ship", "--manifest", split_of(session, sources[0]))
    asked = ("--outliers-of", f"{data}/flowers-split.json")
    session.run(*script, *asked, model, f"{work}/flowers5-shipped")
    session.run("flowers", "reference", f"{work}/flowers5-shipped", "--data", sources[0], "--outliers", and_others)
    measure(session, f"{work}/flowers5-shipped", "flowers5", "--data", sources[0], "--outliers", and_others)


def gather_outliers(target: Path, sources: Sequence[str]) -> str:
    """Link the pictures that show none of the flowers into one folder, a subfolder a kind; return its path.

    What shows a flower of the list by the genus in its name is left out.
    """
    with Path("flowercli/data/flowers.csv").open(encoding="utf-8", newline="") as file:
        genera = {row["scientific_name"].split()[0].lower() for row in csv.DictReader(file)}
    for picture in sorted(path for source in sources for path in Path(source).rglob("*") if path.is_file()):
        first_word = picture.stem.split("_")[0].lower()
        # A folder without subfolders holds several kinds: cat_001.jpg, dog_001.jpg.
        kind = f"{first_word}s" if str(picture.parent) in sources else picture.parent.name
        if kind in WITH_FLOWERS and first_word in genera:
            continue
        link = target / kind / picture.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.link(picture, link)
    return str(target)


def class_names(folder: str) -> list[str]:
    """Return the class names of a merged dataset."""
    return sorted(entry.name for entry in Path(folder).iterdir() if entry.is_dir())


def gather(target: Path, outliers: str, folders: Iterable[str]) -> str:
    """Link the outliers and the photographs of some folders, a kind each, into one folder; return its path."""
    kinds = [*Path(outliers).iterdir(), *map(Path, folders)]
    for picture in sorted(path for kind in kinds for path in kind.iterdir()):
        link = target / picture.parent.name / picture.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.link(picture, link)
    return str(target)


def split_of(session: nox.Session, folder: str) -> str:
    """Return the manifest of a dataset that was split."""
    said = session.run("flowers", "split", folder, "--json", silent=True, stderr=None)
    return str(json.loads(str(said))["manifest"])


def merge_once(
    session: nox.Session,
    target: str,
    sources: Sequence[str],
    outliers: str,
    *options: str,
    held_out: Iterable[str] = (),
) -> str:
    """Merge datasets and list the outliers beside them, unless that was done; return the folder."""
    kept_back = [part for kind in (*UNSEEN_KINDS, *sorted(held_out)) for part in ("--hold-out", kind)]
    if not Path(target).exists():
        session.run("flowers", "merge", *sources, *options, "--outliers", outliers, *kept_back, "--output", target)
    return target


def train_once(session: nox.Session, target: str, recipe: str, data: str, outliers: str, *overrides: str) -> str:
    """Run one recipe to a bundle of this path, or go on with it, unless it is there; return the path."""
    if not Path(target).exists():
        unfinished = Path(f"{target}.unfinished")
        where = (f"output={Path(target).parent}", f"name={Path(target).name}", f"data.outliers={outliers}")
        new = ("--data", data, f"recipe={recipe}", "tracking=none", *where, *overrides)
        session.run("flowers", "train", *(("--resume", str(unfinished)) if unfinished.exists() else new))
    return target


def measure(session: nox.Session, model: str, name: str, *options: str) -> None:
    """Measure a model and put it where it ships from."""
    for split in ("val", "test"):
        session.run("flowers", "eval", model, "--split", split, *options)
    session.run("python", "-m", "flowercli.training.ship", model, name)


def from_folder(weights: list[str], name: str) -> list[str]:
    """Take the ImageNet weights from a folder laid out like the Hub; from the Hub itself without one."""
    return [f"model.weights={folder}/{name}.in1k" for folder in weights]


def install(session: nox.Session, *packages: str) -> None:
    """Install packages without compiling them, which takes a minute for torch: few of its modules are ever imported."""
    session.install("--no-compile", *packages)


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(PROJECT["dependency-groups"][name])


def lowest_versions() -> list[str]:
    """Return the base dependencies pinned to the lowest version that pyproject.toml allows."""
    requirements = PROJECT["project"]["dependencies"]
    return [re.sub(r">=([\d.]+)", r"==\1.*", requirement) for requirement in requirements]


def variables() -> dict[str, str]:
    """Pass the folder of real photographs on, as an absolute path, and let Python keep what it compiles.

    Nothing of what is installed is compiled beforehand, and hundreds of processes start.
    """
    folder = os.environ.get("FLOWERS_PHOTOS")
    return {"PYTHONDONTWRITEBYTECODE": "", **({"FLOWERS_PHOTOS": str(Path(folder).resolve())} if folder else {})}
