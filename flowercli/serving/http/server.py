"""Run one server process: uvicorn, ended in an order that loses no request that was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from flowercli.allocator import give_freed_memory_back
from flowercli.serving.connections import limited_protocol
from flowercli.serving.http.access_log import AccessLog, set_up_logging
from flowercli.serving.http.app import create_app
from flowercli.serving.http.service import Service, open_classifier
from flowercli.serving.parent import FORCE_SECONDS

if TYPE_CHECKING:
    import socket

    from flowercli.serving.http.settings import Settings

KEEP_ALIVE_SECONDS = 15
# How long connections are kept, at the end, on which a request may be on its way.
LAST_REQUESTS_TICKS = 25
TICK = 0.02
STDERR = 2


class Server(uvicorn.Server):
    """uvicorn's server, with another end and without a death by the signal that asked for it."""

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Be not ready, take what was accepted, stop listening, answer, and end."""
        self._service.drain()
        end_by_force(self._service.settings.drain_seconds + FORCE_SECONDS)
        # One turn of the loop takes every connection that the system has accepted already.
        await asyncio.sleep(TICK)
        for server in self.servers:
            server.close()
        for _ in range(LAST_REQUESTS_TICKS):
            if not self.server_state.connections:
                break
            await asyncio.sleep(TICK)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at the first signal, at once at the second Ctrl-C."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def end_by_force(seconds: float) -> None:
    """Have this process end after so many seconds, whatever its threads do, with where they were on stderr.

    The clock needs no turn of Python's: a decoder may be in the midst of a picture, with Python's lock.
    """
    # The number, as Python has no stderr where none was there at its start.
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)


def serve(settings: Settings, listener: socket.socket, on_ready: Callable[[Service], None]) -> None:
    """Serve on a bound socket until a signal ends it.

    Args:
        settings: of the service.
        listener: bound; it listens from when the model is warm.
        on_ready: called then.

    Raises:
        FlowersError: the model or the device cannot be had.
    """
    set_up_logging()
    give_freed_memory_back()
    service = Service(open_classifier(settings), settings)
    log = AccessLog() if settings.access_log else None
    page = settings.page(service.classifier) if settings.page else None
    app: Any = create_app(service, page=page, log=log)
    protocol = limited_protocol(settings.limits.connections, settings.limits.upload)
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(settings.drain_seconds),
    )  # fmt: skip
    try:
        Server(config, service, lambda: on_ready(service)).run([listener])
    finally:
        if log is not None:
            log.close()
