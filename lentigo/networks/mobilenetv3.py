"""MobileNetV3-Small with any attention in the place of its squeeze-and-excitation (the CaCo paper's family)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Small_Weights, mobilenet_v3_small
from torchvision.ops.misc import SqueezeExcitation

from lentigo.networks.attention import ATTENTIONS, make_gate_constant
from lentigo.networks.network import Network, PooledHead, initialise
from lentigo.networks.pretrained import Pretrained, load_pretrained, read_state_dict, torchvision_state_dict
from lentigo.networks.registry import register_network

Start = Literal["random", "identity"]
CACO_PAPER = (
    "Shi, Fang, Luo, Liu: Skin Tumor Classification Based on Improved MobileNetV3-Small. Computer Systems & Applications 32(12), 2023"
)
MOBILENET_PAPER = "Howard et al.: Searching for MobileNetV3. ICCV 2019"


class MobileNetV3(Network):
    """torchvision's MobileNetV3-Small behind the common head; ``features.*`` keeps torchvision's key names.

    Args:
        classes: K, the number of outputs.
        attention: name of the attention (a key of ``ATTENTIONS``) that replaces each of the nine SE modules.
        start: ``random``, or ``identity`` to begin the new gates at a constant.
        dropout: before the last layer, 0 to 1.
    """

    def __init__(self, classes: int, *, attention: str = "se", start: Start = "random", dropout: float = 0.2) -> None:
        super().__init__()
        base = mobilenet_v3_small(weights=None)
        self.features: nn.Sequential = base.features
        self.head = PooledHead(576, classes, hidden=1024, activation=nn.Hardswish(), dropout=dropout)
        initialise(self.head)
        if attention != "se":
            self._replace_attention(attention, start)

    def _replace_attention(self, attention: str, start: Start) -> None:
        for block in self.features:
            layers = getattr(block, "block", ())
            for position, layer in enumerate(layers):
                if isinstance(layer, SqueezeExcitation):
                    new = ATTENTIONS[attention](layer.fc1.in_channels)
                    initialise(new)
                    if start == "identity":
                        make_gate_constant(new)
                    layers[position] = new

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, 576, S / 32, S / 32) of normalised images (N, 3, S, S)."""
        maps: Tensor = self.features(x)
        return maps

    def load_backbone(self, source: Literal["imagenet"] | Path, name: str) -> None:
        """Load torchvision's weights, or a file named as torchvision names them.

        Raises:
            NetworkError: the weights cannot be had, or are of another architecture.
        """
        state = torchvision_state_dict(MobileNet_V3_Small_Weights.IMAGENET1K_V1) if source == "imagenet" else read_state_dict(source)
        state = {_rename(key): value for key, value in state.items()}
        reference = mobilenet_v3_small(weights=None).state_dict()
        self.load_report = load_pretrained(self, state, reference, source=str(source), name=name)


def _rename(key: str) -> str:
    """Torchvision's names of the classifier in ours."""
    return key.replace("classifier.0.", "head.hidden.").replace("classifier.3.", "head.output.")


def _register(attention: str, title: str, paper: str, link: str) -> None:
    name = f"mobilenetv3_small_{attention}"

    @register_network(name, title=title, paper=paper, link=link, licence="BSD-3-Clause (torchvision)")
    def build(*, classes: int, pretrained: Pretrained, start: Start = "random", dropout: float = 0.2) -> Network:
        network = MobileNetV3(classes, attention=attention, start=start, dropout=dropout)
        if pretrained is not None:
            network.load_backbone(pretrained, name)
        return network


_MOBILENET_LINK = "https://arxiv.org/abs/1905.02244"
_register("none", "MobileNetV3-Small without any attention", MOBILENET_PAPER, _MOBILENET_LINK)
_register("se", "MobileNetV3-Small as published, with squeeze-and-excitation", MOBILENET_PAPER, _MOBILENET_LINK)
_register("eca", "MobileNetV3-Small, SE replaced by efficient channel attention", CACO_PAPER, "")
_register("cbam", "MobileNetV3-Small, SE replaced by CBAM", CACO_PAPER, "")
_register("coordinate", "MobileNetV3-Small, SE replaced by coordinate attention", CACO_PAPER, "")
_register("caco", "MobileNetV3-Small, SE replaced by channel and coordinate attention", CACO_PAPER, "")
_register("seco", "MobileNetV3-Small, coordinate attention after each SE", CACO_PAPER, "")
