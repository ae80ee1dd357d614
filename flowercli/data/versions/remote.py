"""The S3 remote of a DVC repository: asked before DVC starts, because DVC reads a 403 as files that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from s3fs import S3FileSystem

from flowercli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvc.repo import Repo

EXAMPLE = "flowers data init --remote s3://BUCKET/PREFIX"
# A wrong address is told within seconds; transfers keep DVC's patience.
PROBE = {"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 1}}


@dataclass(frozen=True)
class Remote:
    """Where a repository's objects go. ``odb`` is DVC's object store on it, ``files`` its ``s3fs`` file system."""

    name: str
    url: str
    endpoint: str | None
    odb: Any

    @classmethod
    def of(cls, repo: Repo) -> Remote:
        """Return the default remote of a repository.

        Raises:
            UsageError: it has none, or not one on S3.
        """
        name = repo.config["core"].get("remote")
        if not name or name not in repo.config["remote"]:
            raise UsageError("This repository has no remote.", hint=EXAMPLE)
        config = repo.config["remote"][name]
        if not str(config["url"]).startswith("s3://"):
            message = f"The remote '{name}' is {config['url']}, not on S3."
            raise UsageError(message, hint="For other remotes use DVC itself: dvc push, dvc pull")
        return cls(name, config["url"], config.get("endpointurl"), repo.cloud.get_remote_odb(name))

    @property
    def where(self) -> str:
        """Bucket, prefix and server, for messages."""
        return f"{self.url} at {self.endpoint}" if self.endpoint else self.url

    @property
    def files(self) -> Any:
        """The ``s3fs`` file system that DVC transfers with."""
        return self.odb.fs.fs

    def check(self) -> None:
        """Ask the bucket for one name, and let what is wrong come up as the library's own error."""
        options = dict(self.odb.fs.fs_args)
        options["config_kwargs"] = {**options.get("config_kwargs", {}), **PROBE}
        options["skip_instance_cache"] = True
        files = S3FileSystem(**options)
        files.retries = 1
        bucket, prefix, _ = files.split_path(self.odb.path)
        files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)

    def has(self, oids: Sequence[str]) -> set[str]:
        """Return those of the objects that are there."""
        return set(self.odb.oids_exist(list(oids)))


def checked_url(url: str) -> str:
    """Return the address of a remote as it may be written into a repository.

    Raises:
        UsageError: it is not one on S3, or holds a secret.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"--remote {url}: not of the form s3://BUCKET/PREFIX.", hint=EXAMPLE)
    _refuse_secrets("--remote", parts.username)
    return url.rstrip("/")


def checked_endpoint(url: str) -> str:
    """Return the address of an S3 server as it may be written into a repository.

    Raises:
        UsageError: it is not one, or holds a secret.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"--endpoint-url {url}: not an http:// or https:// address.", hint=f"{EXAMPLE} …")
    _refuse_secrets("--endpoint-url", parts.username)
    return url.rstrip("/")


def _refuse_secrets(option: str, username: str | None) -> None:
    if username is not None:
        message = f"{option} holds a user name or key, which would be committed with the repository."
        raise UsageError(message, hint="Give it as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.")
