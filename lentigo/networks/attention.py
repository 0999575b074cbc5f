"""Attention layers for small convolutional networks.

Every layer is built as ``Layer(channels, ...)`` and maps (N, C, H, W) to the same shape by multiplying its input by a
gate. Means over positions use ``x.mean((2, 3), keepdim=True)``, whose gradient is deterministic on every device.

:func:`gate_layers` yields the last layer of each gate. If its weights are zero, the gate is constant (see
:func:`make_gate_constant`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import SqueezeExcitation

from lentigo.networks import gating


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of ``divisor``, never down by more than 10 % (Sandler et al., CVPR 2018)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class SqueezeExcite(SqueezeExcitation):  # type: ignore[misc]
    """Squeeze-and-excitation as in MobileNetV3 (Hu et al., CVPR 2018; Howard et al., ICCV 2019).

    torchvision's layer (1x1 convolution, ReLU, 1x1 convolution, hard sigmoid; with biases) with the width of its
    MobileNetV3, so that the pretrained keys ``fc1.*`` and ``fc2.*`` load.

    Args:
        channels: C of the input.
        reduction: the hidden width is ``channels // reduction``, rounded to a multiple of 8.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__(channels, make_divisible(channels // reduction), scale_activation=nn.Hardsigmoid)


def eca_kernel_size(channels: int, gamma: float = 2.0, offset: float = 1.0) -> int:
    """Return ECA's kernel size: the odd number nearest ``(log2(C) + offset) / gamma`` (Wang et al., equation 12)."""
    size = int(abs((math.log2(channels) + offset) / gamma))
    return size if size % 2 else size + 1


class EfficientChannelAttention(nn.Module):
    """Efficient channel attention: a 1-D convolution over the channel means, without bias (Wang et al., CVPR 2020).

    Args:
        channels: C of the input.
        kernel_size: number of neighbouring channels; None for :func:`eca_kernel_size`.
    """

    def __init__(self, channels: int, kernel_size: int | None = None) -> None:
        super().__init__()
        size = eca_kernel_size(channels) if kernel_size is None else kernel_size
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) channel by channel."""
        pooled = x.mean((2, 3)).unsqueeze(1)  # (N, 1, C)
        gate = torch.sigmoid(self.conv(pooled)).squeeze(1)  # (N, C)
        return x * gate[:, :, None, None]


class ChannelAttention(nn.Module):
    """Channel attention of CBAM (Woo et al., ECCV 2018, equation 2).

    A two-layer perceptron without bias maps the channel means and the channel maxima; the gate is the sigmoid of the
    sum.

    Args:
        channels: C of the input.
        reduction: the hidden width is ``channels // reduction``, at least 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def gate(self, means: Tensor, peaks: Tensor) -> Tensor:
        """Return channel gates (N, C), in (0, 1), from channel means (N, C) and maxima (N, C)."""
        # (N, C / r).
        hidden = self.activation(_pointwise(self.fc1, means)) + self.activation(_pointwise(self.fc1, peaks))
        return torch.sigmoid(_pointwise(self.fc2, hidden))  # fc2 is linear: one pass for both

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) channel by channel."""
        return x * self.gate(x.mean((2, 3)), x.amax((2, 3)))[:, :, None, None]


class SpatialAttention(nn.Module):
    """Spatial attention of CBAM (Woo et al., ECCV 2018, equation 3): a convolution over the channel mean and maximum.

    Args:
        channels: C of the input (unused; every attention takes it).
        kernel_size: odd size of the convolution.
    """

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) position by position."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return x * torch.sigmoid(self.conv(summary))


class CBAM(nn.Module):
    """CBAM: channel attention, then spatial attention (Woo et al., ECCV 2018).

    Args:
        channels: C of the input.
        reduction: of the channel attention.
        kernel_size: of the spatial attention.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        out: Tensor = self.spatial(self.channel(x))
        return out


class CoordinateAttention(nn.Module):
    """Coordinate attention (Hou, Zhou, Feng, CVPR 2021, equations 4-8).

    Row means and column means pass through a shared 1x1 convolution, then each through its own to a gate. The output is
    the input times both gates.

    Args:
        channels: C of the input.
        reduction: the hidden width is ``channels // reduction``, at least ``min_channels``.
        min_channels: minimum hidden width.
    """

    def __init__(self, channels: int, reduction: int = 32, min_channels: int = 8) -> None:
        super().__init__()
        hidden = max(min_channels, channels // reduction)
        self.conv = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.activation = nn.Hardswish()
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def gates(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return gates in (0, 1) of rows (N, H, C) and columns (N, W, C) from their means of the same shapes."""
        both = _pointwise(self.conv, torch.cat([rows, columns], dim=1))  # (N, H + W, hidden)
        both = self.norm(both.flatten(0, 1)[:, :, None, None]).view_as(both)
        hidden_h, hidden_w = self.activation(both).split([rows.shape[1], columns.shape[1]], dim=1)
        return torch.sigmoid(_pointwise(self.conv_h, hidden_h)), torch.sigmoid(_pointwise(self.conv_w, hidden_w))

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) by row and column."""
        rows, columns = gating.means(x)
        return gating.gate(x, *self.gates(rows, columns))


class CaCo(nn.Module):
    """CaCo: CBAM's channel attention, then coordinate attention (Shi et al., 2023).

    The channel gate is constant over positions, so it commutes with the means of rows and columns. This saves one of
    three products with the large input.

    Args:
        channels: C of the input.
        channel_reduction: of the channel attention.
        coordinate_reduction: of the coordinate attention.
    """

    def __init__(self, channels: int, channel_reduction: int = 16, coordinate_reduction: int = 32) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, channel_reduction)
        self.coordinate = CoordinateAttention(channels, coordinate_reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        rows, columns, peaks = gating.means_and_peaks(x)  # (N, H, C), (N, W, C), (N, C)
        gate = self.channel.gate(rows.mean(1), peaks)[:, None]  # (N, 1, C)
        gate_h, gate_w = self.coordinate.gates(gate * rows, gate * columns)
        return gating.gate(x, gate * gate_h, gate_w)


class SeCo(SqueezeExcite):
    """SeCo: squeeze-and-excitation followed by coordinate attention (the ablation of Shi et al., 2023).

    The SE part keeps its key names, so pretrained SE weights load.

    Args:
        channels: C of the input.
        reduction: of the squeeze-and-excitation.
        coordinate_reduction: of the coordinate attention.
    """

    def __init__(self, channels: int, reduction: int = 4, coordinate_reduction: int = 32) -> None:
        super().__init__(channels, reduction)
        self.coordinate = CoordinateAttention(channels, coordinate_reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        out: Tensor = self.coordinate(super().forward(x))
        return out


class SimAM(nn.Module):
    """SimAM: parameter-free attention from the energy of each position (Yang et al., ICML 2021, equation 5).

    With mean and variance over the H x W positions of a channel, the output is ``x * sigmoid(1 / e*)`` with
    ``1 / e* = ((t - mean)^2 + 2 var + 2 lambda) / (4 (var + lambda))``. The variance divides by H x W - 1, as in the
    authors' code.

    Args:
        channels: C of the input (unused; every attention takes it).
        strength: lambda, the regulariser.
    """

    def __init__(self, channels: int, strength: float = 1e-4) -> None:
        super().__init__()
        self.channels = channels
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) position by position."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # squares and their sum overflow float16
        squares = (wide - wide.mean((2, 3), keepdim=True)).square()  # (N, C, H, W)
        places = max(1, x.shape[2] * x.shape[3] - 1)
        variance = squares.sum((2, 3), keepdim=True) / places  # (N, C, 1, 1)
        gate = torch.sigmoid(squares / (4 * (variance + self.strength)) + 0.5)
        return x * gate.to(x.dtype)


ATTENTIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
    "cbam": CBAM,
    "coordinate": CoordinateAttention,
    "caco": CaCo,
    "seco": SeCo,
    "simam": SimAM,
}
"""Attention classes by name; each takes the number of channels."""


def gate_layers(attention: nn.Module) -> Iterator[nn.Conv1d | nn.Conv2d]:
    """Yield the last layer before each sigmoid of an attention's new parts (not of SeCo's pretrained SE)."""
    for module in attention.modules():
        match module:
            case EfficientChannelAttention() | SpatialAttention():
                yield module.conv
            case ChannelAttention():
                yield module.fc2
            case CoordinateAttention():
                yield module.conv_h
                yield module.conv_w


def make_gate_constant(attention: nn.Module) -> float:
    """Set the last layer of every gate to zero, so that each gate is sigmoid(0) = 1/2 for every image.

    The layers remain trainable: a zero layer receives gradients because its input is not zero.

    Returns:
        The constant by which the new parts multiply their input: 1/2 per gate.
    """
    gates = 0
    for layer in gate_layers(attention):
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        gates += 1
    return float(0.5**gates)


def _pointwise(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to channels-last data, (..., C) -> (..., D)."""
    return F.linear(x, convolution.weight.flatten(1), convolution.bias)
