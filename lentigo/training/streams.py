"""Named streams of random numbers.

What is drawn in a run depends on its seed, the stream and the place (epoch, step) alone, so a resumed run and a run on
several processes draw the same. Philox (Salmon et al., SC 2011) encrypts a counter with a key. The seed is the key; the
stream and the place are the counter. Two streams, or two places of one stream, therefore never share a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto, unique

import numpy as np
import torch
from torch import Tensor


@unique
class Stream(IntEnum):
    """What random numbers are for. A new kind takes a new member at the end, and all others keep their draws."""

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
    """The random numbers of one stream at one place in a run.

    Args:
        seed: the run's seed; its lowest 64 bits count.
        stream: what they are for.
        epoch: from 0.
        step: of the epoch, from 0.
        item: tells apart what is drawn more than once a step, such as by several processes.
    """
    counter = np.array([0, step, epoch, stream], dtype=np.uint64)  # Philox counts its blocks in the first word
    return np.random.Generator(
        np.random.Philox(key=np.array([seed & 0xFFFFFFFFFFFFFFFF, item], dtype=np.uint64), counter=counter)
    )


def torch_seed(seed: int, stream: Stream, *, epoch: int = 0, step: int = 0, item: int = 0) -> int:
    """A seed for PyTorch's own generator, 0 to 2^63 - 1; the arguments are those of ``generator``."""
    return int(generator(seed, stream, epoch=epoch, step=step, item=item).integers(2**63))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, drawn for the batch of all processes.

    Attributes:
        seed: the run's seed.
        epoch: from 0.
        step: of the epoch, from 0.
        total: images in the batch of all processes.
        rank: this process, which has every W-th image of the batch.
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
        """One generator for the whole batch, the same in all processes."""
        return generator(self.seed, stream, epoch=self.epoch, step=self.step, item=self.view)

    def table(self, stream: Stream, columns: int) -> Tensor:
        """Numbers for each image of this process, (N, columns) float32 in [0, 1), on the CPU."""
        drawn = self.generator(stream).random((self.total, columns), dtype=np.float32)
        return torch.from_numpy(drawn[self.rank :: self.world])
