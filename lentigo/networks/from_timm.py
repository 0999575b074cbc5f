"""Networks of the timm library behind the common interface: some by their own name, any as ``timm/NAME``.

timm is imported inside functions, because its import takes a second and most networks do not need it.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lentigo.errors import NetworkError, first_line
from lentigo.networks.cam import activation_slope
from lentigo.networks.network import Network, PooledHead
from lentigo.networks.pretrained import load_pretrained, read_state_dict
from lentigo.networks.registry import Builder, NetworkInfo, read_options, register_family, register_network

PREFIX = "timm/"


class TimmNetwork(Network):
    """A timm network; a pooled linear head (one or two layers) becomes a ``PooledHead``.

    Args:
        architecture: timm's name.
        classes: K, the number of outputs.
        dropout: before the last layer, 0 to 1.

    Raises:
        NetworkError: the network has more than one output layer.
    """

    features: Any

    def __init__(self, architecture: str, classes: int, dropout: float) -> None:
        import timm

        super().__init__()
        self.architecture = architecture
        model: Any = timm.create_model(architecture, pretrained=False, num_classes=classes, drop_rate=dropout)
        self.features = model
        self.head = pooled_head(model, dropout)
        self._moved: dict[str, str] = {}  # timm's prefix of a head layer -> ours
        if self.head is not None:
            self._replace_classifier()
        elif not isinstance(model.get_classifier(), nn.Module):
            raise NetworkError(
                f"{PREFIX}{architecture} has several output layers (distillation); lentigo takes networks with one"
            )

    def _replace_classifier(self) -> None:
        classifier = self.features.pretrained_cfg["classifier"]
        self._moved = {f"{classifier}.": "head.output."}
        self.features.set_submodule(classifier, nn.Identity())
        if self.head is not None and self.head.hidden is not None:
            self._moved |= {"conv_head.": "head.hidden.", "norm_head.": "head.norm."}
            self.features.conv_head = nn.Identity()
            self.features.norm_head = nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return feature maps (N, C, h, w) of images; for transformers without a pooled head, timm's tokens."""
        maps: Tensor = self.features.forward_features(x)
        return maps

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and embedding (N, D)."""
        if self.head is not None:
            logits, embedding = self.head(maps)
        else:
            embedding = self.features.forward_head(maps, pre_logits=True)
            logits = self.features.get_classifier()(embedding)
        return logits, embedding

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load timm's weights, or a file; see ``Network.load_backbone``."""
        state = self._download() if source == "imagenet" else read_state_dict(source)
        own = self.state_dict()
        state = {key if key in own else self._rename(key): value for key, value in state.items()}
        hidden = state.get("head.hidden.weight")
        if hidden is not None:
            state["head.hidden.weight"] = hidden.flatten(1)  # a 1x1 convolution in timm
        reference = {key: value for key, value in own.items() if not key.startswith(self._own_classifier)}
        self.load_report = load_pretrained(self, state, reference, source=str(source), name=self.name)

    @property
    def _own_classifier(self) -> tuple[str, ...]:
        """Prefixes of the last layer if it stays in timm's network; its ImageNet classes are not loaded."""
        names = self.features.pretrained_cfg.get("classifier") or ()
        return tuple(f"features.{name}." for name in ([names] if isinstance(names, str) else names))

    def _rename(self, key: str) -> str:
        for theirs, ours in self._moved.items():
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
        return f"features.{key}"

    def _download(self) -> dict[str, Tensor]:
        import timm

        try:
            state: dict[str, Tensor] = timm.create_model(self.architecture, pretrained=True).state_dict()
        except Exception as error:  # timm does not wrap the errors of its download clients
            reason = first_line(error)
            raise NetworkError(
                f"timm's weights of {self.architecture} cannot be downloaded ({reason}); "
                "pass a file with their state dict instead: pretrained=PATH"
            ) from None
        return state


@torch.no_grad()
def pooled_head(model: Any, dropout: float) -> PooledHead | None:
    """Return the head of a timm network as a ``PooledHead`` with the same weights; None for other heads.

    The copy is used only if its logits equal those of timm's head on random maps.
    """
    classifier = model.get_classifier()
    if not isinstance(classifier, nn.Linear) or not isinstance(model.pretrained_cfg.get("classifier"), str):
        return None
    conv = getattr(model, "conv_head", None)
    channels, classes = int(model.num_features), classifier.out_features
    if channels == classifier.in_features and classifier.bias is not None:
        head = PooledHead(channels, classes, dropout=dropout)
    elif isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and conv.out_channels == classifier.in_features:
        norm, activation = _norm_and_activation(model)
        if not _has_slope(activation):
            return None
        head = PooledHead(
            channels,
            classes,
            hidden=conv.out_channels,
            activation=activation,
            dropout=dropout,
            norm=norm,
            bias=conv.bias is not None,
        )
        assert head.hidden is not None
        head.hidden.weight.copy_(conv.weight.flatten(1))
        if conv.bias is not None:
            head.hidden.bias.copy_(conv.bias)
    else:
        return None
    head.output = classifier
    return head if _same(model, head, channels) else None


def _has_slope(activation: nn.Module) -> bool:
    try:
        activation_slope(activation, torch.zeros(1))
    except NetworkError:
        return False
    return True


def _norm_and_activation(model: Any) -> tuple[nn.BatchNorm1d | None, nn.Module]:
    norm = getattr(model, "norm_head", None)
    if not isinstance(norm, nn.BatchNorm2d):
        return None, model.act2
    flat = nn.BatchNorm1d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    flat.load_state_dict(norm.state_dict())
    activation = getattr(norm, "act", None)
    return flat, activation if isinstance(activation, nn.Module) else model.act2


def _same(model: Any, head: PooledHead, channels: int) -> bool:
    maps = torch.randn(2, channels, 2, 3, generator=torch.Generator().manual_seed(0))
    training = model.training
    try:
        theirs = model.eval().forward_head(maps)
    except (RuntimeError, ValueError, IndexError, TypeError):  # its features are not maps (N, C, h, w)
        return False
    finally:
        model.train(training)
    ours = head.eval()(maps)[0]
    head.train(training)
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-4, atol=1e-5)


def _builder(architecture: str, default_dropout: float = 0.0) -> Builder:
    def build(classes: int, *, dropout: float = default_dropout) -> Network:
        return TimmNetwork(architecture, classes, dropout)

    return build


@register_family(PREFIX)
def _any_timm(name: str) -> tuple[NetworkInfo, Builder]:
    """Find a network of timm by timm's name.

    Raises:
        NetworkError: timm has no such network.
    """
    import timm

    architecture = name.removeprefix(PREFIX)
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=1)
        raise NetworkError(
            "timm has no network"
            f" {architecture!r}{f'; did you mean {PREFIX + near[0]!r}?' if near else '; see timm.list_models()'}"
        )
    builder = _builder(architecture)
    config = timm.get_pretrained_cfg(architecture)
    size = config.input_size[-1] if config else 224
    licence = f"{(config.license if config else None) or 'see timm'} (timm)"
    link = (config.origin_url or config.paper_ids or "") if config else ""
    info = NetworkInfo(
        name,
        f"timm's {architecture}",
        "see timm's page of the network",
        str(link),
        licence,
        size,
        read_options(builder),
    )
    return info, builder


register_network(
    "ghostnetv2",
    title="GhostNetV2 of width 1",
    paper="Tang et al.: GhostNetV2: Enhance Cheap Operation with Long-Range Attention. NeurIPS 2022",
    link="https://arxiv.org/abs/2211.12905",
    licence="Apache-2.0 (timm)",
)(_builder("ghostnetv2_100", 0.2))
register_network(
    "mobilenetv4_conv_small",
    title="MobileNetV4, the small convolutional one",
    paper="Qin et al.: MobileNetV4: Universal Models for the Mobile Ecosystem. ECCV 2024",
    link="https://arxiv.org/abs/2404.10518",
    licence="Apache-2.0 (timm)",
)(_builder("mobilenetv4_conv_small", 0.2))
register_network(
    "efficientnetv2_b0",
    title="EfficientNetV2-B0, with TensorFlow's padding",
    paper="Tan, Le: EfficientNetV2: Smaller Models and Faster Training. ICML 2021",
    link="https://arxiv.org/abs/2104.00298",
    licence="Apache-2.0 (timm)",
)(_builder("tf_efficientnetv2_b0", 0.2))
