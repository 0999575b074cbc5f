"""Attention as ONNX Runtime runs it fastest: the same arithmetic in operators that keep its blocked memory layout.

Between convolutions ONNX Runtime holds maps in blocks of 8 or 16 channels (NCHWc), as long as every operator there can.
A product that broadcasts cannot, nor a concatenation of places, nor a maximum over axes: the map is unblocked,
multiplied in runs of 7 or 14 numbers, and blocked again. So here gates are spread over the map before they multiply it
(nearest upsampling), rows and columns pass through their shared convolution one after the other, and hidden channels
that fit blocks badly are filled up with zeros, which add nothing. MobileNetV3-CaCo takes a quarter less time where the
batch is known (:attr:`Classifier.batch`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops.misc import SqueezeExcitation

from lentigo.networks.attention import CaCo, ChannelAttention, CoordinateAttention, SeCo, SqueezeExcite

BLOCK = 16
"""Channels of a block with AVX-512, the largest; a multiple of the others'."""


def deploy_attention(network: nn.Module) -> None:
    """Put the layers of this module in the place of a network's attention layers.

    Args:
        network: in evaluation; changed in place, and of no more use for training.
    """
    for name, child in list(network.named_children()):
        kind = _DEPLOYED.get(type(child))
        if kind is None:
            deploy_attention(child)
        else:
            setattr(network, name, kind(child).eval())


class DeployedSqueezeExcite(nn.Module):
    """`SqueezeExcite` for a runtime, and torchvision's layer that it is made from."""

    def __init__(self, layer: SqueezeExcitation) -> None:
        super().__init__()
        self.squeeze, (self.excite,) = _fill_up(layer.fc1, [layer.fc2])
        self.activation, self.scale = layer.activation, layer.scale_activation

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) channel by channel."""
        height, width = x.shape[2:]
        gate = self.scale(self.excite(self.activation(self.squeeze(F.avg_pool2d(x, (height, width))))))  # (N, C, 1, 1)
        return x * _spread(gate, height, width)


class DeployedChannelAttention(nn.Module):
    """`ChannelAttention` for a runtime."""

    def __init__(self, layer: ChannelAttention) -> None:
        super().__init__()
        self.fc1, (self.fc2,) = _fill_up(layer.fc1, [layer.fc2])
        self.activation = layer.activation

    def gate(self, x: Tensor, rows: Tensor) -> Tensor:
        """The gate of each channel, (N, C, 1, 1), from the map and its row means (N, C, H, 1)."""
        mean = self.activation(self.fc1(F.avg_pool2d(rows, (x.shape[2], 1))))
        peak = self.activation(self.fc1(F.max_pool2d(x, x.shape[2:], stride=x.shape[2:])))
        return torch.sigmoid(self.fc2(mean + peak))

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) channel by channel."""
        return x * _spread(self.gate(x, _row_means(x)), *x.shape[2:])


class DeployedCoordinateAttention(nn.Module):
    """`CoordinateAttention` for a runtime; normalisation is folded into its convolution."""

    def __init__(self, layer: CoordinateAttention) -> None:
        super().__init__()
        # Two outputs share the hidden channels.
        self.conv, (self.conv_h, self.conv_w) = _fill_up(
            fuse_conv_bn_eval(layer.conv, layer.norm), [layer.conv_h, layer.conv_w]
        )
        self.activation = layer.activation

    def gates(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The gates of rows (N, C, H, 1) and columns (N, C, 1, W), from their means of the same shapes."""
        gate_h = torch.sigmoid(self.conv_h(self.activation(self.conv(rows))))
        gate_w = torch.sigmoid(self.conv_w(self.activation(self.conv(columns))))
        return gate_h, gate_w

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W) by row and column."""
        gate_h, gate_w = self.gates(_row_means(x), _column_means(x))
        return x * _spread(gate_h, 1, x.shape[3]) * _spread(gate_w, x.shape[2], 1)


class DeployedCaCo(nn.Module):
    """`CaCo` for a runtime."""

    def __init__(self, layer: CaCo) -> None:
        super().__init__()
        self.channel = DeployedChannelAttention(layer.channel)
        self.coordinate = DeployedCoordinateAttention(layer.coordinate)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        height, width = x.shape[2:]
        rows, columns = _row_means(x), _column_means(x)
        gate = self.channel.gate(x, rows)  # (N, C, 1, 1)
        by_row = _spread(gate, height, 1)  # (N, C, H, 1)
        gate_h, gate_w = self.coordinate.gates(by_row * rows, _spread(gate, 1, width) * columns)
        return x * _spread(by_row * gate_h, 1, width) * _spread(gate_w, height, 1)


class DeployedSeCo(nn.Module):
    """`SeCo` for a runtime."""

    def __init__(self, layer: SeCo) -> None:
        super().__init__()
        self.excitation = DeployedSqueezeExcite(layer)
        self.coordinate = DeployedCoordinateAttention(layer.coordinate)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        out: Tensor = self.coordinate(self.excitation(x))
        return out


_DEPLOYED: dict[type[nn.Module], type[nn.Module]] = {
    SqueezeExcitation: DeployedSqueezeExcite,
    SqueezeExcite: DeployedSqueezeExcite,
    ChannelAttention: DeployedChannelAttention,
    CoordinateAttention: DeployedCoordinateAttention,
    CaCo: DeployedCaCo,
    SeCo: DeployedSeCo,
}


def _row_means(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H, 1), the mean of each row as pooling.

    Runtimes compute a mean over one axis slowly, and pooling in their own memory layout.
    """
    return F.avg_pool2d(x, (1, x.shape[3]))


def _column_means(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 1, W)."""
    return F.avg_pool2d(x, (x.shape[2], 1))


def _spread(gate: Tensor, height: int, width: int) -> Tensor:
    """Repeat each number of a gate ``height`` times down and ``width`` times across."""
    if height == width == 1:
        return gate
    return F.interpolate(gate, scale_factor=(float(height), float(width)), mode="nearest")


def _fill_up(first: nn.Conv2d, outputs: list[nn.Conv2d]) -> tuple[nn.Conv2d, list[nn.Conv2d]]:
    """1x1 convolutions in a row, the channels between them filled up to whole blocks where needed.

    It fills up by itself where that takes a third more at most, and reads fewer than a block's channels unblocked. What
    is added is zero before the activation; every activation in use maps zero to zero, and the weights behind it are
    zero.
    """
    hidden = first.out_channels
    blocks = -(-hidden // BLOCK) * BLOCK
    if hidden < BLOCK or 3 * blocks <= 4 * hidden:
        return first, outputs
    hidden = blocks
    return _resize(first, first.in_channels, hidden), [_resize(conv, hidden, conv.out_channels) for conv in outputs]


def _resize(conv: nn.Conv2d, inputs: int, outputs: int) -> nn.Conv2d:
    larger = nn.Conv2d(inputs, outputs, 1, bias=conv.bias is not None)
    with torch.no_grad():
        larger.weight.zero_()
        larger.weight[: conv.out_channels, : conv.in_channels] = conv.weight
        if larger.bias is not None and conv.bias is not None:
            larger.bias.zero_()
            larger.bias[: conv.out_channels] = conv.bias
    return larger
