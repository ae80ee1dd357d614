"""``--log`` of ``flowers classify`` and ``flowers serve``: features of what was answered, for ``flowers drift``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import warn

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Classifies
    from flowercli.monitoring.features import Observation
    from flowercli.monitoring.request_log import RequestLog


@contextmanager
def logged(classifier: Classifier, path: Path | None, max_rows: int) -> Iterator[Classifies]:
    """Yield what answers: the classifier itself, or one whose answers go into the log at ``path``.

    All answers of a run have one request id: the pictures of a folder are likely to be alike.
    """
    if path is None:
        yield classifier
        return
    import uuid

    from flowercli.monitoring.reference import LoggedClassifier

    request = uuid.uuid4().hex
    with open_log(classifier, path, max_rows) as log:

        def tell(observed: Observation) -> None:
            log.observe(observed, request)

        yield LoggedClassifier(classifier, tell)


def open_log(classifier: Classifier, path: Path, max_rows: int) -> RequestLog:
    """Return the log of a classifier's answers, which warns on stderr of what it cannot write.

    Raises:
        LogError: the file is something else, or its folder does not exist.
    """
    from flowercli.monitoring.request_log import RequestLog

    return RequestLog(path, classifier.bundle, classifier.runtime.graph, max_rows=max_rows, say=warn)
