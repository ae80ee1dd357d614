"""The program in processes that are forked where torch is loaded already: each starts six seconds sooner.

Run as a program, this is the process that they are forked from: it listens on a socket and loads what training imports
when it is first asked. A process of the program gets the caller's streams, environment and working folder, and is a
child of one that waits for it and tells its exit code. Who tests how the program starts, or kills it, starts it as
users do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import NoReturn

ADDRESS_VARIABLE = "FLOWERS_TEST_FORKS"
COMMANDS = frozenset({"average", "eval", "export", "train"})
MOST_BYTES = 2**18


@contextlib.contextmanager
def forking():
    """Start the process that all workers' processes are forked from, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ADDRESS_VARIABLE] = f"{folder}/forks"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.environ[ADDRESS_VARIABLE])
            listener.listen()
            command = [
                sys.executable,
                "-W",
                "error",
                __file__,
                str(listener.fileno()),
            ]  # Warnings are errors there too.
            process = subprocess.Popen(command, pass_fds=[listener.fileno()], start_new_session=True)
        yield
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        del os.environ[ADDRESS_VARIABLE]


def can_fork(arguments: list[str]) -> bool:
    """Tell whether it makes no difference: the Hub's client reads its variables once, when it is loaded."""
    of_the_hub = {name for name in os.environ if name.startswith("HF_")}
    return ADDRESS_VARIABLE in os.environ and arguments[0] in COMMANDS and of_the_hub <= {"HF_HUB_OFFLINE"}


def run_forked(arguments: list[str], folder: Path, timeout: float) -> tuple[int, str, str]:
    """Return the exit code of the program and what it wrote to stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        code = _run(arguments, folder, [stream.fileno() for stream in (nothing, out, err)], timeout)
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


def forked_program() -> list[str]:
    """Return what, in front of arguments, runs the program so: on the streams, and with the signals, of its caller."""
    forked = ADDRESS_VARIABLE in os.environ
    return [sys.executable, __file__, "--ask"] if forked else [sys.executable, "-W", "error", "-m", "flowercli"]


def _run(arguments: list[str], folder: Path, streams: list[int], timeout: float | None, *, told: bool = False) -> int:
    """Return its exit code; one that is told passes on what this process is told to do."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout)
        connection.connect(os.environ[ADDRESS_VARIABLE])
        asked = {"arguments": arguments, "environment": dict(os.environ), "folder": str(folder)}
        socket.send_fds(connection, [json.dumps(asked).encode()], streams)
        program = int(connection.recv(100))
        if told:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, _: os.kill(program, number))
        return int(connection.recv(100))


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        asked, streams, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
        _load()
        if os.fork() == 0:
            listener.close()
            _keep(connection, json.loads(asked), streams)
            return
        connection.close()
        for stream in streams:
            os.close(stream)


def _load() -> None:
    for name in ("evaluation.evaluate", "export.graph", "training.known", "whole_run"):
        import_module(f"flowercli.{name}")
    from flowercli.mlflow_quietly import import_mlflow

    import_mlflow()


def _keep(connection: socket.socket, asked: dict, streams: list[int]) -> None:
    """Be the parent of the program, or the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program == 0:
        connection.close()
        _become(streams, **asked)
    with contextlib.suppress(OSError):  # Nobody waits any more.
        connection.send(str(program).encode())
        _, status = os.waitpid(program, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(streams: list[int], arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    os.setsid()
    # Where a shell runs the tests in the background, they ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # They stay open until Python has ended, as those that it starts with do.
    sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
    errors = os.fdopen(2, "wb", closefd=False)
    sys.stderr = io.TextIOWrapper(errors, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.argv = ["flowers", *arguments]
    from flowercli.cli.main import run

    run()
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        sys.exit(_run(sys.argv[2:], Path.cwd(), [0, 1, 2], None, told=True))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _serve(socket.socket(fileno=int(sys.argv[1])))
