"""Time for what a web server does: when it is out, the connections are shut down, whatever is waited for."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class TooSlowError(TimeoutError):
    """A server that answers, and so slowly that it could go on for ever."""


class Clock:
    """Seconds for requests; a timeout of sockets is for each silence, and lets one byte after the other pass."""

    def __init__(self, seconds: float) -> None:
        self.out = False
        self._ends = monotonic() + seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def give(self, seconds: float) -> None:
        """Give so many seconds from now on; has no effect once they were out."""
        self._ends = monotonic() + seconds

    def check(self) -> None:
        """See that there is time left: a connection that was shut down reads like one that came to its end.

        Raises:
            TooSlowError: there is none.
        """
        if self.out:
            raise TooSlowError("it sends too slowly")

    def watch(self, connection: socket.socket) -> None:
        """Shut a connection down when the time is out."""
        own = connection.dup()  # The encryption that may follow takes the socket itself away.
        with self._lock:
            self._sockets.append(own)
            if self.out:
                _shut(own)

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        with self._lock:
            for own in self._sockets:
                own.close()
            self._sockets.clear()

    def handlers(self) -> list[urllib.request.BaseHandler]:
        """Return what makes an opener of ``urllib`` keep to this clock."""
        return [_Plain(self), _Encrypted(self)]

    def _run(self) -> None:
        while not self._stopped.wait(max(0.0, self._ends - monotonic())):
            if monotonic() < self._ends:
                continue
            with self._lock:
                self.out = True
                for own in self._sockets:
                    _shut(own)
            return


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what a call gives that watches no clock itself; when the time is out, it is left behind in its thread.

    Raises:
        TooSlowError: it has not come to an end.
    """
    answers: SimpleQueue[Callable[[], Result]] = SimpleQueue()
    threading.Thread(target=_answer, args=(call, answers), name="within", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise TooSlowError(f"nothing whole within {seconds:g} seconds") from None
    return answer()


def _answer(call: Callable[[], Result], answers: SimpleQueue[Callable[[], Result]]) -> None:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  (it is raised where the answer is waited for)
        answers.put(partial(_raise, error))
    else:
        answers.put(lambda: result)


def _raise(error: Exception) -> Any:
    raise error


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # It has ended already.
        connection.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    clock: Clock

    def connect(self) -> None:
        super().connect()
        self.clock.watch(self.sock)


class _EncryptedConnection(http.client.HTTPSConnection, _Connection):
    """Is watched from before its handshake on: the one base connects by means of the other."""


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_made, _Connection, self._clock), req)


class _Encrypted(urllib.request.HTTPSHandler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_made, _EncryptedConnection, self._clock), req)


def _made(kind: type[_Connection], clock: Clock, host: str, **options: Any) -> _Connection:
    connection = kind(host, **options)
    connection.clock = clock
    return connection
