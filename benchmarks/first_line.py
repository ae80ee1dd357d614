"""Lines and words to type, and seconds from Enter to the first useful line: `flowers`, `yolo classify`, timm's scripts.

python benchmarks/first_line.py PHOTOS YOLO TIMM [--rounds 3] [--count 60]

YOLO is the program of an environment with ultralytics, TIMM a checkout of pytorch-image-models. Useful is the first
line that holds an answer about the picture, or a loss. All networks begin with random weights, so nothing is
downloaded; what a program sends to others is switched off. Each runs on a terminal, and is stopped after that line.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measured import spread

ROSE = Path(__file__).parent.parent / "docs" / "samples" / "rose.jpg"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
NETWORK = "tf_efficientnet_lite0"
MAKE_YOLO = "from ultralytics import YOLO; YOLO('yolo11n-cls.yaml').save('best.pt')"
MAKE_TIMM = f"import timm, torch; torch.save(timm.create_model('{NETWORK}', num_classes=5).state_dict(), 'best.pth')"
QUIET = {"HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}


class Way(NamedTuple):
    """How one program does one task: the lines before the one that is timed, that line, and what is useful in it."""

    task: str
    program: str
    before: tuple[str, ...]
    line: str
    useful: str


WAYS = (
    Way("name a flower", "flowers", ("pip install .",), "flowers classify rose.jpg", r"rose.jpg\s+rose"),
    Way(
        "name a flower",
        "ultralytics",
        ("pip install ultralytics", "yolo classify train data=photos model=yolo11n-cls.yaml"),
        "yolo classify predict model=best.pt source=rose.jpg",
        r"image 1/1 ",
    ),
    Way(
        "name a flower",
        "timm",
        (
            "git clone https://github.com/huggingface/pytorch-image-models",
            "pip install timm",
            "python split_into_train_and_validation.py",
            f"python train.py parts --model {NETWORK} --num-classes 5",
        ),
        f"python inference.py one --model {NETWORK} --num-classes 5 --checkpoint best.pth --topk 1 --device cpu",
        r"rose\.jpg",
    ),
    Way(
        "train",
        "flowers",
        ("pip install '.[train]'",),
        f"flowers split photos && flowers train --data photos --model {NETWORK} model.pretrained=false --batch-size 16",
        r"loss \d",
    ),
    Way(
        "train",
        "ultralytics",
        ("pip install ultralytics",),
        "yolo classify train data=photos model=yolo11n-cls.yaml batch=16",
        r"1/100\s+[\d.]+G\s+\d",
    ),
    Way(
        "train",
        "timm",
        (
            "git clone https://github.com/huggingface/pytorch-image-models",
            "pip install timm",
            "python split_into_train_and_validation.py",
        ),
        f"python train.py parts --model {NETWORK} --num-classes 5 --batch-size 16 --device cpu",
        r"Loss: \d",
    ),
)


def main() -> None:
    """Run all of them in turn, some rounds, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("yolo", type=Path)
    parser.add_argument("timm", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=60, help="photographs a class")
    asked = parser.parse_args()
    seconds: dict[Way, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        programs = link_programs(Path(temporary), asked.yolo, asked.timm)
        for number in range(asked.rounds):
            for way in WAYS:
                folder = lay_out(Path(temporary) / f"{number}-{way.program}-{way.task}", asked.photos, asked.count)
                if "best.pt" in way.line:
                    make_weights(way, asked.yolo, folder)
                seconds[way].append(until(way, folder, programs))
    print("| task | program | lines | words | seconds to the first useful line |\n|---|---|---|---|---|")
    for way, measured in seconds.items():
        lines = [*way.before, *way.line.split(" && ")]
        words = sum(len(line.split()) for line in lines)
        print(f"| {way.task} | {way.program} | {len(lines)} | {words} | {spread(measured)} |")


def link_programs(folder: Path, yolo: Path, timm: Path) -> Path:
    """Make a folder of the programs under the names that are typed, timm's scripts with the Python of this program."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "yolo").symlink_to(yolo.absolute())
    for name, command in {"flowers": "-m flowercli", "python": ""}.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    for script in ("train.py", "inference.py"):
        shutil.copy(timm / script, programs)
    return programs


def lay_out(folder: Path, photos: Path, count: int) -> Path:
    """Copy photographs as each program wants them: one folder a class; the same in parts; and one picture."""
    for source in sorted(path for path in photos.resolve().iterdir() if path.is_dir()):
        for number, photo in enumerate(sorted(source.glob("*.jpg"))[:count]):
            part = "validation" if number % 5 == 0 else "train"
            for target in (folder / "photos" / source.name, folder / "parts" / part / source.name):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(photo, target)
    (folder / "one").mkdir()
    for target in (folder, folder / "one"):
        shutil.copy(ROSE, target)
    return folder


def make_weights(way: Way, yolo: Path, folder: Path) -> None:
    """Write what training would have left: weights of the same size."""
    is_yolo = way.program == "ultralytics"
    python, script = (yolo.absolute().parent / "python", MAKE_YOLO) if is_yolo else (sys.executable, MAKE_TIMM)
    subprocess.run([python, "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def until(way: Way, folder: Path, programs: Path) -> float:
    """Type a line on a terminal; return the seconds until its first useful line, and end it.

    Raises:
        RuntimeError: no useful line came.
    """
    line = re.sub(r"python (\w+\.py)", rf"python {programs}/\1", way.line)
    variables = {**os.environ, **QUIET, "PATH": f"{programs}:{os.environ['PATH']}", "YOLO_CONFIG_DIR": str(folder)}
    started = time.perf_counter()
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve("/bin/sh", ["sh", "-c", line], variables)  # noqa: S606
    said = ""
    try:
        while chunk := os.read(terminal, 65536):
            said = ESCAPES.sub("", said + chunk.decode(errors="replace"))
            if re.search(way.useful, said):
                return time.perf_counter() - started
    except OSError:  # On Linux the read fails, rather than ends, once the program has closed its side.
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    message = f"{way.line}: no useful line came.\n{said[-2000:]}"
    raise RuntimeError(message)


if __name__ == "__main__":
    main()
