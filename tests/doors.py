"""Odd pictures through every door of the program: what each door says of each, and what the worst costs.

``python tests/doors.py`` prints the table and ends with 1 where a door says something else than is promised.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from conftest import ROOT, command
from support.odd_inputs import largest, odd_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from support.odd_inputs import Odd
    from support.scoring_server import Server as MlflowServer
    from support.serve_server import Reply, Server

    # By the name of the input.
    Codes = dict[str, str]

# What a request may hold: pictures, and bytes of JSON.
SERVE_REQUEST = (64, 32 * 2**20 - 2**10)
MLFLOW_REQUEST = (256, 48 * 2**20 - 2**10)
# Slow pictures are in line behind each other here, on a machine that may have other work.
PATIENCE = 300


def cli(items: Sequence[Odd], folder: Path) -> Codes:
    """Ask ``flowers classify`` about all of them at once; what it wrote on stderr is left in the folder."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, odd in enumerate(items):
        (pictures / f"{number:04}.jpg").write_bytes(odd.data)
    with (folder / "cli.log").open("wb") as log:
        line = command("classify", "--json", pictures)
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=log, check=False, cwd=ROOT, timeout=PATIENCE)
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    return {items[int(Path(answer["path"]).stem)].name: code_of(answer) for answer in answers}


def raw(server: Server, items: Sequence[Odd]) -> Codes:
    """Send each as the body of a request."""
    return {odd.name: codes_of(server.classify(odd.data))[0] for odd in items}


def multipart(server: Server, items: Sequence[Odd]) -> Codes:
    """Send each in a form of its own."""
    from support.serve_server import FORM, form

    return {odd.name: codes_of(server.classify(form(("flower.jpg", odd.data)), FORM))[0] for odd in items}


def base64_text(server: Server, items: Sequence[Odd]) -> Codes:
    """Send each as JSON of its own."""
    return {odd.name: codes_of(as_json(server, [odd]))[0] for odd in items}


def batch(server: Server, items: Sequence[Odd]) -> Codes:
    """Send as many as a request of JSON may hold."""
    codes: Codes = {}
    for group in requests(items, *SERVE_REQUEST):
        codes |= zip((odd.name for odd in group), codes_of(as_json(server, group), len(group)), strict=True)
    return codes


def mlflow(server: MlflowServer, items: Sequence[Odd]) -> Codes:
    """Send as many as a request to MLflow's server may hold."""
    codes: Codes = {}
    for group in requests(items, *MLFLOW_REQUEST):
        status, body = server.ask({"instances": [text_of(odd) for odd in group]})
        answers = (
            map(code_of, json.loads(body)["predictions"]) if status == 200 else [f"refused ({status})"] * len(group)
        )
        codes |= zip((odd.name for odd in group), answers, strict=True)
    return codes


SERVE_DOORS: dict[str, Callable[[Server, Sequence[Odd]], Codes]] = {
    "raw": raw, "multipart": multipart, "base64": base64_text, "batch": batch,
}  # fmt: skip


def requests(items: Sequence[Odd], most: int, most_bytes: int) -> Iterator[list[Odd]]:
    """Yield the items in groups that a request may hold."""
    group: list[Odd] = []
    room = most_bytes
    for odd in items:
        needed = len(odd.data) * 4 // 3 + 8
        if group and (len(group) == most or needed > room):
            yield group
            group, room = [], most_bytes
        group.append(odd)
        room -= needed
    yield group


def as_json(server: Server, items: Sequence[Odd]) -> Reply:
    """Send pictures to ``flowers serve`` as base64 in JSON."""
    from support.serve_server import JSON

    return server.classify(json.dumps({"images": [text_of(odd) for odd in items]}), JSON)


def text_of(odd: Odd) -> str:
    """Return the base64 text of an input."""
    return base64.b64encode(odd.data).decode()


def codes_of(reply: Reply, pictures: int = 1) -> list[str]:
    """Return the code of each picture of a reply; of a refused one, the status too where it does not fit the code."""
    if reply.status == 200:
        return [code_of(answer) for answer in reply.json.get("results", [reply.json])]
    status, code = reply.problem()
    return [code if status == (413 if code == "too_large" else 422) else f"{code} ({status})"] * pictures


def code_of(answer: dict) -> str:
    """Return the code of the answer about one picture."""
    return answer["error"]["code"] if "error" in answer else "ok" if answer["predicted_class"] else "no answer"


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run ``flowers serve``, which waits as long as it takes; its log is ``serve.log``."""
    from support.serve_server import serving

    with serving(folder, "--max-wait", PATIENCE) as server:
        server.connect = partial(server.connect, PATIENCE)
        yield server


@contextmanager
def serve_mlflow(folder: Path) -> Iterator[MlflowServer]:
    """Run ``flowers serve-mlflow``; its log is ``mlflow.log``."""
    from support.scoring_server import Server

    server = Server(folder / "mlflow.log")
    try:
        yield server
    finally:
        server.stop()


class Cost(NamedTuple):
    """What one picture took: seconds, and MiB at the peak above what the server has when it is idle."""

    seconds: float
    memory: float


def measured(server: Server, items: Sequence[Odd]) -> tuple[Codes, dict[str, Cost]]:
    """Send each as the body of a request, and look at the process meanwhile."""
    raw(server, items[:20])
    idle = server.memory()
    codes, costs = {}, {}
    for odd in items:
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # The peak is from now on.
        started = time.perf_counter()
        codes |= raw(server, [odd])
        costs[odd.name] = Cost(time.perf_counter() - started, peak(server.process.pid) - idle)
    return codes, costs


def peak(process: int) -> float:
    """Return the most memory that a process had resident, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> int:
    """Print the table, and return 1 where doors disagree with what is promised."""
    items = (*odd_inputs(), *largest())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FLOWERS_HOME"] = name
        said = {"cli": cli(items, folder)}
        with serve(folder) as server:
            said["raw"], costs = measured(server, items)
            said |= {door: ask(server, items) for door, ask in SERVE_DOORS.items() if door not in said}
        if importlib.util.find_spec("mlflow"):
            with serve_mlflow(folder) as mlflow_server:
                said["mlflow"] = mlflow(mlflow_server, items)
    others = {odd.name: others_of(odd, said) for odd in items}
    agreed = sum(not other for other in others.values())
    lines = ["| input | code | doors that say something else | seconds | MiB above idle |", "|---|---|---|---|---|"]
    for odd in items:
        cost = costs[odd.name]
        lines.append(f"| {odd.name} | {odd.code} | {others[odd.name]} | {cost.seconds:.3f} | {cost.memory:.0f} |")
    slow, large = (max(costs, key=lambda name: costs[name][place]) for place in (0, 1))
    lines += [
        "",
        f"{agreed} of {len(items)} inputs have the promised code at all of {len(said)} doors: {', '.join(said)}.",
        f"The slowest took {costs[slow].seconds:.2f} s: {slow}. Most memory, {costs[large].memory:.0f} MiB: {large}.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(agreed < len(items))


def others_of(odd: Odd, said: dict[str, Codes]) -> str:
    """Return what other doors than those that keep the promise say."""
    answers = {door: codes.get(odd.name, "nothing") for door, codes in said.items()}
    return ", ".join(f"{door}: {code}" for door, code in answers.items() if code != odd.code)


if __name__ == "__main__":
    sys.exit(main())
