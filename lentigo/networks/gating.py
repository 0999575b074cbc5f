"""Means, maxima and gates of rows and columns, with explicit derivatives.

With autograd, the six uses of the input in `lentigo.networks.attention.CaCo` take about thirty passes over memory, many
of them between memory layouts. These functions work on (N, H, W, C), the memory layout of ``channels_last`` images,
which halves the training time of CaCo and coordinate attention. Tracing records each function as one node.
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
        weights = peaks / gradient.sum((1, 2))  # shared among equal maxima, as in amax
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
    """Compute the means of rows and of columns.

    Args:
        x: images (N, C, H, W).

    Returns:
        Row means (N, H, C) and column means (N, W, C).
    """
    rows, columns = _Means.apply(x)
    return rows, columns


@torch.fx.wrap
def means_and_peaks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the means of rows and of columns, and the maximum of each channel.

    Args:
        x: images (N, C, H, W).

    Returns:
        Row means (N, H, C), column means (N, W, C) and maxima (N, C).
    """
    rows, columns, peaks = _MeansAndPeaks.apply(x)
    return rows, columns, peaks


@torch.fx.wrap
def gate(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply images by row gates and column gates, channel by channel.

    Args:
        x: images (N, C, H, W).
        rows: gates (N, H, C).
        columns: gates (N, W, C).

    Returns:
        (N, C, H, W).
    """
    gated: Tensor = _Gate.apply(x, rows, columns)
    return gated
