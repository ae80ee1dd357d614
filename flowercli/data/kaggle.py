"""Where Kaggle keeps a dataset's archive: asked through ``kagglehub``'s client, with the user's login if there is one.

Only the address comes from there. ``kagglehub.dataset_download`` takes a file of full length for a good one and
extracts in place; fetching, verifying and extracting are ours.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from flowercli.errors import DownloadError, needs_extra
from flowercli.transfer import web
from flowercli.transfer.contract import Request, Stream, TemporaryFault

if TYPE_CHECKING:
    import requests


HANDLE = "rahmasleam/flowers-dataset"
VERSION = 1
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}/versions/{VERSION}"
NEEDS_LOGIN = frozenset({401, 403})
TOO_MANY_REQUESTS = 429
SERVER_FAILED = 500


def open_stream(request: Request) -> Stream:
    """Open the archive at the address where it is now.

    Raises:
        DownloadError, TemporaryFault: it cannot be had.
        MissingExtraError: the extra ``data`` is not installed.
    """
    return web.open_stream(replace(request, url=address()))


def address() -> str:
    """Return an address of the archive that holds for some minutes.

    Raises:
        DownloadError, TemporaryFault: Kaggle cannot be asked, or refuses.
        MissingExtraError: the extra ``data`` is not installed.
    """
    with needs_extra("data"):
        import requests
        from kagglehub.clients import build_kaggle_client
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = HANDLE.split("/")
    request.dataset_version_number = VERSION
    try:
        # The client tells of its newer versions on stdout, which is for data.
        with contextlib.redirect_stdout(io.StringIO()), build_kaggle_client() as client:
            # Kaggle redirects to the archive's address; the body is left unread.
            answer: requests.Response = client.datasets.dataset_api_client.download_dataset(request)
            with answer:
                return str(answer.url)
    except requests.exceptions.HTTPError as error:
        raise _from_status(error) from error
    except (requests.exceptions.RequestException, OSError) as error:
        fault = DownloadError(
            f"Kaggle cannot be reached: {error}.", hint="Check the network. The same command goes on."
        )
        raise TemporaryFault(fault) from error


def _from_status(error: requests.exceptions.HTTPError) -> DownloadError | TemporaryFault:
    status = error.response.status_code if error.response is not None else 0
    if status in NEEDS_LOGIN:
        hint = "Get a token at https://www.kaggle.com/settings and set KAGGLE_API_TOKEN, or unset a wrong one."
        return DownloadError(
            f"Kaggle refuses access ({status}); this dataset needs no login, so a login may be wrong.", hint=hint
        )
    fault = DownloadError(f"Kaggle answers {status} for {PAGE}.", hint="The default source: flowers download dataset")
    return TemporaryFault(fault) if status == TOO_MANY_REQUESTS or status >= SERVER_FAILED else fault
