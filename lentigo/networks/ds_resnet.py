"""DS-ResNet50: ResNet50 with a dual-scale dilated cascade and SimAM in every bottleneck."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.resnet import Bottleneck

from lentigo.networks.attention import SimAM
from lentigo.networks.network import PooledHead, PooledNetwork
from lentigo.networks.pretrained import load_pretrained, read_weights
from lentigo.networks.registry import register_network

Fusion = Literal["add", "concat"]


class DualScaleCascade(nn.Module):
    """Dual-scale cascade of DS-ResNet50: ``y = f(x)`` and ``z = g(y)``, fused as ``y + z`` or ``[y, z]``.

    f is a 3x3 convolution and g one of dilation 3 (Yu and Koltun, ICLR 2016), each with batch norm and ReLU.

    Args:
        channels: C of the input and of each convolution.
        stride: of the first convolution.
        depthwise: one filter per channel; False for dense convolutions.
        fusion: ``add`` gives C channels, ``concat`` 2 C.
    """

    def __init__(self, channels: int, *, stride: int = 1, depthwise: bool = True, fusion: Fusion = "add") -> None:
        super().__init__()
        self.fusion = fusion
        groups = channels if depthwise else 1
        self.near = _conv_norm(channels, dilation=1, stride=stride, groups=groups)
        self.far = _conv_norm(channels, dilation=3, stride=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C or 2 C, H / stride, W / stride)."""
        near = self.near(x)  # (N, C, H / stride, W / stride)
        far = self.far(near)
        out: Tensor = near + far if self.fusion == "add" else torch.cat([near, far], dim=1)
        return out


def _conv_norm(channels: int, *, dilation: int, stride: int, groups: int) -> nn.Sequential:
    conv = nn.Conv2d(
        channels, channels, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class DualScaleBottleneck(nn.Module):
    """Bottleneck of DS-ResNet50: 1x1 reduction, SimAM, dual-scale cascade, SimAM, 1x1 expansion, and a shortcut.

    Args:
        base: torchvision's bottleneck, whose 1x1 convolutions and shortcut are kept.
        depthwise: see :class:`DualScaleCascade`.
        fusion: see :class:`DualScaleCascade`.
    """

    def __init__(self, base: Bottleneck, *, depthwise: bool = True, fusion: Fusion = "add") -> None:
        super().__init__()
        width = base.conv1.out_channels
        self.conv1, self.bn1 = base.conv1, base.bn1
        self.attention1 = SimAM(width)
        self.cascade = DualScaleCascade(width, stride=base.stride, depthwise=depthwise, fusion=fusion)
        fused = width if fusion == "add" else 2 * width
        self.attention2 = SimAM(fused)
        if fusion == "concat":
            self.expand = nn.Conv2d(fused, base.conv3.out_channels, 1, bias=False)
            nn.init.kaiming_normal_(self.expand.weight, mode="fan_out", nonlinearity="relu")
            self.expand_norm = nn.BatchNorm2d(base.conv3.out_channels)
        else:
            self.conv3, self.bn3 = base.conv3, base.bn3
        self.relu = nn.ReLU(inplace=True)
        self.downsample = base.downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4 width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.attention1(self.relu(self.bn1(self.conv1(x))))  # (N, width, H, W)
        out = self.attention2(self.cascade(out))  # (N, width or 2 width, H / stride, W / stride)
        out = self.expand_norm(self.expand(out)) if self.cascade.fusion == "concat" else self.bn3(self.conv3(out))
        relu: Tensor = self.relu(out + shortcut)
        return relu


@register_network(
    "ds_resnet50",
    title="ResNet50 with SimAM and a dual-scale dilated cascade in every bottleneck",
    paper=(
        "DS-ResNet50: a dual-scale dilated-convolution ResNet50 for skin-lesion images; SimAM: Yang et al., ICML 2021"
    ),
    link="https://proceedings.mlr.press/v139/yang21o.html",
    licence="BSD-3-Clause (torchvision)",
)
class DSResNet50(PooledNetwork):
    """torchvision's ResNet50 with its sixteen bottlenecks replaced by :class:`DualScaleBottleneck`.

    Args:
        classes: K, the number of outputs.
        depthwise: see :class:`DualScaleCascade`.
        fusion: see :class:`DualScaleCascade`.
        dropout: before the last layer, 0 to 1.
    """

    def __init__(self, classes: int, *, depthwise: bool = True, fusion: Fusion = "add", dropout: float = 0.0) -> None:
        super().__init__(PooledHead(2048, classes, dropout=dropout))
        self.dense = not depthwise
        base = resnet50(weights=None)
        self.features = nn.Sequential()
        for name, child in base.named_children():
            if name in ("avgpool", "fc"):
                continue
            if name.startswith("layer"):
                child = nn.Sequential(
                    *(DualScaleBottleneck(block, depthwise=depthwise, fusion=fusion) for block in child.children())
                )
            self.features.add_module(name, child)

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, 2048, S / 32, S / 32) of normalised images (N, 3, S, S)."""
        maps: Tensor = self.features(x)
        return maps

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load torchvision's ResNet50 weights, or a file; see ``Network.load_backbone``."""
        state = read_weights(source, ResNet50_Weights.IMAGENET1K_V1)
        with torch.device("meta"):  # names and shapes only
            reference = resnet50(weights=None).state_dict()
        self.load_report = load_pretrained(
            self, self._renamed(state), self._renamed(reference), source=str(source), name=self.name
        )

    def _renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate torchvision's names; the 3x3 convolution maps to the cascade's first if that is dense."""
        renamed = {}
        for key, value in state.items():
            if not key.startswith(("features.", "head.")):
                key = f"head.output.{key[3:]}" if key.startswith("fc.") else f"features.{key}"
                if self.dense:
                    key = re.sub(r"(layer\d\.\d+)\.conv2\.", r"\1.cascade.near.0.", key)
                    key = re.sub(r"(layer\d\.\d+)\.bn2\.", r"\1.cascade.near.1.", key)
            renamed[key] = value
        return renamed
