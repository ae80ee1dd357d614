"""The Hub's own client, set up as this tool uses it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowercli.errors import HubError
from flowercli.transfer.contract import Patience

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Of one answer about a repository: a hundred thousand files fit.
MOST_BYTES = 32 * 2**20


def client(*, progress: bool = False) -> HfApi:
    """Return the Hub's client; it reads ``HF_ENDPOINT``, ``HF_TOKEN`` and the other variables when first imported.

    Args:
        progress: let it draw the progress of uploads on stderr.

    Raises:
        HubError: ``HF_HUB_OFFLINE`` is set, or ``HF_ENDPOINT`` is no address.
    """
    offline = is_offline()
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if offline:
        message = "HF_HUB_OFFLINE is set: the Hub is not asked."
        raise HubError(
            message, hint="What is here already: flowers download --list. To go online: unset HF_HUB_OFFLINE"
        )
    log_nothing()
    if not progress:
        disable_progress_bars()
    return HfApi()


def log_nothing() -> None:
    """Keep the client from logging what failed: the error that follows says it."""
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()


def transport_error() -> type[Exception]:
    """Return the base of what the HTTP library under the Hub's client raises: httpx's in 1.x, httpx2's since."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


@contextmanager
def bounded() -> Iterator[Callable[[], None]]:
    """Have the client take no answer of more than :data:`MOST_BYTES`; yields what ends its connections.

    Raises:
        HubError: it would have had to.
    """
    from huggingface_hub import close_session, get_session

    session = get_session()
    before = {kind: list(hooks) for kind, hooks in session.event_hooks.items()}
    session.event_hooks = {
        "request": [*before.get("request", ()), _ask_for_plain],
        "response": [*before.get("response", ()), _bound],
    }
    try:
        yield close_session
    finally:
        session.event_hooks = before


def _ask_for_plain(request: Any) -> None:
    request.headers["Accept-Encoding"] = "identity"


def _bound(response: Any) -> None:
    # The library would unpack whatever it holds.
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise HubError(f"{endpoint()} sends packed what was asked for plain.", hint="Check HF_ENDPOINT.")
    stream = response.stream

    def pieces(_self: object) -> Iterator[bytes]:
        arrived = 0
        for piece in stream:
            arrived += len(piece)
            if arrived > MOST_BYTES:
                message = f"{endpoint()} answers with more than {MOST_BYTES // 2**20} MiB about a repository."
                raise HubError(message, hint="Check HF_ENDPOINT.")
            yield piece

    # The library wants streams of its own kind, and goes by another name in each version of the client.
    kind = sys.modules[transport_error().__module__].SyncByteStream
    response.stream = type("Bounded", (kind,), {"__iter__": pieces, "close": lambda _self: stream.close()})()


def endpoint() -> str:
    """Return the address of the Hub: ``HF_ENDPOINT``, or the public one."""
    return str(_constants().ENDPOINT)


def has_token() -> bool:
    """Whether requests carry a token."""
    _constants()
    from huggingface_hub import get_token

    return get_token() is not None


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids to ask the Hub."""
    return bool(_constants().HF_HUB_OFFLINE)


def patience(retries: int = Patience.retries) -> Patience:
    """Return the patience with the Hub; it is silent after the seconds of ``HF_HUB_DOWNLOAD_TIMEOUT``."""
    return Patience(retries=retries, timeout=float(_constants().HF_HUB_DOWNLOAD_TIMEOUT))


def _constants() -> Any:
    """Return what the client takes from the environment, which it reads when it is first imported.

    Raises:
        HubError: ``HF_ENDPOINT`` is no address.
    """
    address = os.environ.get("HF_ENDPOINT")
    if address and not address.startswith(("http://", "https://")):
        raise HubError(f"HF_ENDPOINT is '{address}', which is no address.", hint="It starts with http:// or https://.")
    if address:
        # Xet's servers are not the endpoint's: with a mirror it would go around it.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    elif address is not None:
        # Set to nothing; the client would take nothing as its address.
        del os.environ["HF_ENDPOINT"]
    # Otherwise it tells the Hub what else is installed, and asks it about programs that may have started this one.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    return constants
