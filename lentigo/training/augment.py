"""Augmentation of a batch on its device: one affine warp and one colour matrix per image.

Flips, quarter turns, rotation, zoom and translation are combined in one matrix, so each image is resampled once.
Brightness, contrast, saturation and hue are linear in RGB, so they are combined in one 3x3 matrix and an offset. The
random numbers are an argument, so a batch is the same on every device, in every process and in a resumed run. The
matrices are computed on the CPU and copied to the device. No value is read back, so a GPU never waits.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lentigo.config.recipe import AugmentRecipe, ColourRecipe
from lentigo.training.batches import Batch
from lentigo.training.streams import Draws, Stream

# Columns of the tables of draws, all uniform in [0, 1).
FLIP_H, FLIP_V, TURN, ROTATION, SCALE, SHIFT_X, SHIFT_Y = range(7)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
WARP_COLUMNS, COLOUR_COLUMNS = 7, 4

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Normalise:
    """Convert stored pixels to the network's input, as ``lentigo.imaging.normalise`` does.

    Args:
        mean: mean of each channel, of pixels scaled to [0, 1].
        std: standard deviation of each channel.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        self.mean = torch.tensor(mean)
        self.std = torch.tensor(std)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Convert (N, S, S, 3) uint8 to (N, 3, S, S) float32, channels last in memory."""
        x = pixels.to(torch.float32).div_(255)  # (N, S, S, 3)
        x.sub_(self.mean.to(x.device)).div_(self.std.to(x.device))
        return x.permute(0, 3, 1, 2)  # (N, 3, S, S)


class Augment:
    """Random geometry and colour of a batch, and conversion to the network's input.

    Args:
        recipe: kinds and strengths of the augmentation.
        normalise: the conversion to the network's input.
    """

    def __init__(self, recipe: AugmentRecipe, normalise: Normalise) -> None:
        self.recipe = recipe
        self.normalise = normalise

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Augment stored images and convert them to the network's input."""
        device, size = batch.images.device, batch.images.shape[1]
        # (N, 3, S, S), 0 to 255: the colour matrix includes the division.
        x = batch.images.permute(0, 3, 1, 2).to(torch.float32)
        grid = F.affine_grid(sampling_matrices(self.recipe, draws, size).to(device), list(x.shape), align_corners=True)
        x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)
        matrix, grey = colour_matrices(self.recipe.colour, draws)  # (N, 3, 3), (N, 3)
        mean, std = self.normalise.mean, self.normalise.std
        offset = grey.to(device) * (x.mean((2, 3)) @ torch.tensor(_LUMA).to(device))[:, None] / 255  # (N, 3)
        offset = (offset - mean.to(device)) / std.to(device)
        # (N, 3, S * S).
        flat = torch.baddbmm(offset[:, :, None], (matrix / (255 * std[:, None])).to(device), x.flatten(2))
        low, high = (-mean / std).to(device), ((1 - mean) / std).to(device)  # black and white
        flat = torch.minimum(torch.maximum(flat, low[:, None]), high[:, None])
        return batch._replace(images=flat.view_as(x).contiguous(memory_format=torch.channels_last))


def sampling_matrices(recipe: AugmentRecipe, draws: Draws, size: int) -> Tensor:
    """Compute the sampling matrices of a batch.

    Args:
        recipe: kinds and strengths of the augmentation.
        draws: random numbers, of the streams ``WARP`` and ``ASPECT``.
        size: side of the images in pixels.

    Returns:
        (N, 2, 3) float32, from positions in the new image to positions in the old one, both in [-1, 1] with aligned
        corners.
    """
    warp, aspect = draws.table(Stream.WARP, WARP_COLUMNS), draws.table(Stream.ASPECT, 1)[:, 0]
    flip_h = 1 - 2 * (warp[:, FLIP_H] < recipe.flip_horizontal).float()  # -1 flips
    flip_v = 1 - 2 * (warp[:, FLIP_V] < recipe.flip_vertical).float()
    angle = _between(warp[:, ROTATION], -recipe.rotation, recipe.rotation)
    if recipe.quarter_turns:
        angle = angle + 90 * (warp[:, TURN] * 4).floor()
    # Uniform in the logarithm: zooming in and out by the same factor are equally probable.
    zoom = _between(warp[:, SCALE], math.log(recipe.scale[0]), math.log(recipe.scale[1])).exp()
    shift = _between(warp[:, [SHIFT_X, SHIFT_Y]], -recipe.translation, recipe.translation) * size  # (N, 2), pixels
    stretch = _between(aspect, -math.log(recipe.aspect) / 2, math.log(recipe.aspect) / 2).exp()
    # The warp is y = R diag(scale) x + t with the image's centre at zero; sampling needs its inverse.
    scale_x, scale_y = zoom * stretch * flip_h, zoom / stretch * flip_v
    cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
    rows = torch.stack([cos / scale_x, sin / scale_x, -sin / scale_y, cos / scale_y], 1).view(-1, 2, 2)
    return torch.cat([rows, -rows @ (2 * shift / (size - 1))[:, :, None]], 2)


def colour_matrices(recipe: ColourRecipe, draws: Draws) -> tuple[Tensor, Tensor]:
    """Compute the colour change of each image, ``matrix @ rgb + grey * g`` with the grey g of the image's mean colour.

    The changes are, in this order: brightness (a factor), contrast (about the image's mean grey), saturation (towards
    each pixel's grey), hue (rotation of the chrominance plane of YIQ), and colour jitter per channel (a factor for each
    channel).

    Args:
        recipe: strengths of the changes.
        draws: random numbers, of the streams ``COLOUR`` and ``CHANNELS``.

    Returns:
        ``matrix`` (N, 3, 3) and ``grey`` (N, 3), the fraction of the mean grey that is added to each channel.
    """
    colour = draws.table(Stream.COLOUR, COLOUR_COLUMNS)
    brightness = _between(colour[:, BRIGHTNESS], 1 - recipe.brightness, 1 + recipe.brightness)
    contrast = _between(colour[:, CONTRAST], 1 - recipe.contrast, 1 + recipe.contrast)
    saturation = _between(colour[:, SATURATION], 1 - recipe.saturation, 1 + recipe.saturation)[:, None, None]
    angle = 2 * math.pi * _between(colour[:, HUE], -recipe.hue, recipe.hue)
    saturate = saturation * torch.eye(3) + (1 - saturation) * torch.tensor(_LUMA).expand(3, 3)
    # Saturation and hue do not change a grey, so they do not apply to the grey that contrast adds.
    jitter = _between(draws.table(Stream.CHANNELS, 3), 1 - recipe.channels, 1 + recipe.channels)  # (N, 3)
    matrix = (brightness * contrast)[:, None, None] * (_hue_rotation(angle) @ saturate)
    return jitter[:, :, None] * matrix, jitter * ((1 - contrast) * brightness)[:, None]


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _hue_rotation(angle: Tensor) -> Tensor:
    """Convert (N,) radians to (N, 3, 3) matrices that rotate chrominance in YIQ and keep luma and greys."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2] = -angle.sin()
    turn[:, 2, 1] = angle.sin()
    rotation: Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return rotation
