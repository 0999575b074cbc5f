"""Batches of stored pixels, in an order that depends only on seed and epoch.

Images are decoded once, into a memory-mapped cache for each size. A batch is one gather from it. All processes share
one order, and each of W processes takes every W-th image of a batch, so the batches do not depend on the number of
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from lentigo.config.recipe import Recipe
from lentigo.data.cache import open_cache
from lentigo.data.extra import Extra, Pool
from lentigo.data.samples import Samples
from lentigo.errors import DataError
from lentigo.training.streams import Draws, Stream, generator

Index = NDArray[np.int64]


class Batch(NamedTuple):
    """One process's shard of a batch.

    Attributes:
        images: (N, S, S, 3) uint8 RGB as stored; (N, 3, S, S) float32, normalised, channels last in memory, once
            augmented.
        targets: (N,) int64 class indices.
        total: number of images in the batch of all processes.
        partners: (N,) class indices of the images mixed in; None without mixing.
        ratio: fraction of each image's own pixels in a mixed one, 0 to 1.
    """

    images: Tensor
    targets: Tensor
    total: int
    partners: Tensor | None = None
    ratio: float = 1.0


Transform = Callable[[Batch, Draws], Batch]
"""An augmentation of a batch; its random numbers come from the second argument. It may change the images in place."""


class Shard(NamedTuple):
    """One process's part of a batch before it is read: row indices, and the size of the whole batch."""

    rows: Index
    total: int


def epoch_order(targets: Index, *, sampling: float, seed: int, epoch: int, stream: Stream = Stream.ORDER) -> Index:
    """Draw the images of an epoch and their order.

    Args:
        targets: (N,) class indices of the training images.
        sampling: 0 for each image once. Otherwise a class of n images is drawn in proportion to n^(1 - sampling), with
            N draws in all; the counts of two images of a class differ by at most one.
        seed: the run's seed.
        epoch: from 0.
        stream: of the random numbers.

    Returns:
        (N,) indices into ``targets``.
    """
    random = generator(seed, stream, epoch=epoch)
    order = random.permutation(len(targets))
    if sampling == 0:
        return order
    counts = np.bincount(targets).astype(np.float64)
    weights = np.power(counts, -sampling, where=counts > 0, out=np.zeros_like(counts))[targets[order]]
    # Systematic sampling over the images sorted by class: evenly spaced draws, so counts differ by at most one.
    by_class = np.argsort(targets[order], kind="stable")
    edges = np.cumsum(weights[by_class])
    draws = (np.arange(len(targets)) + random.random()) * (edges[-1] / len(targets))
    drawn = order[by_class[np.searchsorted(edges, draws, side="right").clip(max=len(targets) - 1)]]
    return random.permutation(drawn)


def cut_batches(order: Index, batch: int) -> list[Index]:
    """Split an order into nearly equal batches of about ``batch`` images, none of them too small to normalise."""
    return np.array_split(order, max(1, round(len(order) / batch)))


def shards_of(batches: Sequence[Index], rank: int, world: int) -> list[Shard]:
    """Return the shard of each batch for process ``rank`` of ``world``: every W-th image."""
    return [Shard(rows[rank::world], len(rows)) for rows in batches]


class Batches:
    """Training and validation batches of a split data set.

    Args:
        samples: the data set, split.
        recipe: sizes, batch, sampling and seed.
        extras: additional training data sets with the same classes, in the order of ``recipe.data.extra``.
        cache: folder of the image caches; None for the user's.
        progress: whether to show a progress bar while images are decoded.
        stream: random numbers of the order.

    Raises:
        DataError: there is no training image, or no validation image.
    """

    def __init__(
        self,
        samples: Samples,
        recipe: Recipe,
        extras: Sequence[Extra] = (),
        *,
        cache: Path | None = None,
        progress: bool = True,
        stream: Stream = Stream.ORDER,
    ) -> None:
        self.samples = samples
        self.recipe = recipe
        self.extras = tuple(extras)
        others = [extra.samples for extra in extras]
        self.cache = cache
        self.progress = progress
        self.stream = stream
        self._opened: dict[int, Pool] = {}
        split = samples.frame["split"].to_numpy()
        self.rows: dict[str, Index] = {name: np.flatnonzero(split == name) for name in ("train", "val", "test")}
        for name in ("train", "val"):
            if len(self.rows[name]) == 0:
                raise DataError(
                    f"{samples.name}: no image is in {name}; a run needs images for training and others for validation"
                )
        own, added = self.rows["train"], np.arange(len(samples), len(samples) + sum(map(len, others)))
        self.training_rows: Index = np.concatenate([own, added])  # rows in the pool of all images
        self.training_targets: Index = np.concatenate([samples.targets[own], *(part.targets for part in others)])
        self.until = [np.inf if chosen.until_epoch is None else chosen.until_epoch for chosen in recipe.data.extra]
        # The first epoch without each image.
        self.ends = np.repeat([np.inf, *self.until], [len(own), *map(len, others)])

    def steps(self, epoch: int) -> int:
        """Return the number of steps of an epoch (from 0)."""
        return len(cut_batches(np.flatnonzero(self.ends > epoch), self.recipe.batch))

    def prepare(self) -> None:
        """Decode every image at every size."""
        for size in sorted({self.recipe.size_at(epoch) for epoch in range(self.recipe.epochs)}):
            self._pool(size)

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """Return the decoded images (N, size, size, 3) uint8, memory-mapped; row i is row i of the samples."""
        return self._pool(size).parts[0]

    def training(self, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        """Yield this process's batches of an epoch (from 0), on its device."""
        here = self.ends > epoch
        rows, targets = self.training_rows[here], self.training_targets[here]
        order = epoch_order(
            targets, sampling=self.recipe.sampling, seed=self.recipe.seed, epoch=epoch, stream=self.stream
        )
        return self._read(rows, targets, order, epoch, fabric)

    def validation(self, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        """Yield this process's validation batches in table order, at the size of an epoch (from 0)."""
        rows = self.rows["val"]
        return self._read(rows, self.samples.targets[rows], np.arange(len(rows)), epoch, fabric)

    def _read(self, rows: Index, targets: Index, order: Index, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        pool, gpu = self._pool(self.recipe.size_at(epoch)), fabric.device.type == "cuda"
        for shard in shards_of(cut_batches(order, self.recipe.batch), fabric.global_rank, fabric.world_size):
            parts = [torch.from_numpy(pool.gather(rows[shard.rows])), torch.from_numpy(targets[shard.rows])]
            images, truth = ((part.pin_memory() if gpu else part).to(fabric.device, non_blocking=gpu) for part in parts)
            yield Batch(images, truth, shard.total)

    def _pool(self, size: int) -> Pool:
        """Return the images of the samples, then those of the other data sets."""
        if size not in self._opened:
            epochs = [epoch for epoch in range(self.recipe.epochs) if self.recipe.size_at(epoch) == size]
            parts = [open_cache(self.samples, size, self.cache, progress=self.progress).pixels]
            for extra, end in zip(self.extras, self.until, strict=True):
                if not epochs or epochs[0] < end:
                    parts.append(open_cache(extra.samples, size, self.cache, progress=self.progress).pixels)
                else:  # no epoch of this size uses them: keep the row numbers without decoding
                    parts.append(np.broadcast_to(np.uint8(0), (len(extra.samples), size, size, 3)))
            self._opened[size] = Pool(parts)
        return self._opened[size]
