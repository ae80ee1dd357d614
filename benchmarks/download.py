"""Speed and memory of our download against curl's, from one server on loopback, in turn.

python benchmarks/download.py [--megabytes 200] [--rounds 9]
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from measured import spread

# A process of its own, so that its peak memory is that of a download; the clock runs from the request to the rename,
# which is what curl's own `time_total` covers, plus the sha256, which curl does not compute.
CLIENT = """
import resource, sys, time
from pathlib import Path
from flowercli.cli.download_progress import DownloadProgress
from flowercli.transfer.contract import Wanted
from flowercli.transfer.fetch import fetch
url, target, sha256 = sys.argv[1:]
with DownloadProgress() as progress:
    started, cpu = time.perf_counter(), time.process_time()
    fetch(Wanted(url, sha256=sha256), Path(target), progress)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - started, time.process_time() - cpu, peak)
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends a file the cheapest way, so that the client is what is measured."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the file."""
        with Path(self.translate_path(self.path)).open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.send_header("ETag", '"1"')
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


def main() -> None:
    """Measure both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not shutil.which("curl"):
        parser.error("curl is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sha256 = write_file(folder / "file", arguments.megabytes)
        handler = type("FolderHandler", (Handler,), {"directory": name})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: handler(*rest, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        compare(f"http://127.0.0.1:{server.server_port}/file", folder, sha256, arguments)
        server.shutdown()


def write_file(path: Path, megabytes: int) -> str:
    """Write random bytes and return their sha256; piece by piece, as a process inherits its parent's peak memory."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(megabytes):
            piece = os.urandom(1_000_000)
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def compare(url: str, folder: Path, sha256: str, arguments: argparse.Namespace) -> None:
    """Fetch with both in turn, and print speeds, ratio and memory."""
    rounds = []
    for _ in range(arguments.rounds + 1):
        target = folder / "ours"
        seconds, cpu, peak = map(float, run([sys.executable, "-c", CLIENT, url, str(target), sha256])[0].split())
        target.unlink()
        target = folder / "theirs"
        printed, its_cpu = run(["curl", "-s", "-o", str(target), "-w", "%{time_total}", url])
        target.unlink()
        rounds.append((arguments.megabytes / seconds, arguments.megabytes / float(printed), cpu, its_cpu, peak))
    # The first round does not count.
    ours, theirs, cpus, its_cpus, peaks = (list(values) for values in zip(*rounds[1:], strict=True))
    print(f"flowers      {spread(ours, ' MB/s')}, {spread(cpus, ' s')} of CPU")
    print(f"curl         {spread(theirs, ' MB/s')}, {spread(its_cpus, ' s')} of CPU")
    print(f"speed ratio  {spread([mine / its for mine, its in zip(ours, theirs, strict=True)])}")
    print(f"peak memory  {spread(peaks, ' MiB')}")


def run(command: list[str]) -> tuple[str, float]:
    """Run a command, and return what it prints and the seconds of CPU that it took."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{command[0]} exited with {process.returncode}"
        raise RuntimeError(message)
    return printed, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
