"""The papers' baselines from torchvision, behind the common interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision import models as tv

from lentigo.networks.network import Network, PooledHead, PooledNetwork
from lentigo.networks.pretrained import load_pretrained, read_weights
from lentigo.networks.registry import register_network

_LICENCE = "BSD-3-Clause (torchvision)"


@dataclass(frozen=True, slots=True)
class _Baseline:
    """How torchvision builds one network.

    Attributes:
        build: torchvision's function.
        weights: its ImageNet weights.
        output: name of its last linear layer.
        options: further arguments of ``build``.
        rescale: whether its weights were trained on images scaled to [-1, 1] (as in TensorFlow) instead of ImageNet's
            normalisation.
    """

    build: Callable[..., nn.Module]
    weights: tv.WeightsEnum
    output: str = "fc"
    options: Mapping[str, object] = field(default_factory=dict)
    rescale: bool = False


class Rescale(nn.Module):
    """Convert images normalised by ImageNet's statistics to the range [-1, 1], as torchvision's Inception does."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("scale", (deviation / 0.5).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rescale (N, 3, S, S)."""
        return x * self.scale + self.shift


class TorchvisionNetwork(PooledNetwork):
    """A torchvision network that ends in global average pooling and one linear layer.

    Its layers become ``features`` (with torchvision's names) and its last layer ``head.output``.

    Args:
        classes: K, the number of outputs.
        baseline: how to build it.
        dropout: before the last layer, 0 to 1.
    """

    def __init__(self, classes: int, baseline: _Baseline, dropout: float) -> None:
        base = baseline.build(weights=None, num_classes=classes, **baseline.options)
        output = base.get_submodule(baseline.output)
        assert isinstance(output, nn.Linear)
        super().__init__(PooledHead(output.in_features, classes, dropout=dropout))
        self.head.output = output  # with torchvision's own initialisation
        self.baseline = baseline
        self.rescale = Rescale() if baseline.rescale else nn.Identity()
        self.features = nn.Sequential()
        children = dict(base.named_children())
        for name, child in children["features"].named_children() if "features" in children else children.items():
            if name not in ("avgpool", "dropout", "fc"):
                self.features.add_module(name, child)

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of normalised images (N, 3, S, S)."""
        maps: Tensor = self.features(self.rescale(x))
        return maps

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load torchvision's weights, or a file; see ``Network.load_backbone``."""
        state = read_weights(source, self.baseline.weights)
        own = self.state_dict()
        state = {key if key in own else self._rename(key): value for key, value in state.items()}
        self.load_report = load_pretrained(self, state, own, source=str(source), name=self.name)

    def _rename(self, key: str) -> str:
        if key.startswith(f"{self.baseline.output}."):
            return f"head.output.{key.removeprefix(self.baseline.output + '.')}"
        return f"features.{key}"


@register_network(
    "vgg16",
    title="VGG16; no pooled head, hence no class-activation map",
    paper="Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015",
    link="https://arxiv.org/abs/1409.1556",
    licence=_LICENCE,
)
class VGG16(Network):
    """torchvision's VGG16, without a closed-form map: its head has 7x7 positions and three linear layers.

    Args:
        classes: K, the number of outputs.
        dropout: after each hidden layer of the head, 0 to 1.
    """

    head: None

    def __init__(self, classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.head = None
        base = tv.vgg16(weights=None, num_classes=classes, dropout=dropout)
        self.features: nn.Sequential = base.features
        self.avgpool: nn.AdaptiveAvgPool2d = base.avgpool
        self.classifier: nn.Sequential = base.classifier

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, 512, S / 32, S / 32) of normalised images (N, 3, S, S)."""
        maps: Tensor = self.features(x)
        return maps

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and embedding (N, 4096) of feature maps (N, 512, h, w)."""
        embedding = self.classifier[:5](self.avgpool(maps).flatten(1))  # linear, ReLU, dropout, linear, ReLU
        return self.classifier[5:](embedding), embedding

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load torchvision's weights, or a file; see ``Network.load_backbone``."""
        state = read_weights(source, tv.VGG16_Weights.IMAGENET1K_V1)
        self.load_report = load_pretrained(self, state, self.state_dict(), source=str(source), name=self.name)


def _register(
    name: str,
    title: str,
    paper: str,
    link: str,
    baseline: _Baseline,
    default_dropout: float = 0.0,
    input_size: int = 224,
) -> None:
    @register_network(name, title=title, paper=paper, link=link, licence=_LICENCE, input_size=input_size)
    def build(classes: int, *, dropout: float = default_dropout) -> Network:
        return TorchvisionNetwork(classes, baseline, dropout)


_RESNET = ("He et al.: Deep Residual Learning for Image Recognition. CVPR 2016", "https://arxiv.org/abs/1512.03385")
_register("resnet18", "ResNet18", *_RESNET, _Baseline(tv.resnet18, tv.ResNet18_Weights.IMAGENET1K_V1))
_register("resnet50", "ResNet50", *_RESNET, _Baseline(tv.resnet50, tv.ResNet50_Weights.IMAGENET1K_V1))
_register(
    "shufflenetv2_x2",
    "ShuffleNetV2 of width 2",
    "Ma et al.: ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design. ECCV 2018",
    "https://arxiv.org/abs/1807.11164",
    _Baseline(tv.shufflenet_v2_x2_0, tv.ShuffleNet_V2_X2_0_Weights.IMAGENET1K_V1),
)
_register(
    "efficientnet_b0",
    "EfficientNet-B0",
    "Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019",
    "https://arxiv.org/abs/1905.11946",
    _Baseline(tv.efficientnet_b0, tv.EfficientNet_B0_Weights.IMAGENET1K_V1, output="classifier.1"),
    default_dropout=0.2,
)
_register(
    "mobilenetv2",
    "MobileNetV2",
    "Sandler et al.: MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018",
    "https://arxiv.org/abs/1801.04381",
    _Baseline(tv.mobilenet_v2, tv.MobileNet_V2_Weights.IMAGENET1K_V1, output="classifier.1"),
    default_dropout=0.2,
)
# Auxiliary classifiers are used in training only, and not by lentigo.
_INCEPTION: dict[str, object] = {"aux_logits": False, "init_weights": True}
_register(
    "googlenet",
    "GoogLeNet, without auxiliary classifiers",
    "Szegedy et al.: Going Deeper with Convolutions. CVPR 2015",
    "https://arxiv.org/abs/1409.4842",
    _Baseline(tv.googlenet, tv.GoogLeNet_Weights.IMAGENET1K_V1, options=_INCEPTION, rescale=True),
    default_dropout=0.2,
)
_register(
    "inceptionv3",
    "Inception-v3, without the auxiliary classifier; images of 75 pixels at least",
    "Szegedy et al.: Rethinking the Inception Architecture for Computer Vision. CVPR 2016",
    "https://arxiv.org/abs/1512.00567",
    _Baseline(tv.inception_v3, tv.Inception_V3_Weights.IMAGENET1K_V1, options=_INCEPTION, rescale=True),
    default_dropout=0.5,
    input_size=299,
)
