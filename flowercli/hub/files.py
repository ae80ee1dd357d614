"""Files of the Hub as something to fetch.

The Hub's own client forgets what had arrived when its process ends, so the bytes come through ``flowercli.transfer``;
addresses, headers and token are the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from flowercli.hub.faults import from_refusal
from flowercli.transfer.contract import Wanted

if TYPE_CHECKING:
    from flowercli.hub.repo_id import RepoId


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, and what it has to be; ``sha256`` is ``None`` where nobody says."""

    name: str
    size: int
    sha256: str | None

    def at(self, source: RepoId) -> Wanted:
        """Return what to fetch for it.

        Args:
            source: the repository and its commit. The Hub says of each file which commit it is of, and of large ones
                their sha256, before it leads to the host that has the bytes: what differs is not fetched.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        stated = {"X-Repo-Commit": source.revision, "X-Linked-ETag": self.sha256}
        return Wanted(
            hf_hub_url(source.repo_id, self.name, revision=source.revision),
            self.size,
            self.sha256,
            called=f"{self.name} of {source}",
            headers=build_hf_headers(),
            stated={name: value for name, value in stated.items() if value},
            explain=partial(from_refusal, source),
        )
