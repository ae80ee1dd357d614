"""Send photographs to a server at a steady rate, whether it keeps up or not, and print what came back as JSON.

python benchmarks/load.py PORT PHOTOS --rate 100 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import json
import resource
import time
from pathlib import Path

# Later answers count as errors.
TIMEOUT = 10.0
PATH = "/v1/classify"


class Client:
    """Keeps connections open and counts what comes of each request."""

    def __init__(self, port: int, photos: list[bytes]) -> None:
        self.port = port
        self.requests = itertools.cycle([head(photo) + photo for photo in photos])
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        # Seconds, from the time when a request was due, with the time of the answer.
        self.answered: list[tuple[float, float]] = []
        self.statuses: collections.Counter[str] = collections.Counter()
        self.bad_at: list[float] = []

    async def ask(self, due: float) -> None:
        """Send one request and read its answer."""
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await self.exchange(next(self.requests))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == "200":
            self.answered.append((now, now - due))
        else:
            self.bad_at.append(now)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return an open connection that the server has not closed, or a new one."""
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, request: bytes) -> str:
        """Send a request, read its answer and return its status."""
        reader, writer = await self.connection()
        try:
            writer.write(request)
            header = await reader.readuntil(b"\r\n\r\n")
            status = header[9:12].decode()
            fields = header.lower()
            length = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in fields:
            writer.close()
        else:
            self.idle.append((reader, writer))
        return status


def head(photo: bytes) -> bytes:
    """Return the headers of a request."""
    text = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
    )
    return text.encode()


async def run(port: int, photos: list[bytes], rate: float, seconds: float) -> dict[str, object]:
    """Send at the rate and return what came of it."""
    client = Client(port, photos)
    tasks: set[asyncio.Task[None]] = set()
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(client.ask(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
    wall = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "statuses": client.statuses,
        "last_bad": max(client.bad_at, default=started) - started,
        **percentiles([latency for _, latency in client.answered]),
    }


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Return the median and the slow end, in milliseconds."""
    ordered = sorted(latencies) or [0.0]
    return {f"p{share}": 1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 95, 99)}


def main() -> None:
    """Read the photographs, send them, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    found = sorted(arguments.photos.rglob("*.jpg"))
    photos = [path.read_bytes() for path in found[:: max(1, len(found) // arguments.count)][: arguments.count]]
    print(json.dumps(asyncio.run(run(arguments.port, photos, arguments.rate, arguments.seconds))))


if __name__ == "__main__":
    main()
