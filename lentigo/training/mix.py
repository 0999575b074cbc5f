"""Mixup and cutmix: blend a batch with its reverse, or paste a box of its reverse.

One draw per step gives the same mix in every process. The loss is weighted by the fraction of pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lentigo.config.recipe import AugmentRecipe
from lentigo.training.batches import Batch
from lentigo.training.streams import Draws, Stream


class MixPairs:
    """Mix a batch with its reverse by mixup or cutmix.

    Args:
        recipe: ``mixup`` and ``cutmix``, parameters of their Beta distributions.
    """

    def __init__(self, recipe: AugmentRecipe) -> None:
        self.recipe = recipe

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Mix normalised images, and set ``partners`` and ``ratio`` of the batch."""
        mix = draw_mix(self.recipe, draws, batch.images.shape[-1])
        if mix is None:
            return batch
        return batch._replace(images=mix.images(batch.images), partners=batch.targets.flip(0), ratio=mix.ratio)


@dataclass(frozen=True)
class Mix:
    """The mix of a batch with its reverse.

    Attributes:
        ratio: fraction of each image's own pixels, and weight of its own target in the loss, 0 to 1.
        box: top, bottom, left and right of the pasted box, as fractions of the side; None blends whole images.
    """

    ratio: float
    box: tuple[float, float, float, float] | None = None

    def images(self, x: Tensor) -> Tensor:
        """Mix images (N, C, S, S), in the order of the targets."""
        if self.box is None:
            return torch.lerp(x.flip(0), x, self.ratio)
        top, bottom, left, right = (round(place * x.shape[-1]) for place in self.box)
        mixed = x.clone()
        mixed[:, :, top:bottom, left:right] = x.flip(0)[:, :, top:bottom, left:right]
        return mixed


def draw_mix(recipe: AugmentRecipe, draws: Draws, size: int) -> Mix | None:
    """Draw the mix of one step.

    If the recipe has both kinds, each is used in half of the steps.

    Args:
        recipe: ``mixup`` and ``cutmix``.
        draws: random numbers, of the streams ``MIXUP`` and ``CUTMIX``.
        size: side of the images in pixels; boxes are rounded to whole pixels.

    Returns:
        The mix; None for none.
    """
    generator = draws.generator(Stream.CUTMIX)
    if recipe.cutmix and (not recipe.mixup or generator.random() < 0.5):
        return cutmix(recipe.cutmix, generator, size)
    ratio = mixup_ratio(recipe.mixup, draws.generator(Stream.MIXUP))
    return Mix(ratio) if ratio < 1 else None


def mixup_ratio(alpha: float, generator: np.random.Generator) -> float:
    """Draw the weight of the first of two images: max(b, 1 - b) with b from Beta(alpha, alpha); 1 for alpha 0.

    Args:
        alpha: parameter of the Beta distribution (Zhang et al., ICLR 2018).
        generator: random numbers.
    """
    if alpha == 0:
        return 1.0
    ratio = float(generator.beta(alpha, alpha))
    return max(ratio, 1 - ratio)


def cutmix(alpha: float, generator: np.random.Generator, size: int) -> Mix:
    """Draw a box of ``sqrt(1 - ratio)`` times the image's side, with its centre anywhere (Yun et al., ICCV 2019).

    The box is clipped at the edges, and ``ratio`` is the fraction of the remaining pixels.

    Args:
        alpha: parameter of the Beta distribution of ``ratio``.
        generator: random numbers.
        size: side of the images in pixels.
    """
    half = math.sqrt(1 - generator.beta(alpha, alpha)) / 2
    edges = [np.clip((centre - half, centre + half), 0, 1) for centre in generator.random(2)]
    top, bottom, left, right = (round(float(edge) * size) / size for pair in edges for edge in pair)
    return Mix(1 - (bottom - top) * (right - left), (top, bottom, left, right))
