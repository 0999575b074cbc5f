"""MobileNetV3-Small with squeeze-and-excitation replaced by another attention, and the Hypo paper's variant.

The pretrained SE gates are almost constant: between images, a channel's gate varies by a few hundredths, while channels
differ by tenths. Removing SE therefore changes the scale of the pretrained features. ``start="se"`` keeps it: each
gate's expected value is computed from the pretrained weights (:func:`expected_se_gates`) and multiplied into the
following convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Small_Weights, mobilenet_v3_small
from torchvision.models.mobilenetv3 import InvertedResidual
from torchvision.ops import StochasticDepth
from torchvision.ops.misc import Conv2dNormActivation, SqueezeExcitation

from lentigo.errors import NetworkError
from lentigo.networks.attention import ATTENTIONS, make_gate_constant
from lentigo.networks.network import PooledHead, PooledNetwork, initialise
from lentigo.networks.pretrained import load_pretrained, read_weights
from lentigo.networks.registry import Builder, register_network

Start = Literal["random", "identity", "se"]
LEAKY_SLOPE = 0.01
NORM_MOMENTUM = 0.1


class MobileNetV3(PooledNetwork):
    """torchvision's MobileNetV3-Small (Howard et al., ICCV 2019) with the common head and another attention.

    ``features.*`` keeps torchvision's parameter names.

    Args:
        classes: K, the number of outputs.
        attention: name of the attention (a key of ``ATTENTIONS``) that replaces each of the nine SE modules.
        leaky: replace every ReLU and Hardswish by LeakyReLU.
        dilation: use dilation 2 in the stride-1 depthwise convolutions of the last two stages.
        start: initialisation of new attention. ``random``: as any layer. ``identity``: a constant gate; after weights
            are loaded the next convolution is divided by the constant, so that the features are those without
            attention. ``se``: a constant gate; the next convolution is also multiplied by the expected value of the
            pretrained SE gates.
        dropout: before the last layer, 0 to 1.
        stochastic_depth: probability of skipping the last residual block in training, per image, rising linearly from
            the first (Huang et al., ECCV 2016); 0 to 1.
        norm_momentum: of the running statistics of every batch normalisation, 0 to 1. torchvision's 0.01 suits long
            training from scratch; after a change of data or attention the statistics lag by hundreds of steps, and so
            does evaluation.
    """

    def __init__(
        self,
        classes: int,
        *,
        attention: str = "se",
        leaky: bool = False,
        dilation: bool = False,
        start: Start = "random",
        dropout: float = 0.2,
        stochastic_depth: float = 0.0,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        activation = nn.LeakyReLU(LEAKY_SLOPE) if leaky else nn.Hardswish()
        super().__init__(PooledHead(576, classes, hidden=1024, activation=activation, dropout=dropout))
        initialise(self.head)
        self.start = start
        self.features: nn.Sequential = mobilenet_v3_small(weights=None).features
        self._gates: dict[str, float] = {}  # block name -> constant of its new gates
        if attention != "se":
            self._replace_attention(attention)
        if leaky:
            _use_leaky(self.features)
        if dilation:
            _dilate(self.features)
        if stochastic_depth:
            _drop_blocks(self.features, stochastic_depth)
        for layer in self.features.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = norm_momentum

    def _replace_attention(self, attention: str) -> None:
        for name, block, position in _attention_blocks(self.features):
            new = ATTENTIONS[attention](block[position].fc1.in_channels)
            initialise(new)
            self._gates[name] = 1.0 if self.start == "random" else make_gate_constant(new)
            block[position] = new

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, 576, S / 32, S / 32) of normalised images (N, 3, S, S)."""
        maps: Tensor = self.features(x)
        return maps

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load torchvision's weights, or a file; see ``Network.load_backbone``.

        Raises:
            NetworkError: as there, and if ``start="se"`` finds no weights of SE.
        """
        weights = read_weights(source, MobileNet_V3_Small_Weights.IMAGENET1K_V1)
        state = {_rename(key): value for key, value in weights.items()}
        reference = mobilenet_v3_small(weights=None).state_dict()
        self.load_report = load_pretrained(self, state, reference, source=str(source), name=self.name)
        if self.load_report.new or any(key not in self.state_dict() for key in state if key.startswith("features.")):
            self._rescale_projections(state, str(source))  # not this network's own weights

    @torch.no_grad()
    def _rescale_projections(self, state: Mapping[str, Tensor], source: str) -> None:
        """Divide the convolution after each new attention by its constant; for ``se``, multiply it by the old gate."""
        if self.start == "random":
            return
        gates = expected_se_gates(state, source) if self.start == "se" else {}
        for name, block, position in _attention_blocks(self.features):
            if name not in self._gates:
                continue
            factor: Tensor | float = 1.0
            if not isinstance(block[position], SqueezeExcitation):
                factor = gates.get(name, factor)
            project = block[position + 1][0]
            project.weight.mul_(torch.as_tensor(factor / self._gates[name]).view(1, -1, 1, 1))


class Hypo(MobileNetV3):
    """The variant of Gao et al. (2024): MobileNetV3-Small with ECA, LeakyReLU and dilation.

    Args:
        classes: K, the number of outputs.
        eca: replace SE by efficient channel attention.
        leaky: see :class:`MobileNetV3`.
        dilation: see :class:`MobileNetV3`.
        **options: the other options of :class:`MobileNetV3`.
    """

    def __init__(
        self, classes: int, *, eca: bool = True, leaky: bool = True, dilation: bool = True, **options: Any
    ) -> None:
        super().__init__(classes, attention="eca" if eca else "se", leaky=leaky, dilation=dilation, **options)


_ATTENTION_BLOCKS = (1, *range(4, 12))  # all but two of the eleven blocks (Howard et al., table 2)


def _attention_blocks(features: nn.Sequential) -> Iterator[tuple[str, Any, int]]:
    """Yield each block with attention: its name, its layers, and the attention's index (just before the projection)."""
    for index in _ATTENTION_BLOCKS:
        layers = features[index].block
        assert isinstance(layers, nn.Sequential)
        projection = max(place for place, layer in enumerate(layers) if isinstance(layer, Conv2dNormActivation))
        yield f"features.{index}.block", layers, projection - 1


@torch.no_grad()
def expected_se_gates(state: Mapping[str, Tensor], source: str = "the state dict") -> dict[str, Tensor]:
    """Compute the value of each pretrained SE gate on an average input, from the weights alone.

    The batch normalisation before an SE gives channel c approximately the distribution N(beta_c, gamma_c^2). The SE's
    input is the mean of the activation over this distribution, and its two layers give the gate.

    Args:
        state: torchvision's MobileNetV3-Small weights, ``features.*``.
        source: the file's name, for messages.

    Returns:
        Gate (C,), 0 to 1, by block name (``features.4.block``).

    Raises:
        NetworkError: the weights have no SE.
    """
    base = mobilenet_v3_small(weights=None)
    missing = [key for key in base.load_state_dict(dict(state), strict=False).missing_keys if ".fc" in key]
    if missing:
        raise NetworkError(
            f"{source}: start='se' needs weights with squeeze-and-excitation, and {missing[0]!r} is missing; use"
            " start='identity'"
        )
    quantiles = (torch.arange(1024, dtype=torch.float64) + 0.5) / 1024
    normal = (math.sqrt(2) * torch.erfinv(2 * quantiles - 1)).float()[:, None]  # (1024, 1)
    gates = {}
    for name, block, position in _attention_blocks(base.features):
        _, norm, activation = block[position - 1]
        seen = activation(norm.bias + norm.weight * normal).mean(0)  # (C,)
        se = block[position]
        gates[name] = se.scale_activation(se.fc2(se.activation(se.fc1(seen.view(1, -1, 1, 1))))).flatten()
    return gates


def _use_leaky(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU | nn.Hardswish):
            setattr(module, name, nn.LeakyReLU(LEAKY_SLOPE, inplace=True))
        else:
            _use_leaky(child)


def _dilate(features: nn.Sequential) -> None:
    depthwise = [layer for layer in features.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    strided = [index for index, layer in enumerate(depthwise) if layer.stride == (2, 2)]
    for layer in depthwise[strided[-2] :]:
        if layer.stride == (1, 1):
            layer.dilation = (2, 2)
            layer.padding = (layer.kernel_size[0] - 1, layer.kernel_size[1] - 1)


def _drop_blocks(features: nn.Sequential, rate: float) -> None:
    blocks = [block for block in features if isinstance(block, InvertedResidual)]
    for place, block in enumerate(blocks, 1):
        if block.use_res_connect:
            block.block.append(StochasticDepth(rate * place / len(blocks), "row"))


def _rename(key: str) -> str:
    """Translate torchvision's names of the classifier."""
    return key.replace("classifier.0.", "head.hidden.").replace("classifier.3.", "head.output.")


_LICENCE = "BSD-3-Clause (torchvision)"
_HOWARD = ("Howard et al.: Searching for MobileNetV3. ICCV 2019", "https://arxiv.org/abs/1905.02244")
_SHI = (
    (
        "Shi, Fang, Luo, Liu: Skin Tumor Classification Based on Improved MobileNetV3-Small. Computer Systems &"
        " Applications 32(12), 2023"
    ),
    "",
)
_GAO = (
    (
        "Gao, Xiao, Yang: Recognition of Hypopigmented Skin Diseases Based on Improved MobileNetV3-Small. Computer and"
        " Modernization 2024(5)"
    ),
    "https://doi.org/10.3969/j.issn.1006-2475.2024.05.021",
)


def _register(name: str, title: str, paper: tuple[str, str], builder: Builder) -> None:
    register_network(name, title=title, paper=paper[0], link=paper[1], licence=_LICENCE)(builder)


def _stem(
    classes: int, *, layers: Literal[7, 10] = 7, dropout: float = 0.2, norm_momentum: float = NORM_MOMENTUM
) -> MobileNetV3:
    network = MobileNetV3(classes, dropout=dropout, norm_momentum=norm_momentum)
    network.features = network.features[:layers]
    network.head = PooledHead({7: 40, 10: 96}[layers], classes, dropout=dropout)
    initialise(network.head)
    return network


for _attention, _title, _paper in (
    ("se", "MobileNetV3-Small as published, with squeeze-and-excitation", _HOWARD),
    ("none", "MobileNetV3-Small without any attention", _HOWARD),
    ("eca", "MobileNetV3-Small, SE replaced by efficient channel attention", _SHI),
    ("cbam", "MobileNetV3-Small, SE replaced by CBAM", _SHI),
    ("coordinate", "MobileNetV3-Small, SE replaced by coordinate attention", _SHI),
    ("caco", "MobileNetV3-Small, SE replaced by channel and coordinate attention", _SHI),
    ("seco", "MobileNetV3-Small, coordinate attention after each SE", _SHI),
):
    _builder = partial(MobileNetV3, attention=_attention, leaky=False, dilation=False)
    _register(f"mobilenetv3_small_{_attention}", _title, _paper, _builder)
    if _attention == "se":
        _register("mobilenetv3_small", _title, _paper, _builder)
_register(
    "mobilenetv3_small_hypo",
    "MobileNetV3-Small with ECA, LeakyReLU and dilated convolutions, each switchable",
    _GAO,
    Hypo,
)
_register(
    "mobilenetv3_small_stem",
    "The first seven or ten of MobileNetV3-Small's thirteen layers, for texture and colour",
    _HOWARD,
    _stem,
)
