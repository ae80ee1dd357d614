"""What a service is started with: model, limits, who may ask; plain values, which each worker is handed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowercli.errors import UsageError
from flowercli.serving.hosts import Hosts

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.observers import Observer
    from flowercli.serving.page.files import PageFile

MEBI = 2**20
# The Open Inference Protocol's name of the model, whatever bundle it is.
MODEL = "flowers"
ORIGIN = re.compile(r"https?://[^/?#\s]+")
KEY_HINT = 'FLOWERS_API_KEY="$(openssl rand -hex 32)" flowers serve'


@dataclass(frozen=True)
class Limits:
    """What one server process takes at most.

    ``body`` and ``held`` are bytes, of one request and of all that are under way; ``pixels`` those of one picture, as
    it is decoded; ``images`` those of one request; ``queue`` the pictures that wait for a thread, ``wait`` the seconds
    that one does, ``picture`` those that one may take; ``upload`` the seconds that a request may take to arrive;
    ``connections`` those that are open.
    """

    body: int = 32 * MEBI
    held: int = 256 * MEBI
    pixels: int = 50_000_000
    images: int = 64
    queue: int = 64
    wait: float = 5.0
    picture: float = 10.0
    upload: float = 30.0
    connections: int = 512


@dataclass(frozen=True)
class Settings:
    """How a server process is set up.

    ``batch_size`` is of how many pictures the model is asked at once, ``None`` for what suits the device.
    ``hosts`` are the names that it answers to, and whose pages may ask. ``only`` are the class names that may be
    answered, ``None`` for all. ``page`` and ``observers`` are functions, which each process calls with its classifier:
    the files of the page by URL path, and those who look at every answer. They are module-level functions, or
    ``functools.partial`` of these.
    """

    model: str | None = None
    device: str | None = None
    threads: int = 1
    batch_size: int | None = None
    limits: Limits = field(default_factory=Limits)
    api_key: str | None = None
    hosts: Hosts = field(default_factory=Hosts)
    access_log: bool = True
    drain_seconds: float = 30.0
    only: tuple[str, ...] | None = None
    page: Callable[[Classifier], Mapping[str, PageFile]] | None = None
    observers: tuple[Callable[[Classifier], Observer], ...] = ()


def check_settings(settings: Settings) -> None:
    """Refuse what cannot work.

    Raises:
        UsageError: a key that no header can hold, an origin that no browser sends, or limits that exclude each other.
    """
    key = settings.api_key
    if key is not None and not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise UsageError("The API key is empty or has other than printable ASCII characters.", hint=KEY_HINT)
    for origin in settings.hosts.origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors-origin {origin}: not an origin.", hint="Such as https://example.org, without a path."
            )
    if settings.limits.held < settings.limits.body:
        raise UsageError("--max-held is below --max-body: no request of that size could ever be taken.")
