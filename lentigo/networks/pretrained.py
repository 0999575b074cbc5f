"""Read pretrained weights without unpickling code, check their architecture, and report what was loaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from lentigo.errors import NetworkError, first_line
from lentigo.networks.network import LoadReport

Pretrained = None | Literal["imagenet"] | Path
"""None for training from scratch, ``imagenet`` for the library's weights (downloaded), or a file with a state dict."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a file, without unpickling code.

    A checkpoint with a ``state_dict``, ``model`` or ``network`` entry is accepted too.

    Raises:
        NetworkError: the file is missing, damaged, or has other content.
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"{path}: no such weight file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = first_line(error)
        raise NetworkError(f"{path}: not a readable PyTorch state dict ({reason})") from None
    if isinstance(content, Mapping):
        for entry in ("state_dict", "model", "network"):
            if isinstance(content.get(entry), Mapping):
                content = content[entry]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise NetworkError(f"{path}: holds no state dict (a mapping from names to tensors)")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def torchvision_state_dict(weights: WeightsEnum) -> dict[str, Tensor]:
    """Return torchvision's weights, from its cache or by download.

    Raises:
        NetworkError: they are not cached and cannot be downloaded.
    """
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (URLError, HTTPException, OSError, RuntimeError) as error:
        raise NetworkError(
            f"the ImageNet weights {weights} cannot be downloaded ({error}); pass a file with their state dict instead:"
            " pretrained=PATH"
        ) from None
    return state


def read_weights(source: Literal["imagenet"] | Path, weights: WeightsEnum) -> dict[str, Tensor]:
    """Return torchvision's weights for ``imagenet``, or those of a file.

    Raises:
        NetworkError: they are not available.
    """
    return torchvision_state_dict(weights) if source == "imagenet" else read_state_dict(source)


_BACKBONE = "features."
"""Prefix of the names of the backbone's parameters."""


def load_pretrained(
    network: nn.Module,
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    *,
    source: str,
    name: str,
) -> LoadReport:
    """Copy a state dict into all backbone layers of the same name and shape, and into the head if its shapes match.

    Args:
        network: the network to fill, in place (unchanged if the weights are refused).
        state: the weights, named as in the network.
        reference: a state dict of the original architecture, named as in the network, which ``state`` must cover.
        source: the file's name, for messages.
        name: the network's name, for messages.

    Returns:
        The report.

    Raises:
        NetworkError: a backbone layer of the original architecture is missing in ``state``.
    """
    target = network.state_dict()
    parameters = {key for key, _ in network.named_parameters()}
    wanted = {
        key
        for key in target
        if key.startswith(_BACKBONE) and key in reference and reference[key].shape == target[key].shape
    }
    found = {key for key in wanted if key in state and state[key].shape == target[key].shape}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    expected = sum(target[key].numel() for key in wanted & parameters)
    loaded = sum(target[key].numel() for key in found & parameters)
    if missing := sorted(wanted - found - optional):
        raise NetworkError(
            f"{source}: these weights are of another architecture than {name}: {loaded:,} of {expected:,} parameters of"
            f" its backbone ({loaded / max(1, expected):.1%}) match by name and shape; {missing[0]!r} is the first of"
            f" {len(missing)} that do not"
        )
    fits = {key for key in target if key in state and state[key].shape == target[key].shape}
    network.load_state_dict({key: state[key] for key in fits}, strict=False)
    new = sum(target[key].numel() for key in parameters - fits if key.startswith(_BACKBONE))
    return LoadReport(source, loaded, expected, new, head="head.hidden.weight" in fits)
