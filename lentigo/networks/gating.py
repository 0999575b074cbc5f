"""Means, maxima and gates of rows and columns, with their derivatives written out.

Left to autograd, the six uses of its input in `lentigo.networks.attention.CaCo` become some thirty passes over memory
forth and back, many of them between memory layouts. All here works on (N, H, W, C), which is how ``channels_last``
images lie in memory: CaCo and coordinate attention learn in half the time. Tracing takes each function as one step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Means(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        places = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        return places.mean(2), places.mean(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rows: Tensor, columns: Tensor) -> Tensor:
        height, width = rows.shape[1], columns.shape[1]
        gradient = (rows / width)[:, :, None] + (columns / height)[:, None]
        return gradient.permute(0, 3, 1, 2)


class _MeansAndPeaks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        places = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        peaks = places.amax((1, 2))  # (N, C)
        ctx.save_for_backward(x, peaks)
        return places.mean(2), places.mean(1), peaks

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rows: Tensor, columns: Tensor, peaks: Tensor) -> Tensor:
        x, highest = ctx.saved_tensors
        places = x.permute(0, 2, 3, 1)
        gradient: Tensor = (places == highest[:, None, None]).to(places.dtype)
        weights = peaks / gradient.sum((1, 2))  # divided among several highest places, as in amax
        gradient *= weights[:, None, None]
        gradient += (rows / places.shape[2])[:, :, None]
        gradient += (columns / places.shape[1])[:, None]
        return gradient.permute(0, 3, 1, 2)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(x, rows, columns)
        gated = x.permute(0, 2, 3, 1) * rows[:, :, None]
        gated *= columns[:, None]
        return gated.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, rows, columns = ctx.saved_tensors
        gradient, places = gradient.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
        by_column = gradient * columns[:, None]
        of_rows = (by_column * places).sum(2)
        of_columns = (gradient * places).mul_(rows[:, :, None]).sum(1)
        of_x = by_column.mul_(rows[:, :, None])
        return of_x.permute(0, 3, 1, 2).to(x.dtype), of_rows.to(rows.dtype), of_columns.to(columns.dtype)


@torch.fx.wrap
def means(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the rows and of the columns of images.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, H, C) and (N, W, C).
    """
    rows, columns = _Means.apply(x)
    return rows, columns


@torch.fx.wrap
def means_and_peaks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The means of rows and columns, and the largest value of each channel of images.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, H, C), (N, W, C) and (N, C).
    """
    rows, columns, peaks = _MeansAndPeaks.apply(x)
    return rows, columns, peaks


@torch.fx.wrap
def gate(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images times a gate of each row and a gate of each column, channel by channel.

    Args:
        x: (N, C, H, W).
        rows: (N, H, C).
        columns: (N, W, C).

    Returns:
        (N, C, H, W).
    """
    gated: Tensor = _Gate.apply(x, rows, columns)
    return gated
