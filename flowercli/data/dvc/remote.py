"""The S3 remote of a DVC repository: asked before DVC starts, because DVC reads a 403 as files that are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from s3fs import S3FileSystem

from flowercli.errors import UsageError

if TYPE_CHECKING:
    from dvc.repo import Repo

EXAMPLE = "flowers data init --remote s3://BUCKET/PREFIX"
# What the options that name an address take.
FORMS = {
    "--remote": (("s3",), "of the form s3://BUCKET/PREFIX"),
    "--endpoint-url": (("http", "https"), "an http:// or https:// address"),
}
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
        """Ask the bucket, before anything else."""
        check_bucket(self.odb.fs, self.odb.path)

    def has(self, oids: Iterable[str]) -> set[str]:
        """Return those of the objects that are there."""
        return set(self.odb.oids_exist(list(oids)))


def check_bucket(fs: Any, path: str) -> None:
    """Ask a bucket for one name through DVC's file system; what is wrong comes up as the library's own error."""
    options = {**fs.fs_args, "skip_instance_cache": True}
    options["config_kwargs"] = {**options.get("config_kwargs", {}), **PROBE}
    files = S3FileSystem(**options)
    files.retries = 1
    bucket, prefix, _ = files.split_path(path)
    files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)


def checked(option: str, url: str) -> str:
    """Return the address of a remote, or of an S3 server, as it may be written into a repository.

    Raises:
        UsageError: it is not one, or holds a secret.
    """
    parts = urlsplit(url)
    schemes, form = FORMS[option]
    if parts.scheme not in schemes or not parts.hostname:
        raise UsageError(f"{option} {url}: not {form}.", hint=EXAMPLE)
    if parts.username is not None:
        message = f"{option} holds a user name or key, which would be committed with the repository."
        raise UsageError(message, hint="Give it as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.")
    return url.rstrip("/")
