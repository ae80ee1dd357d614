"""Photographs in batches, decoded by other processes where asked; one that cannot be read is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from flowercli.errors import UnreadablePhotoError
from flowercli.training.data_workers import start_data_worker, stop_signals_held
from flowercli.training.dataset import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowercli.training.dataset import AugmentedPhotos, Pair, PhotoDataset
    from flowercli.training.sampler import EpochSampler

Batch = tuple[Tensor, Tensor]


class PhotoLoader:
    """Yields batches of ``uint8`` pixels ``[N, 3, H, W]`` and class indices ``[N]`` ``int64``.

    Args:
        photos: the dataset.
        batch_size: N; the last batch may be smaller.
        workers: processes that decode; with 0 the process that asks does.
        sampler: what is drawn, and in which order; by default each photograph once, in the dataset's.
        keep_workers: for the next time through, where there is one.
    """

    def __init__(
        self,
        photos: PhotoDataset | AugmentedPhotos,
        batch_size: int,
        *,
        workers: int = 0,
        sampler: EpochSampler | None = None,
        keep_workers: bool = False,
    ) -> None:
        self._loader: DataLoader[Any] = DataLoader(
            photos,
            batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=keep_workers and workers > 0,
            worker_init_fn=start_data_worker,
            collate_fn=collate,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Go through the photographs once.

        Raises:
            UnreadablePhotoError: one cannot be read.
        """
        with stop_signals_held():
            batches = iter(self._loader)
        for batch in batches:
            if isinstance(batch, Unreadable):
                hint = "Put it back as it was, or split again: flowers split DIR"
                raise UnreadablePhotoError(batch.path, batch.why, hint=hint)
            yield batch


def collate(pairs: list[Pair | Unreadable]) -> Batch | Unreadable:
    """Make a batch of pairs; of pairs among which one cannot be read, that one."""
    for one in pairs:
        if isinstance(one, Unreadable):
            return one
    batch: Batch = tuple(default_collate(pairs))
    return batch
