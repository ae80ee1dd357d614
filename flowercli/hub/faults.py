"""What can go wrong between here and the Hub, each with a message of its own and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowercli.errors import HubError
from flowercli.hub.client import endpoint, has_token, transport_error
from flowercli.shown import first_line
from flowercli.transfer.faults import AGAIN, NO_NETWORK, TEMPORARY, causes, retry_after

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

    from flowercli.hub.repo_id import RepoId
    from flowercli.transfer.contract import Headers


class NoRepositoryError(HubError):
    """The Hub has no such repository, or none that this user may see."""


TOKEN = "Make a token at https://huggingface.co/settings/tokens, then: export HF_TOKEN=hf_…"  # noqa: S105
OUT_OF_ORDER = 500
UNKNOWN_USER = 401
# How the Hub begins to tell that a token is wrong.
BAD = "Invalid credentials"


@contextmanager
def explained(reference: RepoId) -> Iterator[None]:
    """Turn the errors of the Hub's client into ours.

    Raises:
        HubError: the network, the Hub or the repository does not do what was asked.
    """
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.HFValidationError as error:
        raise HubError(f"'{reference.repo_id}' is no valid repo id: {_sentence(error)}") from error
    except hub.HfHubHTTPError as error:
        raise from_status(error, reference) from error
    except (transport_error(), ConnectionError, TimeoutError) as error:
        # The second and third come from Xet, through which large files go up.
        raise from_network(error) from error
    except RuntimeError as error:
        # So the client wraps what goes wrong in one of its upload threads.
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            raise from_status(cause, reference) from error
        if isinstance(cause, transport_error()):
            raise from_network(cause) from error
        raise HubError(f"The Hub's client gave up: {_sentence(cause or error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"{endpoint()} does not answer like a Hub: {_sentence(error)}"
        raise HubError(message, hint="Check HF_ENDPOINT.") from error


def from_status(error: HfHubHTTPError, reference: RepoId) -> HubError:
    """Return what a refusal means that the Hub's client met."""
    answer = error.response
    said = error.server_message or _sentence(error)
    return _meaning(answer.status_code, answer.headers, urlsplit(str(answer.url)).path, reference, said)


def from_refusal(reference: RepoId, status: int, headers: Headers, path: str) -> HubError:
    """Return what a refusal means that a file's transfer met."""
    return _meaning(status, headers, path, reference, headers.get("X-Error-Message") or "no reason is given.")


def _meaning(status: int, headers: Headers, path: str, reference: RepoId, said: str) -> HubError:
    if (told := _of_repository(status, headers, path, reference)) is not None:
        return told
    if status >= OUT_OF_ORDER:
        return HubError(f"The Hub at {endpoint()} is out of order (HTTP {status}).", hint=f"Later: {AGAIN}")
    able = "Give it the permission to, or use one that has it."
    wait = retry_after(headers.get("Retry-After"))
    when = "later" if wait is None else f"in {wait:.0f} s"
    known = {
        401: (f"The Hub does not accept this token: {said}", TOKEN),
        403: (f"This token may not do that with {reference.repo_id}: {said}", able),
        404: (f"{endpoint()} has nothing at {path}.", "Check HF_ENDPOINT."),
        412: (f"{reference.repo_id} has changed meanwhile; nothing was uploaded.", AGAIN),
        409: (f"The name {reference.repo_id} is taken.", "Choose another one."),
        429: (f"The Hub has had too many requests from here (HTTP 429): try again {when}.", AGAIN),
    }
    message, hint = known.get(status, (f"The Hub refuses (HTTP {status}): {said}", None))
    return HubError(message, hint=hint)


def from_network(error: BaseException) -> HubError:
    """Return what kept a request from being answered, found in the chain of causes."""
    chain = list(causes(error))
    names = _names(chain)
    numbers = {link.errno for link in chain if isinstance(link, OSError)}
    host, said = urlsplit(endpoint()).netloc, _sentence(error)
    certificate = "Behind a proxy with a certificate of its own: export SSL_CERT_FILE=its-certificate.pem"
    known = (
        ("gaierror" in names, f"The name {host} is not known here.", "Is there a network? Is HF_ENDPOINT right?"),
        ("SSLError" in names, f"There is no secure connection to {host}: {said}", certificate),
        ("ProxyError" in names, f"The proxy does not lead to {host}: {said}", "Check HTTPS_PROXY and NO_PROXY."),
        (errno.ECONNREFUSED in numbers, f"{host} refuses connections.", "Check HF_ENDPOINT and HTTPS_PROXY."),
        (bool(numbers & NO_NETWORK), f"No network leads to {host}.", "What is here: flowers download --list"),
        ("TimeoutException" in names, f"{host} does not answer in time.", AGAIN),
    )
    fits = ((message, hint) for is_so, message, hint in known if is_so)
    message, hint = next(fits, (f"The connection to {host} broke off: {said}", AGAIN))
    return HubError(message, hint=hint)


def may_pass(error: Exception) -> bool:
    """Whether the same request may well be answered a moment later."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TEMPORARY
    chain = list(causes(error))
    final = {"gaierror", "SSLError", "ProxyError", "UnsupportedProtocol"}
    numbers = {link.errno for link in chain if isinstance(link, OSError)}
    return not (final & _names(chain) or numbers & (NO_NETWORK | {errno.ECONNREFUSED}))


def _sentence(error: BaseException) -> str:
    return f"{first_line(error).rstrip('.')}."


def _of_repository(status: int, headers: Headers, path: str, reference: RepoId) -> HubError | None:
    repo_id, token = reference.repo_id, "" if has_token() else f" {TOKEN}"
    code = headers.get("X-Error-Code")
    if code == "GatedRepo":
        hint = f"Accept its conditions at {endpoint()}/{repo_id}{'.' if token == '' else ', then:' + token}"
        return HubError(f"{repo_id} is gated: its owner decides who may fetch it.", hint=hint)
    if code == "RevisionNotFound":
        hint = f"Its newest: flowers download model {repo_id}"
        return HubError(f"{repo_id} has no revision '{reference.revision}'.", hint=hint)
    if code == "EntryNotFound":
        return HubError(f"{repo_id} lacks a file that it should have: {path}")
    # Of what is private the Hub says to strangers only that they are not known.
    bad_token = (headers.get("X-Error-Message") or "").startswith(BAD)
    if code == "RepoNotFound" or (status == UNKNOWN_USER and not bad_token):
        private = "it is private." if token else "this token may not see it."
        hint = f"Check the spelling. If it is private:{token}" if token else "Check the spelling, and the token."
        return NoRepositoryError(f"There is no {repo_id} at {endpoint()}, or {private}", hint=hint)
    return None


def _names(chain: list[BaseException]) -> set[str]:
    return {kind.__name__ for link in chain for kind in type(link).__mro__}
