"""Put the application together: routes, their description, the page, CORS, and the guard around all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from flowercli import __version__
from flowercli.serving.http import docs_page, infer_route, openapi
from flowercli.serving.http.classify_route import classify
from flowercli.serving.http.guard import Guard
from flowercli.serving.http.keys import KeyCheck
from flowercli.serving.http.problems import Problem, busy
from flowercli.serving.http.settings import MODEL
from flowercli.serving.http.static import page_routes
from flowercli.serving.http.strict import refuse_query

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from flowercli.serving.hosts import Hosts
    from flowercli.serving.http.access_log import AccessLog
    from flowercli.serving.http.service import Service
    from flowercli.serving.page.files import PageFile

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CODES = {404: "not_found", 405: "method_not_allowed"}
PREFLIGHT_SECONDS = 600
READY_SECONDS = 1


def create_app(
    service: Service, *, page: Mapping[str, PageFile] | None = None, log: AccessLog | None = None
) -> ASGIApp:
    """Return the application.

    Args:
        service: what answers; it is started and stopped with the application.
        page: the files of the page by URL path, ``/`` for the page itself.
        log: where a line for each request goes.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="flowers", version=__version__, description=openapi.TEXT, lifespan=lifespan,
        # The usual pages about an API fetch their code from elsewhere.
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Exception, _defect)
    _add_classify(app, service)
    _add_protocol(app, service)
    _add_metrics(app, service)
    openapi.complete(
        app,
        max_images=service.limits.images,
        class_names=service.classifier.answerable,
        needs_key=service.settings.api_key is not None,
    )
    page = {**page, docs_page.PATH: docs_page.docs_page(app.openapi())} if page else {}
    own = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    app.router.routes.extend(page_routes(page))
    inner: ASGIApp = app
    if service.settings.api_key is not None:
        inner = KeyCheck(inner, service.settings.api_key, frozenset(page))
    # Around the keys: a browser asks without one whether it may ask with one.
    if service.settings.hosts.origins:
        inner = CORSMiddleware(
            inner,
            allow_origins=service.settings.hosts.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
            max_age=PREFLIGHT_SECONDS,
        )
    inner = HostCheck(inner, service.settings.hosts)
    return Guard(inner, service, own, frozenset(page), log)


class HostCheck:
    """Refuses requests for another name than the service's, and those that a stranger's page sends.

    Args:
        app: what is behind it.
        hosts: the names, and whose pages may ask.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        problem = self._hosts.problem(scope) if scope["type"] == "http" else None
        app = self._app if problem is None else problem.response()
        await app(scope, receive, send)


def _add_classify(app: FastAPI, service: Service) -> None:
    async def route(request: Request) -> Response:
        return await classify(service, request)

    app.post("/v1/classify", **openapi.CLASSIFY)(route)


def _add_protocol(app: FastAPI, service: Service) -> None:
    def get(path: str, answer: Any, **description: Any) -> None:
        async def route(request: Request) -> Response:
            refuse_query(request.scope["query_string"])
            return JSONResponse(answer())

        app.get(path, **description)(route)

    def ready() -> dict[str, Any]:
        if not service.ready or service.workers.all_stuck():
            raise busy(503, "not_ready", "The service is starting, ending, or held by its pictures.", READY_SECONDS)
        return {"name": MODEL, "ready": True}

    async def infer(request: Request) -> Response:
        return await infer_route.infer(service, request)

    get("/v2", infer_route.server_metadata, **openapi.SERVER)
    get("/v2/health/live", lambda: {"live": True}, **openapi.LIVE)
    get("/v2/health/ready", ready, **openapi.READY)
    get(f"/v2/models/{MODEL}", lambda: infer_route.model_metadata(service), **openapi.METADATA)
    get(f"/v2/models/{MODEL}/ready", ready, **openapi.MODEL_READY)
    app.post(f"/v2/models/{MODEL}/infer", **openapi.INFER)(infer)


def _add_metrics(app: FastAPI, service: Service) -> None:
    async def route(request: Request) -> Response:
        refuse_query(request.scope["query_string"])
        return Response(service.metrics.render(), media_type=METRICS_TYPE)

    app.get("/metrics", **openapi.METRICS)(route)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _defect(_request: Request, _error: Exception) -> Response:
    """Answer where something is wrong with us; the guard logs it."""
    return Problem(500, "internal", "Something is wrong here; the log says what.").response()


async def _http_problem(_request: Request, error: Exception) -> Response:
    """Turn what the router says into the form that all errors have."""
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    return Problem(error.status_code, code, f"{error.detail}.", error.headers).response()
