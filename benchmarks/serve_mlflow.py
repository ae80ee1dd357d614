"""MLflow's server under ``flowers serve-mlflow``: does it answer as ``classify`` does, when is it ready, how fast?

python benchmarks/serve_mlflow.py PHOTOS [--count 500] [--starts 5] [--workers 1] [--clients 4]

CPU time is that of the server's processes, from /proc: what the clients of this script use is not in it. Linux only.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measured import flowers, measure, spread

from flowercli.inference.sources import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print everything; exit with 1 where an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    paths = sorted(walk(str(arguments.photos)))
    paths = sorted(random.Random(2024).sample(paths, min(arguments.count, len(paths))))
    starts = [started(arguments.workers) for _ in range(arguments.starts)]
    print(f"{len(paths)} photographs, {arguments.workers} workers")
    print(f"ready after               {spread([wall for wall, _ in starts], ' s')}")
    print(f"CPU time until ready      {spread([cpu for _, cpu in starts], ' s')}")
    expected, alone = classified(paths)
    with server(arguments.workers) as (port, pid):
        answers = asked(port, pid, paths, 1)
        asked(port, pid, paths, arguments.clients)
        batches(port, pid, paths)
    differ = [path for path, ours in zip(paths, answers, strict=True) if ours != expected[path]]
    print(f"classify, all of them     {alone:.2f} ms of CPU a photograph, start-up left out")
    print(f"answers that differ       {len(differ)} of {len(paths)}")
    sys.exit(1 if differ else 0)


@contextmanager
def server(workers: int) -> Iterator[tuple[int, int]]:
    """Yield port and process id of a server that is ready."""
    with tempfile.TemporaryFile("w+") as log:
        command = flowers("serve-mlflow", "--port", 0, "--workers", workers)
        with subprocess.Popen(command, stderr=log) as process:
            try:
                yield wait_until_ready(process, log), process.pid
            finally:
                process.terminate()


def wait_until_ready(process: subprocess.Popen[bytes], log: Any) -> int:
    """Return the port.

    Raises:
        RuntimeError: the server ended.
    """
    while process.poll() is None:
        log.seek(0)
        found = re.search(r"at http://127\.0\.0\.1:(\d+)", log.read())
        if found:
            return int(found[1])
        time.sleep(0.02)
    message = "the server did not start"
    raise RuntimeError(message)


def started(workers: int) -> tuple[float, float]:
    """Return the wall and the CPU seconds that a server takes until it answers."""
    begin = time.perf_counter()
    with server(workers) as (_, pid):
        return time.perf_counter() - begin, cpu_seconds(pid)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children, alive or gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(cpu_seconds(int(child)) for child in children)


def classified(paths: list[str]) -> tuple[dict[str, Any], float]:
    """Return the answers of ``classify`` by path, and its CPU milliseconds a photograph without start-up."""
    run = subprocess.run(flowers("classify", "--json", *paths), check=True, stdout=subprocess.PIPE, text=True)
    answers = {answer.pop("path"): answer for answer in map(json.loads, run.stdout.splitlines())}
    one, many = (
        min(measure(flowers("classify", "--json", *some)).cpu for _ in range(3)) for some in (paths[:1], paths)
    )
    return answers, 1000 * (many - one) / (len(paths) - 1)


def asked(port: int, pid: int, paths: list[str], clients: int) -> list[Any]:
    """Ask about each photograph in a request of its own, print the figures, return the answers."""
    bodies = [request([path]) for path in paths]
    latencies: list[float] = []

    def ask(body: bytes) -> Any:
        begin = time.perf_counter()
        (answer,) = post(port, body)
        latencies.append(time.perf_counter() - begin)
        return answer

    for body in bodies[:20]:
        post(port, body)
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, bodies))
    wall, cpu = time.perf_counter() - begin, cpu_seconds(pid) - cpu
    percent = statistics.quantiles(latencies, n=100)
    figures = f"p50 {1000 * percent[49]:.1f} ms, p99 {1000 * percent[98]:.1f} ms, {len(paths) / wall:.0f} img/s"
    print(f"{clients} clients, one a request  {figures}, {1000 * cpu / len(paths):.2f} ms of CPU a photograph")
    return answers


def batches(port: int, pid: int, paths: list[str], size: int = 20) -> None:
    """Ask about several photographs a request, one request after the other, and print the figures."""
    bodies = [request(paths[place : place + size]) for place in range(0, len(paths), size)]
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    for body in bodies:
        post(port, body)
    wall, cpu = time.perf_counter() - begin, cpu_seconds(pid) - cpu
    figures = f"{len(paths) / wall:.0f} img/s, {1000 * cpu / len(paths):.2f} ms of CPU a photograph"
    print(f"1 client, {size} a request    {figures}")


def request(paths: list[str]) -> bytes:
    """Return the body that asks about photographs."""
    return json.dumps({"instances": [base64.b64encode(Path(path).read_bytes()).decode() for path in paths]}).encode()


def post(port: int, body: bytes) -> list[Any]:
    """Return the predictions of one request.

    Raises:
        RuntimeError: it was refused.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(answer.decode())
    predictions: list[Any] = json.loads(answer)["predictions"]
    return predictions


if __name__ == "__main__":
    main()
