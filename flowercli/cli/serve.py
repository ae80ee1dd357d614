"""``flowers serve``: answers over HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.options import DEFAULT_MODEL, AllowHost, AnswerLog, AnswerLogRows, BatchSize, Device, Only, finite
from flowercli.cli.output import note, warn
from flowercli.cli.startup import keep_numpy_to_one_thread
from flowercli.errors import needs_extra
from flowercli.monitoring import MAX_ROWS
from flowercli.shown import counted

if TYPE_CHECKING:
    import socket

    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.settings import Settings

MEBI = 2**20


def _limit(metavar: str, least: float, text: str) -> Any:
    """Return an option for a limit of each worker."""
    panel = "Limits, of each worker"
    return typer.Option(callback=finite, min=least, metavar=metavar, help=text, rich_help_panel=panel)


def serve(
    bundle: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE",
            help="A name from `flowers models`, a bundle folder or a .onnx file.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 for a free one.")
    ] = 8000,
    allow_host: AllowHost = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, metavar="N", help="Processes. One uses all cores; more survive the death of one."),
    ] = 1,
    device: Device = None,
    batch_size: BatchSize = None,
    only: Only = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="FLOWERS_API_KEY",
            metavar="KEY",
            help="Key that requests must have. Others see a command line: prefer the variable.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin whose pages may ask, such as https://my.example; repeat for more."),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page for browsers at /.")] = True,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="Write a JSON line to stderr for each request.")
    ] = True,
    log: AnswerLog = None,
    log_max_rows: AnswerLogRows = MAX_ROWS,
    drain_seconds: Annotated[
        float,
        typer.Option(
            callback=finite, min=0, metavar="SECONDS", help="Seconds that requests under way are given at the end."
        ),
    ] = 30,
    max_body: Annotated[float, _limit("MIB", 0.001, "MiB of a request.")] = 32,
    max_held: Annotated[float, _limit("MIB", 0.001, "MiB of all requests under way.")] = 256,
    max_megapixels: Annotated[float, _limit("N", 0.01, "Megapixels of a picture, as it is decoded.")] = 50,
    max_images: Annotated[int, _limit("N", 1, "Pictures of a request.")] = 64,
    max_queue: Annotated[int, _limit("N", 1, "Pictures that wait.")] = 64,
    max_wait: Annotated[float, _limit("SECONDS", 0.01, "Seconds that one waits.")] = 5,
    upload_seconds: Annotated[float, _limit("SECONDS", 0.1, "Seconds that a request may take to arrive.")] = 30,
    max_connections: Annotated[int, _limit("N", 1, "Open connections.")] = 512,
) -> None:
    """Answer over HTTP: a page at /, /v1/classify, the Open Inference Protocol under /v2, and /metrics for Prometheus.

    Ctrl-C or SIGTERM ends it: what was accepted is answered first.
    """
    keep_numpy_to_one_thread()
    from flowercli.cli.answer_log import open_log
    from flowercli.inference.classifier import parse_only
    from flowercli.inference.cpu import available_cores
    from flowercli.inference.session import requested_device
    from flowercli.monitoring.request_log import check_path

    requested_device(device)
    if log is not None:
        check_path(log)
    with needs_extra("http"):
        from flowercli.serving.hosts import Hosts
        from flowercli.serving.http.settings import Limits, Settings, check_settings
        from flowercli.serving.page.files import served_page
        from flowercli.serving.sockets import bind

        limits = Limits(
            body=round(max_body * MEBI),
            held=round(max_held * MEBI),
            pixels=round(max_megapixels * 1e6),
            images=max_images,
            queue=max_queue,
            wait=max_wait,
            upload=upload_seconds,
            connections=tell_connections(max_connections),
        )
        settings = Settings(
            model=bundle,
            device=device,
            threads=-(-available_cores() // workers),
            batch_size=batch_size,
            limits=limits,
            api_key=api_key,
            hosts=Hosts.of(host, allow_host or (), cors_origin or ()),
            access_log=access_log,
            drain_seconds=drain_seconds,
            only=None if only is None else tuple(parse_only(only)),
            page=partial(served_page, key=api_key is not None) if page else None,
            observers=() if log is None else (partial(open_log, path=log, max_rows=log_max_rows),),
        )
        check_settings(settings)
        with bind(host, port, "flowers serve") as listener:
            _run(settings, listener, workers)


def _run(settings: Settings, listener: socket.socket, workers: int) -> None:
    from flowercli.serving.sockets import is_loopback, url_of

    def say_ready(what: str) -> None:
        each = counted(settings.threads, "thread")
        note(f"{what}, {each if workers == 1 else f'{workers} workers of {each}'}.")
        note(f"Ready: {url_of(listener)}")

    if not is_loopback(listener) and settings.api_key is None:
        warn("Everybody who reaches this machine can ask, without a key. Set one: FLOWERS_API_KEY=… flowers serve")
    if workers == 1:
        from flowercli.serving.http.server import serve as serve_here

        serve_here(settings, listener, lambda service: say_ready(_described(service.classifier)))
    else:
        from flowercli.serving.http.service import open_classifier
        from flowercli.serving.http.supervisor import supervise

        # What is wrong with the model is said once, here, and not by each worker.
        what = _described(open_classifier(settings))
        supervise(settings, listener, workers, lambda: say_ready(what))
    note("Stopped.")


def _described(classifier: Classifier) -> str:
    among = f", only among {', '.join(classifier.answerable)}" if classifier.is_restricted else ""
    return f"{classifier.bundle.name} on {classifier.runtime.describe()}{among}"


def tell_connections(wanted: int) -> int:
    """Return how many connections this process may have, at most ``wanted``; warn where that is less."""
    from flowercli.serving.sockets import connections_allowed

    allowed = connections_allowed(wanted)
    if allowed < wanted:
        warn(f"{allowed} connections at once instead of {wanted}: more open files are not allowed (ulimit -n).")
    return allowed
