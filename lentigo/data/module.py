"""Batches for training: whole batches of stored pixels, in an order that depends on seed and epoch only.

Images are decoded once, into a memory-mapped cache for each size. A batch is one gather from it; there
is no work per image in Python. Batches are cut from one order for all processes, and each process takes
every W-th image of a batch, so that a run sees the same batches on any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lentigo.data.cache import open_cache
from lentigo.data.extra import Pool
from lentigo.data.samples import Samples
from lentigo.errors import DataError

Index = NDArray[np.int64]


class Batch(NamedTuple):
    """One process's share of a batch.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB.
        targets: (N,) int64 class positions.
        total: images in the batch of all processes.
    """

    pixels: Tensor
    targets: Tensor
    total: int


class _Slice(NamedTuple):
    rows: Index
    total: int


def epoch_order(targets: Index, *, sampling: float, seed: int, epoch: int) -> Index:
    """Which images an epoch sees, and in what order.

    Args:
        targets: (N,) class positions of the training images.
        sampling: 0: each image once. Otherwise a class of n images is drawn in proportion to n^(1 - sampling),
            N draws in all, and within a class each image as often as any other, give or take one.
        seed: the run's seed.
        epoch: from 0.

    Returns:
        (N,) positions in ``targets``.
    """
    generator = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, epoch])
    order = generator.permutation(len(targets))
    if sampling == 0:
        return order
    counts = np.bincount(targets).astype(np.float64)
    weights = np.power(counts, -sampling, where=counts > 0, out=np.zeros_like(counts))[targets[order]]
    # Systematic sampling over the images sorted by class: evenly spaced draws, so counts differ by one at most.
    by_class = np.argsort(targets[order], kind="stable")
    edges = np.cumsum(weights[by_class])
    draws = (np.arange(len(targets)) + generator.random()) * (edges[-1] / len(targets))
    drawn = order[by_class[np.searchsorted(edges, draws, side="right").clip(max=len(targets) - 1)]]
    return generator.permutation(drawn)


def cut_batches(order: Index, batch: int) -> list[Index]:
    """Cut an order into nearly equal batches near ``batch`` images, so that no batch is too small to normalise."""
    return np.array_split(order, max(1, round(len(order) / batch)))


class _Slices(Sampler[_Slice]):
    """Yields this process's share of each batch."""

    def __init__(self, batches: list[Index], rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def __iter__(self) -> Iterator[_Slice]:
        for rows in self.batches:
            yield _Slice(rows[self.rank :: self.world], len(rows))

    def __len__(self) -> int:
        return len(self.batches)


class _Images(Dataset[Batch]):
    """Looks up whole batches."""

    def __init__(self, pixels: Pool, rows: Index, targets: Index) -> None:
        self.pixels, self.rows, self.targets = pixels, rows, targets

    def __getitem__(self, part: _Slice) -> Batch:
        pixels = torch.from_numpy(self.pixels.gather(self.rows[part.rows]))
        return Batch(pixels, torch.from_numpy(self.targets[part.rows]), part.total)


class LesionData(pl.LightningDataModule):
    """Training and validation batches of a split data set.

    Args:
        samples: the data set, split.
        size_at: side of the images in each epoch (from 0).
        epochs: how many epochs there will be.
        batch: images a step, over all processes.
        sampling: see ``epoch_order``.
        seed: of the order.
        cache: folder of the image caches; None for the user's.
        workers: processes that fetch batches; 0 fetches in the training process.
        progress: whether to show a bar while images are decoded.
        extra: images of other data sets to learn from as well, all of them, with the same classes.
        until: for each of these, the first epoch without its images; None for all epochs.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        size_at: Callable[[int], int],
        epochs: int,
        batch: int,
        sampling: float = 0.0,
        seed: int = 0,
        cache: Path | None = None,
        workers: int = 0,
        progress: bool = True,
        extra: Sequence[Samples] = (),
        until: Sequence[int | None] = (),
    ) -> None:
        super().__init__()
        self.samples = samples
        self.extra = tuple(extra)
        self.size_at = size_at
        self.epochs = epochs
        self.batch = batch
        self.sampling = sampling
        self.seed = seed
        self.cache = cache
        self.workers = workers
        self.progress = progress
        self._opened: dict[int, Pool] = {}
        split = samples.frame["split"].to_numpy()
        self.rows: dict[str, Index] = {name: np.flatnonzero(split == name) for name in ("train", "val", "test")}
        for name in ("train", "val"):
            if len(self.rows[name]) == 0:
                raise DataError(f"{samples.name}: no image is in {name}; training needs images to learn from and images to be judged by")
        added = np.arange(len(samples), len(samples) + sum(map(len, self.extra)))
        self.learnt: Index = np.concatenate([self.rows["train"], added])  # rows of the pool of all images
        self.learnt_targets: Index = np.concatenate([samples.targets[self.rows["train"]], *(part.targets for part in self.extra)])
        self.until = tuple(until) or (None,) * len(self.extra)
        ends = [np.full(len(part), np.inf if end is None else end) for part, end in zip(self.extra, self.until, strict=True)]
        self.ends = np.concatenate([np.full(len(self.rows["train"]), np.inf), *ends])  # the first epoch without each image learnt from

    def with_size(self, size: int, epochs: int) -> LesionData:
        """The same images at one size, each once an epoch."""
        return LesionData(
            self.samples,
            size_at=lambda epoch: size,
            epochs=epochs,
            batch=self.batch,
            seed=self.seed,
            cache=self.cache,
            workers=self.workers,
            progress=self.progress,
            extra=self.extra,
        )

    def steps(self, epoch: int = 0) -> int:
        """Steps of an epoch."""
        return len(cut_batches(np.flatnonzero(self.ends > epoch), self.batch))

    def prepare_data(self) -> None:
        """Decode every image at every size, once a host."""
        for size in sorted({self.size_at(epoch) for epoch in range(self.epochs)}):
            self._pool(size)

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """The decoded images (N, size, size, 3) uint8, memory-mapped; row i is row i of the samples."""
        return self._pool(size).parts[0]

    def _pool(self, size: int) -> Pool:
        """The samples' images, then those of the other data sets."""
        if size not in self._opened:
            epochs = [epoch for epoch in range(self.epochs) if self.size_at(epoch) == size]
            parts = [open_cache(self.samples, size, self.cache, progress=self.progress).pixels]
            for part, end in zip(self.extra, self.until, strict=True):
                if end is None or not epochs or epochs[0] < end:
                    parts.append(open_cache(part, size, self.cache, progress=self.progress).pixels)
                else:  # no epoch of this size shows them: keep their rows, decode nothing
                    parts.append(np.broadcast_to(np.uint8(0), (len(part), size, size, 3)))
            self._opened[size] = Pool(parts)
        return self._opened[size]

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the trainer's current epoch."""
        epoch = self._trainer().current_epoch
        here = self.ends > epoch
        rows, targets = self.learnt[here], self.learnt_targets[here]
        order = epoch_order(targets, sampling=self.sampling, seed=self.seed, epoch=epoch)
        return self._loader(rows, targets, self.size_at(epoch), cut_batches(order, self.batch))

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images in table order, at the size of the current epoch."""
        rows = self.rows["val"]
        batches = cut_batches(np.arange(len(rows)), self.batch)
        return self._loader(rows, self.samples.targets[rows], self.size_at(self._trainer().current_epoch), batches)

    def _loader(self, rows: Index, targets: Index, size: int, batches: list[Index]) -> DataLoader[Batch]:
        trainer = self._trainer()
        return DataLoader(
            _Images(self._pool(size), rows, targets),
            sampler=_Slices(batches, trainer.global_rank, trainer.world_size),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=trainer.strategy.root_device.type == "cuda",
        )

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("LesionData gives batches to a trainer only: the epoch decides which")
        return self.trainer
