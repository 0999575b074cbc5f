"""Two images in one: mixup blends a batch with itself turned round, cutmix pastes a box of it.

Both come from one draw a step, so that every process of a run does the same; the loss is shared out as the pixels are.
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
    """Mix a batch with itself turned round, where the recipe says so.

    Args:
        recipe: ``mixup`` and ``cutmix``, parameters of their Beta distributions.
    """

    def __init__(self, recipe: AugmentRecipe) -> None:
        self.recipe = recipe

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Mix normalised images; ``partners`` and ``ratio`` say what of."""
        mix = draw_mix(self.recipe, draws, batch.images.shape[-1])
        if mix is None:
            return batch
        return batch._replace(images=mix.images(batch.images), partners=batch.targets.flip(0), ratio=mix.ratio)


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed with itself turned round.

    Attributes:
        ratio: of each image's own pixels, and so of its own target in the loss, 0 to 1.
        box: top, bottom, left, right of what is pasted, as fractions of the side; None blends whole images.
    """

    ratio: float
    box: tuple[float, float, float, float] | None = None

    def images(self, x: Tensor) -> Tensor:
        """Mix (N, C, S, S); the order along N is that of the targets."""
        if self.box is None:
            return torch.lerp(x.flip(0), x, self.ratio)
        top, bottom, left, right = (round(place * x.shape[-1]) for place in self.box)
        mixed = x.clone()
        mixed[:, :, top:bottom, left:right] = x.flip(0)[:, :, top:bottom, left:right]
        return mixed


def draw_mix(recipe: AugmentRecipe, draws: Draws, size: int) -> Mix | None:
    """What mixes the batch of one step; None for nothing.

    Where the recipe has both kinds, each takes half of the steps.

    Args:
        recipe: ``mixup`` and ``cutmix``.
        draws: of the streams ``MIXUP`` and ``CUTMIX``.
        size: side of the images in pixels, to whole numbers of which a box is rounded.
    """
    generator = draws.generator(Stream.CUTMIX)
    if recipe.cutmix and (not recipe.mixup or generator.random() < 0.5):
        return cutmix(recipe.cutmix, generator, size)
    ratio = mixup_ratio(recipe.mixup, draws.generator(Stream.MIXUP))
    return Mix(ratio) if ratio < 1 else None


def mixup_ratio(alpha: float, generator: np.random.Generator) -> float:
    """Weight of the first image of two in [0.5, 1], Beta(alpha, alpha) folded at one half; 1 for alpha 0.

    Args:
        alpha: parameter of the Beta distribution (Zhang et al., ICLR 2018).
        generator: of the draw.
    """
    if alpha == 0:
        return 1.0
    ratio = float(generator.beta(alpha, alpha))
    return max(ratio, 1 - ratio)


def cutmix(alpha: float, generator: np.random.Generator, size: int) -> Mix:
    """A box as wide and as high as the image times ``sqrt(1 - ratio)``, about a place anywhere (Yun et al., ICCV 2019).

    What lies beyond the edge is cut off, and the fraction is that of the pixels that stay.

    Args:
        alpha: parameter of the Beta distribution of the fraction.
        generator: of the three draws.
        size: side of the images in pixels.
    """
    half = math.sqrt(1 - generator.beta(alpha, alpha)) / 2
    edges = [np.clip((centre - half, centre + half), 0, 1) for centre in generator.random(2)]
    top, bottom, left, right = (round(float(edge) * size) / size for pair in edges for edge in pair)
    return Mix(1 - (bottom - top) * (right - left), (top, bottom, left, right))
