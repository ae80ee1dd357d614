"""Objects of S3 as the source of a transfer: ``s3://bucket/key`` becomes a signed address that ``web`` fetches.

Credentials, region and endpoint come from the places where AWS's own tools look; without credentials the object is
asked for anonymously.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flowercli.errors import DownloadError, UsageError, needs_extra
from flowercli.transfer import web

if TYPE_CHECKING:
    from flowercli.transfer.contract import Request, Stream

VALID_SECONDS = 3600


def open_stream(request: Request) -> Stream:
    """Open an object.

    Raises:
        DownloadError, TemporaryFault: it cannot be had.
        MissingExtraError: the extra ``data`` is not installed.
    """
    return web.open_stream(replace(request, url=signed(request.url)))


def signed(url: str) -> str:
    """Return an ``http`` or ``https`` address of an object that holds for an hour.

    Raises:
        UsageError: it names no object.
        DownloadError: the configuration of AWS cannot be used.
        MissingExtraError: the extra ``data`` is not installed.
    """
    with needs_extra("data"):
        import botocore.exceptions
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config
    parts = urlsplit(url)
    key = unquote(parts.path.lstrip("/"))
    if not parts.netloc or not key:
        raise UsageError(f"{url} names no object.", hint="s3://BUCKET/PATH/ARCHIVE.tgz")
    try:
        session = botocore.session.get_session()
        anonymous = session.get_credentials() is None
        config = Config(signature_version=UNSIGNED if anonymous else "s3v4")
        client = session.create_client(
            "s3", region_name=session.get_config_variable("region") or "us-east-1", config=config
        )
        address: str = client.generate_presigned_url(
            "get_object", Params={"Bucket": parts.netloc, "Key": key}, ExpiresIn=VALID_SECONDS
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise DownloadError(f"AWS is not set up to read {url}: {error}", hint="aws configure") from error
    return address
