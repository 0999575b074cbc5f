"""Start from a bundle's features: estimate the statistics of its normalisation on the training images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import Network
from lentigo.networks.graph_weights import refit_norms
from lentigo.training.augment import Normalise
from lentigo.training.batches import Batches

_IMAGES, _BATCH = 512, 32


def fit_to_images(network: Network, images: Batches, size: int) -> None:
    """Set the statistics of folded normalisations from up to 512 training images, without changing the outputs.

    Args:
        network: the network, on the CPU; changed in place.
        images: the run's images.
        size: their side in pixels.
    """
    rows = images.rows["train"]
    rows = rows[np.linspace(0, len(rows) - 1, num=min(_IMAGES, len(rows)), dtype=int)]
    normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
    pixels = images.pixels(size)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), _BATCH):
            yield normalise(torch.from_numpy(pixels[rows[start : start + _BATCH]]))

    refit_norms(network, batches())
