"""Random degradations of a batch: blur, noise, hair, dark corners, rulers, pen marks and JPEG.

A small network trained on clean images alone fails on slightly worse ones, and uses dark corners, rulers and pen marks
that correlate with a class. To keep the cost small, blur is one separable convolution, noise is a window of one long
vector, and hair, dark corners and marks come from banks of drawn images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from lentigo.config.recipe import DegradeRecipe
from lentigo.pixels.corruptions import REFERENCE
from lentigo.pixels.drawing import Pixels, add_vignette, draw_artifacts
from lentigo.synthetic.phantom import add_hair
from lentigo.training.augment import Normalise
from lentigo.training.batches import Batch
from lentigo.training.streams import Draws, Stream

_BANK = 48  # images in a bank
_NOISE = 1 << 22  # length of the vector of noise


class Degrade:
    """Blur, noise, hair, dark corners, marks and JPEG at random.

    Args:
        recipe: probabilities and strengths.
        normalise: the normalisation of the batch.
    """

    def __init__(self, recipe: DegradeRecipe, normalise: Normalise) -> None:
        self.recipe = recipe
        self.std, self.mean = normalise.std, normalise.mean
        self._banks: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._noise: Tensor | None = None

    @property
    def active(self) -> bool:
        """Whether any degradation has a probability above 0."""
        return max(self.recipe.probability, self.recipe.vignette, self.recipe.marks, self.recipe.jpeg) > 0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Degrade normalised images in place."""
        if not self.active:
            return batch
        x, p, recipe = batch.images, self.recipe.probability, self.recipe
        if recipe.hair:
            counts = np.linspace(1, recipe.hair, _BANK).round().astype(int)
            self._lay(x, "hair", lambda ground, i: add_hair(ground, i, int(counts[i])), p, draws.table(Stream.HAIR, 3))
        self._lay(x, "marks", draw_artifacts, recipe.marks, draws.table(Stream.MARKS, 3))
        self._lay(x, "vignette", add_vignette, recipe.vignette, draws.table(Stream.VIGNETTE, 3))
        whether, width = draws.table(Stream.BLUR, 2).T
        if recipe.blur and len(rows := _rows(whether, p)):
            x[rows] = blur(x[rows], recipe.blur * x.shape[-1] / REFERENCE * width[rows])
        whether, strength, place = draws.table(Stream.NOISE, 3).T
        if recipe.noise and len(rows := _rows(whether, p)):
            sigma = (recipe.noise * strength[rows][:, None] / self.std).to(x.device)  # (n, 3)
            x[rows] += self._noise_of(x[rows], place[rows]) * sigma[:, :, None, None]
        whether, quality = draws.table(Stream.JPEG, 2).T
        if len(rows := _rows(whether, recipe.jpeg)):
            low, high = recipe.quality
            x[rows] = self._through_jpeg(x[rows], (low + quality[rows] * (high + 1 - low)).int().tolist())
        return batch

    def _through_jpeg(self, x: Tensor, qualities: Sequence[int]) -> Tensor:
        """Compress (N, 3, S, S) by JPEG of these qualities, at 224 px or more to keep the blocks small."""
        std, mean = (value.to(x.device)[:, None, None] for value in (self.std, self.mean))
        size = max(x.shape[-1], REFERENCE)
        pixels = F.interpolate(x * std + mean, size=(size, size), mode="bilinear", align_corners=False)
        encoded = [
            encode_jpeg(image, quality)
            for image, quality in zip((pixels * 255).round().clamp(0, 255).byte().cpu(), qualities, strict=True)
        ]
        decoded = torch.stack([decode_jpeg(content) for content in encoded]).to(x.device) / 255
        return (
            F.interpolate(decoded, size=x.shape[2:], mode="bilinear", align_corners=False, antialias=True) - mean
        ) / std

    def _noise_of(self, x: Tensor, place: Tensor) -> Tensor:
        """Return standard normal noise (N, 3, S, S): each image is a window of one vector."""
        length = x[0].numel()
        if self._noise is None or len(self._noise) < 2 * length:
            self._noise = torch.randn(max(_NOISE, 2 * length), generator=torch.Generator().manual_seed(0))
        starts = (place * (len(self._noise) - length)).long().tolist()
        return torch.stack([self._noise[start : start + length] for start in starts]).view_as(x).to(x.device)

    def _lay(self, x: Tensor, kind: str, paint: Callable[[Pixels, int], Pixels], p: float, draws: Tensor) -> None:
        """Blend images of a bank over some images; ``draws`` (N, 3): whether, which one, rotation."""
        rows = _rows(draws[:, 0], p)
        if not len(rows):
            return
        alpha, colour = self._bank(kind, paint, x.shape[-1])
        which, turn = (draws[:, 1] * len(alpha)).long(), (draws[:, 2] * 4).long()
        for row in rows.tolist():
            # (1 or 3, S, S).
            a, c = (torch.rot90(bank[which[row]], int(turn[row]), (1, 2)).to(x.device) for bank in (alpha, colour))
            x[row] = x[row] * (1 - a) + c

    def _bank(self, kind: str, paint: Callable[[Pixels, int], Pixels], size: int) -> tuple[Tensor, Tensor]:
        """Return opacity a (B, 1, S, S) and a times colour c (B, 3, S, S) of what ``paint(ground, number)`` draws.

        Painted on black the result is ``a c``, on white ``a c + (1 - a)``, which gives both. Colours are normalised.
        """
        if (kind, size) not in self._banks:
            black, white = np.zeros((size, size, 3), np.uint8), np.full((size, size, 3), 255, np.uint8)
            dark, light = (
                torch.from_numpy(np.stack([paint(ground, i) for i in range(_BANK)])).permute(0, 3, 1, 2) / 255
                for ground in (black, white)
            )
            alpha = (1 - (light - dark).mean(1, keepdim=True)).clamp(0, 1)
            self._banks[kind, size] = alpha, (dark - alpha * self.mean[:, None, None]) / self.std[:, None, None]
        return self._banks[kind, size]


def _rows(draws: Tensor, p: float) -> Tensor:
    """Return the indices of the chosen images, (n,)."""
    return (draws < p).nonzero().flatten()


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Apply a Gaussian blur with a separate width for each image.

    Args:
        x: (N, C, S, S).
        sigma: (N,) standard deviations in pixels; 0 leaves an image unchanged.
    """
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)[:, None]) ** 2)  # (N, 2 r + 1)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0).to(x.device)  # (N C, 2 r + 1)
    flat = x.reshape(1, -1, *x.shape[2:])  # (1, N C, S, S)
    for shape, pad in (((1, -1), (radius, radius, 0, 0)), ((-1, 1), (0, 0, radius, radius))):
        flat = F.conv2d(F.pad(flat, pad, mode="reflect"), kernel.view(len(kernel), 1, *shape), groups=len(kernel))
    return flat.view_as(x)
