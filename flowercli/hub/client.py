"""The Hub's own client, set up as this tool uses it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flowercli.errors import HubError
from flowercli.transfer.patience import Patience

if TYPE_CHECKING:
    from huggingface_hub import HfApi


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
