"""Batches for training: whole batches of stored pixels, in an order that depends on seed and epoch only.

Images are decoded once, into a memory-mapped cache for each size. A batch is one gather from it; there
is no work per image in Python. Batches are cut from one order for all processes, and each process takes
every W-th image of a batch, so that a run sees the same batches on any number of processes.
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
        targets: (N,) int64 class positions.
        total: images in the batch of all processes.
        partners: (N,) class positions of the images mixed in; None where nothing is mixed.
        ratio: of each image's own pixels in a mixed one, 0 to 1.
    """

    images: Tensor
    targets: Tensor
    total: int
    partners: Tensor | None = None
    ratio: float = 1.0


Transform = Callable[[Batch, Draws], Batch]
"""A random change of a batch; all that it draws comes from the second argument. It may change the images in place."""


class Shard(NamedTuple):
    """One process's part of a batch before it is read: positions, and the size of the whole batch."""

    rows: Index
    total: int


def epoch_order(targets: Index, *, sampling: float, seed: int, epoch: int, stream: Stream = Stream.ORDER) -> Index:
    """Which images an epoch sees, and in what order.

    Args:
        targets: (N,) class positions of the training images.
        sampling: 0: each image once. Otherwise a class of n images is drawn in proportion to n^(1 - sampling),
            N draws in all, and within a class each image as often as any other, give or take one.
        seed: the run's seed.
        epoch: from 0.
        stream: of the random numbers.

    Returns:
        (N,) positions in ``targets``.
    """
    random = generator(seed, stream, epoch=epoch)
    order = random.permutation(len(targets))
    if sampling == 0:
        return order
    counts = np.bincount(targets).astype(np.float64)
    weights = np.power(counts, -sampling, where=counts > 0, out=np.zeros_like(counts))[targets[order]]
    # Systematic sampling over the images sorted by class: evenly spaced draws, so counts differ by one at most.
    by_class = np.argsort(targets[order], kind="stable")
    edges = np.cumsum(weights[by_class])
    draws = (np.arange(len(targets)) + random.random()) * (edges[-1] / len(targets))
    drawn = order[by_class[np.searchsorted(edges, draws, side="right").clip(max=len(targets) - 1)]]
    return random.permutation(drawn)


def cut_batches(order: Index, batch: int) -> list[Index]:
    """Cut an order into nearly equal batches near ``batch`` images, so that no batch is too small to normalise."""
    return np.array_split(order, max(1, round(len(order) / batch)))


def shards_of(batches: Sequence[Index], rank: int, world: int) -> list[Shard]:
    """What process ``rank`` of ``world`` takes of each batch: every W-th image."""
    return [Shard(rows[rank::world], len(rows)) for rows in batches]


class Batches:
    """Training and validation batches of a split data set.

    Args:
        samples: the data set, split.
        recipe: sizes, batch, sampling and seed.
        extras: other data sets to learn from as well, with the same classes, in the order of ``recipe.data.extra``.
        cache: folder of the image caches; None for the user's.
        progress: whether to show a bar while images are decoded.
        stream: of the order of the images.

    Raises:
        DataError: no image to learn from, or none to validate with.
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
        self.extra = tuple(extra.samples for extra in extras)
        self.cache = cache
        self.progress = progress
        self.stream = stream
        self._opened: dict[int, Pool] = {}
        split = samples.frame["split"].to_numpy()
        self.rows: dict[str, Index] = {name: np.flatnonzero(split == name) for name in ("train", "val", "test")}
        for name in ("train", "val"):
            if len(self.rows[name]) == 0:
                raise DataError(
                    f"{samples.name}: no image is in {name}; training needs images to learn from, and evaluation"
                    " needs others"
                )
        own, added = self.rows["train"], np.arange(len(samples), len(samples) + sum(map(len, self.extra)))
        self.learnt: Index = np.concatenate([own, added])  # rows of the pool of all images
        self.learnt_targets: Index = np.concatenate([samples.targets[own], *(part.targets for part in self.extra)])
        self.until = [np.inf if chosen.until_epoch is None else chosen.until_epoch for chosen in recipe.data.extra]
        # The first epoch without each image.
        self.ends = np.repeat([np.inf, *self.until], [len(own), *map(len, self.extra)])

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""
        return len(cut_batches(np.flatnonzero(self.ends > epoch), self.recipe.batch))

    def prepare(self) -> None:
        """Decode every image at every size."""
        for size in sorted({self.recipe.size_at(epoch) for epoch in range(self.recipe.epochs)}):
            self._pool(size)

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """The decoded images (N, size, size, 3) uint8, memory-mapped; row i is row i of the samples."""
        return self._pool(size).parts[0]

    def training(self, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        """This process's batches of an epoch (from 0), on its device."""
        here = self.ends > epoch
        rows, targets = self.learnt[here], self.learnt_targets[here]
        order = epoch_order(
            targets, sampling=self.recipe.sampling, seed=self.recipe.seed, epoch=epoch, stream=self.stream
        )
        return self._read(rows, targets, order, epoch, fabric)

    def validation(self, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        """The validation images in table order, at the size of an epoch."""
        rows = self.rows["val"]
        return self._read(rows, self.samples.targets[rows], np.arange(len(rows)), epoch, fabric)

    def _read(self, rows: Index, targets: Index, order: Index, epoch: int, fabric: Fabric) -> Iterator[Batch]:
        pool, gpu = self._pool(self.recipe.size_at(epoch)), fabric.device.type == "cuda"
        for shard in shards_of(cut_batches(order, self.recipe.batch), fabric.global_rank, fabric.world_size):
            parts = [torch.from_numpy(pool.gather(rows[shard.rows])), torch.from_numpy(targets[shard.rows])]
            images, truth = ((part.pin_memory() if gpu else part).to(fabric.device, non_blocking=gpu) for part in parts)
            yield Batch(images, truth, shard.total)

    def _pool(self, size: int) -> Pool:
        """The samples' images, then those of the other data sets."""
        if size not in self._opened:
            epochs = [epoch for epoch in range(self.recipe.epochs) if self.recipe.size_at(epoch) == size]
            parts = [open_cache(self.samples, size, self.cache, progress=self.progress).pixels]
            for part, end in zip(self.extra, self.until, strict=True):
                if not epochs or epochs[0] < end:
                    parts.append(open_cache(part, size, self.cache, progress=self.progress).pixels)
                else:  # no epoch of this size shows them: keep their rows, decode nothing
                    parts.append(np.broadcast_to(np.uint8(0), (len(part), size, size, 3)))
            self._opened[size] = Pool(parts)
        return self._opened[size]
