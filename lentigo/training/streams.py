"""Named streams of random numbers.

Draws depend only on the run's seed, the stream and the position (epoch, step), so a resumed run and a run on several
processes draw the same numbers. Philox (Salmon et al., SC 2011) encrypts a counter with a key. The seed is the key;
stream and position are the counter. Two streams, or two positions of one stream, therefore never share a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto, unique

import numpy as np
import torch
from torch import Tensor


@unique
class Stream(IntEnum):
    """The purposes of random numbers. Add new members at the end, so that the draws of the others do not change."""

    WEIGHTS = auto()
    ORDER = auto()
    DROPOUT = auto()
    WARP = auto()
    ASPECT = auto()
    COLOUR = auto()
    CHANNELS = auto()
    BLUR = auto()
    NOISE = auto()
    HAIR = auto()
    VIGNETTE = auto()
    MARKS = auto()
    JPEG = auto()
    ERASE = auto()
    MIXUP = auto()
    CUTMIX = auto()
    PRETRAIN_ORDER = auto()
    PRETRAIN_DROPOUT = auto()


def generator(seed: int, stream: Stream, *, epoch: int = 0, step: int = 0, item: int = 0) -> np.random.Generator:
    """Return the generator of one stream at one position in a run.

    Args:
        seed: the run's seed, of which the lowest 64 bits are used.
        stream: the purpose of the numbers.
        epoch: from 0.
        step: within the epoch, from 0.
        item: separates several draws in one step, such as those of several processes.
    """
    counter = np.array([0, step, epoch, stream], dtype=np.uint64)  # Philox counts its blocks in the first word
    return np.random.Generator(
        np.random.Philox(key=np.array([seed & 0xFFFFFFFFFFFFFFFF, item], dtype=np.uint64), counter=counter)
    )


def torch_seed(seed: int, stream: Stream, *, epoch: int = 0, step: int = 0, item: int = 0) -> int:
    """Return a seed for PyTorch's generator, 0 to 2^63 - 1; the arguments are those of ``generator``."""
    return int(generator(seed, stream, epoch=epoch, step=step, item=item).integers(2**63))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, drawn for the batch of all processes.

    Attributes:
        seed: the run's seed.
        epoch: from 0.
        step: within the epoch, from 0.
        total: number of images in the batch of all processes.
        rank: index of this process, which has every W-th image of the batch.
        world: W, the number of processes.
        view: 0 in training; 1 and 2 for the two views of pretraining.
    """

    seed: int
    epoch: int
    step: int
    total: int
    rank: int = 0
    world: int = 1
    view: int = 0

    def generator(self, stream: Stream) -> np.random.Generator:
        """Return a generator for the whole batch, the same in all processes."""
        return generator(self.seed, stream, epoch=self.epoch, step=self.step, item=self.view)

    def table(self, stream: Stream, columns: int) -> Tensor:
        """Draw numbers for each image of this process, (N, columns) float32 in [0, 1), on the CPU."""
        drawn = self.generator(stream).random((self.total, columns), dtype=np.float32)
        return torch.from_numpy(drawn[self.rank :: self.world])
