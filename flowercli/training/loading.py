"""Photographs in batches, decoded by other processes where asked; one that cannot be read is named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from flowercli.errors import UnreadablePhotoError
from flowercli.training.data_workers import (
    NOTHING_COMES_SECONDS,
    busy_seconds,
    lacks_shared_memory,
    nothing_comes,
    start_data_worker,
    stop_signals_held,
    why_without,
)
from flowercli.training.dataset import AugmentedPhotos, Pair, PhotoDataset, Unreadable

if TYPE_CHECKING:
    from flowercli.training.sampler import EpochSampler

Batch = tuple[Tensor, Tensor]
# What workers take of a processor at least, where they are only slow, in the time after which torch asks.
AT_WORK_SECONDS = 0.1


class PhotoLoader:
    """Yields batches of ``uint8`` pixels ``[N, 3, H, W]`` and class indices ``[N]`` ``int64``.

    Where its workers cannot hand over what they decode, it says so and goes on without them, with the same batches.

    Args:
        photos: the dataset.
        batch_size: N; the last batch may be smaller.
        workers: processes that decode; with 0 the process that asks does.
        sampler: what is drawn, and in which order; by default each photograph once, in the dataset's. Workers need one.
        keep_workers: for the next time through, where there is one.
        say: called with what the user should know.
    """

    def __init__(
        self,
        photos: PhotoDataset | AugmentedPhotos,
        batch_size: int,
        *,
        workers: int = 0,
        sampler: EpochSampler | None = None,
        keep_workers: bool = False,
        say: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._make = partial(DataLoader, photos, batch_size, sampler=sampler, collate_fn=collate)
        self._sampler, self._say = sampler, say
        self._workers = workers
        with _without_advice():
            self._loader: DataLoader[Any] = self._make(
                num_workers=workers,
                persistent_workers=keep_workers and workers > 0,
                worker_init_fn=start_data_worker,
                timeout=NOTHING_COMES_SECONDS if workers else 0,
            )

    def __iter__(self) -> Iterator[Batch]:
        """Go through the photographs once.

        Raises:
            UnreadablePhotoError: one cannot be read.
        """
        done = 0
        try:
            for batch in self._batches():
                yield batch
                done += 1
        except (RuntimeError, OSError) as error:
            if not self._workers or not (lacks_shared_memory(error) or nothing_comes(error)):
                raise
            self._say(why_without(error))
        else:
            return
        yield from self._without_workers(done)

    def _without_workers(self, done: int) -> Iterator[Batch]:
        """Yield what is left after so many batches, decoded here, and stay without workers."""
        self._workers, self._loader = 0, self._make()
        if self._sampler is not None:
            self._sampler.set_position(self._sampler.epoch, self._sampler.steps_done + done)
        yield from self._batches()

    def _batches(self) -> Iterator[Batch]:
        with stop_signals_held(), _without_advice():
            batches = iter(self._loader)
        while (batch := self._next(batches)) is not None:
            if isinstance(batch, Unreadable):
                hint = "Put it back as it was, or split again: flowers split DIR"
                raise UnreadablePhotoError(batch.path, batch.why, hint=hint)
            yield batch

    @staticmethod
    def _next(batches: Iterator[Batch | Unreadable]) -> Batch | Unreadable | None:
        """Return the next batch, however long it takes workers that work; ``None`` at the end."""
        while True:
            before = busy_seconds()
            try:
                return next(batches, None)
            except RuntimeError as error:
                if not nothing_comes(error) or busy_seconds() - before < AT_WORK_SECONDS:
                    raise


@contextmanager
def _without_advice() -> Iterator[None]:
    """Start as many workers as were asked for without torch's opinion of their number."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def collate(pairs: list[Pair | Unreadable]) -> Batch | Unreadable:
    """Make a batch of pairs; of pairs among which one cannot be read, that one."""
    for one in pairs:
        if isinstance(one, Unreadable):
            return one
    return tuple(default_collate(pairs))
