"""Every error a user can cause or meet, each with its exit code and the next command to type.

The one ``try`` that turns them into a line on stderr is in ``flowercli.cli.main``. Anything that is
not a :class:`FlowersError` is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_MISSING_EXTRA = 4
EXIT_DRIFT = 5
EXIT_INTERRUPTED = 130


class FlowersError(Exception):
    """Base of the errors that are shown to the user as a message, without a traceback.

    Args:
        message: what is wrong, in one sentence, with the name of the thing it is about.
        hint: what to do now, ideally the next command to type.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FlowersError):
    """The command line does not make sense: a wrong option, an unknown name."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A training configuration with an unknown key, a wrong type or a value out of range."""


class DataError(FlowersError):
    """A folder of photographs that cannot be used as a dataset, or a manifest that does not fit it."""


class UnreadablePhotoError(DataError):
    """A photograph of a dataset that broke, or went away, after the split; ``why`` is a sentence."""

    def __init__(self, path: object, why: str, *, hint: str) -> None:
        super().__init__(f"The photograph {path} cannot be read any more: {why}", hint=hint)


class DownloadError(FlowersError):
    """Something that cannot be fetched, or is not what was asked for."""


class WrongContentError(DownloadError):
    """A file that can be had, and is not the one that was asked for: another length, another hash."""


class DownloadInterrupted(DownloadError):  # noqa: N818  (not an error: what the user asked for)
    """A download that was asked to stop, and goes on the next time."""

    exit_code = EXIT_INTERRUPTED


class ArchiveError(FlowersError):
    """An archive that is damaged, or that would write what no dataset needs."""


class BundleError(FlowersError):
    """A model bundle that is missing, incomplete, altered, or of a format this version cannot read."""


class HubError(DownloadError):
    """A Hub that cannot be reached, refuses, or does not have what was asked for."""


class DeviceError(FlowersError):
    """A device that was asked for by name and cannot be had."""


class WeightsError(FlowersError):
    """Pretrained weights that cannot be loaded."""


class TrainingError(FlowersError):
    """A training run that cannot go on."""


class TrainingInterrupted(TrainingError):  # noqa: N818  (not an error: what the user asked for)
    """A training run that was asked to stop, and can be resumed."""

    exit_code = EXIT_INTERRUPTED


class BatchError(FlowersError):
    """A place of photographs or answers that cannot be used, or a plan that is not whole."""


class BatchInterrupted(BatchError):  # noqa: N818  (not an error: what the user asked for)
    """Classifying into a place that was asked to stop, and goes on the next time."""

    exit_code = EXIT_INTERRUPTED


class TaggingError(FlowersError):
    """Sidecars that cannot be written, none of them any more."""


class TaggingInterrupted(TaggingError):  # noqa: N818  (not an error: what the user asked for)
    """Writing sidecars that was asked to stop, and goes on the next time."""

    exit_code = EXIT_INTERRUPTED


class TrackingError(FlowersError):
    """A tracking server that does not answer, or a record of a run that cannot be sent to one."""


class ServingError(FlowersError):
    """A server that cannot start, or cannot load its model."""


class LogError(FlowersError):
    """A log of answers that cannot be read, or is not one, or is of another model than the reference."""


class ExportError(FlowersError):
    """An export that does not agree with the model it was made from."""


class MissingExtraError(FlowersError):
    """A command that needs packages which are not installed."""

    exit_code = EXIT_MISSING_EXTRA


class ImageError(FlowersError):
    """One picture that cannot be read. ``code`` is stable and meant for programs; docs/reference.md lists them."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of a package of an extra into a message that names the extra.

    Raises:
        MissingExtraError: a module outside ``flowercli`` could not be found.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "flowercli":
            raise
        from flowercli.installation import add_extra

        message = f"This needs the package '{error.name}', which is not installed."
        raise MissingExtraError(message, hint=add_extra(extra)) from error
