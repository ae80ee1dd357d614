"""The attackers of ``attacks.py``: what strangers do to a server on this machine, from a process of their own.

python benchmarks/attackers.py ATTACK PORT SECONDS [--mlflow]

Says "ready" when its requests are made, begins at the first line of stdin, and ends by itself.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import io
import itertools
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.hostile_pictures import EXPENSIVE, chunk, gradient, postscript, saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEBI = 2**20
PICTURE = (Path(__file__).parent.parent / "docs" / "samples" / "rose.jpg").read_bytes()
JSON, JPEG = "application/json", "image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
GET = "GET {} HTTP/1.1\r\nHost: localhost\r\n"
# Between two looks at the connections that are kept.
TURN = 0.2


class Target:
    """The server, and until when it is attacked."""

    def __init__(self, port: int, *, mlflow: bool) -> None:
        self.port = port
        self.mlflow = mlflow
        self.path = "/invocations" if mlflow else "/v1/classify"
        self.until = 0.0
        self.opened = 0

    def left(self) -> float:
        """Return the seconds until the end."""
        return self.until - time.monotonic()

    def head(self, *lines: str, kind: str | None = None, host: str = "localhost") -> bytes:
        """Return the headers of a request about pictures."""
        given = kind or (JSON if self.mlflow else JPEG)
        first = (f"POST {self.path} HTTP/1.1", f"Host: {host}", f"Content-Type: {given}")
        return "\r\n".join((*first, *lines, "", "")).encode()

    def whole(self, body: bytes, *lines: str, kind: str | None = None, host: str = "localhost") -> bytes:
        """Return a request after which the server closes the connection."""
        return self.head(f"Content-Length: {len(body)}", "Connection: close", *lines, kind=kind, host=host) + body

    def about(self, picture: bytes, host: str = "localhost") -> bytes:
        """Return a whole request about a picture."""
        if not self.mlflow:
            return self.whole(picture, host=host)
        text = base64.b64encode(picture)
        return self.whole(b'{"dataframe_split": {"columns": ["image"], "data": [["%s"]]}}' % text, host=host)

    def connect(self, hello: bytes = b"") -> socket.socket:
        """Open a connection whose client takes little of an answer, and send this."""
        connection = socket.socket()
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(max(0.1, self.left()))
            connection.connect(("127.0.0.1", self.port))
            self.opened += 1
            connection.sendall(hello)
        except OSError:
            connection.close()
            raise
        return connection


def pour(target: Target, hello: bytes, more: bytes) -> None:
    """Send as fast as the server takes it, and read nothing; where it has enough, begin anew."""
    while target.left() > 0:
        with contextlib.suppress(OSError), target.connect(hello) as connection:
            while target.left() > 0:
                connection.sendall(more)


def crowd(target: Target, count: int, hello: bytes = b"", drip: bytes = b"") -> None:
    """Keep so many connections that send this, and then nothing or drip; those that were ended are replaced."""
    kept: list[socket.socket] = []
    while target.left() > 0:
        kept = [connection for connection in kept if is_open(connection, drip)]
        with contextlib.suppress(OSError):
            while len(kept) < count and target.left() > 0:
                kept.append(target.connect(hello))
        time.sleep(TURN)


def is_open(connection: socket.socket, drip: bytes) -> bool:
    """Whether the server has not ended a connection; it gets a drip then."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP | select.POLLERR | select.POLLHUP)
    if poll.poll(0):
        connection.close()
        return False
    with contextlib.suppress(OSError):
        connection.send(drip, socket.MSG_DONTWAIT)
    return True


def ask(target: Target, requests: Iterator[bytes]) -> None:
    """Send one whole request after the other, and read the answers."""
    while target.left() > 0:
        with contextlib.suppress(OSError), target.connect(next(requests)) as connection:
            while connection.recv(65536):
                pass


def stall(target: Target, start: bytes) -> None:
    """Send the start of a request and wait for what comes."""
    ask(target, itertools.repeat(start))


def reset(target: Target) -> None:
    """Open connections and reset them at once."""
    while target.left() > 0:
        with contextlib.suppress(OSError), target.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def asking(target: Target, *requests: bytes) -> Callable[[], None]:
    """Return a client that asks these in turn; several share the turn."""
    return partial(ask, target, itertools.cycle(requests))


def large(target: Target) -> Callable[[], None]:
    """Ask about pictures of 40 megapixels."""
    with Image.open(io.BytesIO(PICTURE)) as picture:
        image = picture.convert("RGB").resize((8000, 5000), Image.Resampling.BILINEAR)
    plain = gradient(2000, 1250).resize(image.size, Image.Resampling.NEAREST)
    kinds = (saved(image, "JPEG"), saved(image, "JPEG", progressive=True), saved(plain, "PNG", compress_level=1))
    return asking(target, *map(target.about, kinds))


def batches(target: Target) -> Callable[[], None]:
    """Ask about as many pictures at once as a request may have."""
    texts = b",".join([b'"%s"' % base64.b64encode(PICTURE)] * 64)
    return asking(target, listed(target, b"[%s]" % texts))


def webp(target: Target) -> Callable[[], None]:
    """Ask about the largest pictures of the format that takes most memory a pixel."""
    picture = gradient(2000, 1500).resize((5600, 4200), Image.Resampling.NEAREST)
    return asking(target, target.about(saved(picture, "WEBP", lossless=True, method=0)))


def bombs(target: Target) -> Callable[[], None]:
    """Ask about kilobytes that unpack to much: pixels, a profile of colours, a request."""
    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(6251)) for _ in range(50_000)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0))
    giant = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND")
    within = saved(Image.new("RGB", (7000, 7000)), "PNG")
    small = saved(gradient(), "PNG")
    profile = small[:33] + chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200 * MEBI))) + small[33:]
    packed = target.whole(gzip.compress(bytes(200 * MEBI), 1), "Content-Encoding: gzip")
    return asking(target, *map(target.about, (giant, within, profile)), packed)


def listed(target: Target, texts: bytes) -> bytes:
    """Return a request whose list of pictures is this JSON."""
    return target.whole(b'{"%s": %s}' % (b"instances" if target.mlflow else b"images", texts), kind=JSON)


def deep(target: Target) -> Callable[[], None]:
    """Ask with lists and objects in one another."""
    count = 1_000_000
    texts = (b"[" * count + b"]" * count, b'{"a":' * count + b"1" + b"}" * count)
    return asking(target, *(listed(target, text) for text in texts))


@dataclass(frozen=True)
class Attack:
    """How many clients do what; and whether there is something like it to be done to ``/invocations``."""

    clients: int
    prepare: Callable[[Target], Callable[[], None]]
    anywhere: bool = True


HELLO = GET.format("/").encode()
MODEL = GET.format("/model/model.int8.onnx").encode() + b"\r\n"
MANY = b"[" + b",".join([b'""'] * 1_000_000) + b"]"
LENGTH = f"Content-Length: {32 * MEBI}"
ATTACKS = {
    "headers without end": Attack(1, lambda t: partial(pour, t, HELLO, b"X: y\r\n" * 10_000)),
    "headers that drip": Attack(1, lambda t: partial(crowd, t, 512, HELLO, b"X: y\r\n")),
    "512 never read the model": Attack(1, lambda t: partial(crowd, t, 512, MODEL * 2), anywhere=False),
    "512 idle connections": Attack(1, lambda t: partial(crowd, t, 512)),
    "8 announce 32 MiB": Attack(1, lambda t: partial(crowd, t, 8, t.head(LENGTH) + b"x")),
    "512 announce 32 MiB": Attack(1, lambda t: partial(crowd, t, 512, t.head(LENGTH) + b"x")),
    "16 stop at 31 of 32 MiB": Attack(16, lambda t: partial(stall, t, t.head(LENGTH) + bytes(31 * MEBI))),
    "16 stop before the last byte": Attack(16, lambda t: partial(stall, t, t.head(LENGTH) + bytes(32 * MEBI - 1))),
    "extensions without end": Attack(4, lambda t: partial(pour, t, t.head(CHUNKED) + b"1;x=", b"x" * 65536)),
    "trailers without end": Attack(
        4, lambda t: partial(pour, t, t.head(CHUNKED) + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 10_000)
    ),
    "pieces of one byte": Attack(4, lambda t: partial(pour, t, t.head(CHUNKED), b"1\r\nx\r\n" * 10_000)),
    "hostile pictures": Attack(
        4, lambda t: asking(t, *(t.about(make()) for make in (*EXPENSIVE.values(), postscript)))
    ),
    "64 pictures a request": Attack(4, batches),
    "40 megapixels": Attack(4, large),
    "24 megapixels of WebP": Attack(4, webp),
    "bombs": Attack(4, bombs),
    "a million empty texts": Attack(4, lambda t: asking(t, listed(t, MANY))),
    "deep JSON": Attack(4, deep),
    "another Host": Attack(4, lambda t: asking(t, t.about(PICTURE, host="evil.example"))),
    "pipelined, never read": Attack(
        16, lambda t: partial(pour, t, b"", (GET.format("/ping" if t.mlflow else "/v2") + "\r\n").encode() * 1000)
    ),
    "opened and reset": Attack(4, lambda t: partial(reset, t)),
}  # fmt: skip


def main() -> None:
    """Attack, and print how many connections were opened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--mlflow", action="store_true")
    arguments = parser.parse_args()
    # What attacks comes from elsewhere: here, the server has the cores first.
    os.nice(5)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target = Target(arguments.port, mlflow=arguments.mlflow)
    attack = ATTACKS[arguments.attack]
    client = attack.prepare(target)
    print("ready", flush=True)
    sys.stdin.readline()
    target.until = time.monotonic() + arguments.seconds
    for _ in range(attack.clients):
        threading.Thread(target=client, daemon=True).start()
    time.sleep(arguments.seconds)
    print(target.opened, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
