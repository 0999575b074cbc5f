"""The registry of networks: every network by name, with its paper, licence and options."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from lentigo.errors import NetworkError, did_you_mean
from lentigo.networks.graph_weights import load_graph
from lentigo.networks.network import Network
from lentigo.networks.options import Option, check_options
from lentigo.networks.pretrained import Pretrained

Builder = Callable[..., Network]
B = TypeVar("B", bound=Builder)
Finder = Callable[[str], "tuple[NetworkInfo, Builder]"]


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Description of a network, available without building it.

    Attributes:
        name: the name it is created by.
        title: one line of description.
        paper: the paper that introduced it: authors, title, venue, year.
        link: DOI or arXiv address of the paper; empty if there is none.
        licence: of the code and weights it is built from.
        input_size: side of the square input that it was designed for, in pixels.
        options: options of ``create_network`` besides classes and pretrained.
    """

    name: str
    title: str
    paper: str
    link: str
    licence: str
    input_size: int = 224
    options: Mapping[str, Option] = field(default_factory=dict)


_REGISTRY: dict[str, tuple[NetworkInfo, Builder]] = {}
_FAMILIES: dict[str, Finder] = {}


def register_network(
    name: str, *, title: str, paper: str, licence: str, link: str = "", input_size: int = 224
) -> Callable[[B], B]:
    """Decorate a class or function that builds a network, ``build(classes, *, <options with defaults>)``.

    The options, their types and choices are read from the keyword arguments: annotate them with ``bool``, ``int``,
    ``float`` or ``Literal[...]``.

    Raises:
        ValueError: the name is taken.
    """

    def register(builder: B) -> B:
        if name in _REGISTRY:
            raise ValueError(f"a network named {name!r} is registered already")
        info = NetworkInfo(name, title, paper, link, licence, input_size, read_options(builder))
        _REGISTRY[name] = (info, builder)
        return builder

    return register


def register_family(prefix: str) -> Callable[[Finder], Finder]:
    """Decorate a function that finds networks whose name begins with ``prefix`` (such as ``timm/``)."""

    def register(find: Finder) -> Finder:
        _FAMILIES[prefix] = find
        return find

    return register


def read_options(builder: Builder) -> dict[str, Option]:
    """Return the options of a builder: its keyword arguments, except those that ``functools.partial`` has fixed.

    The ``**options`` of a class are those of its base class.
    """
    options: dict[str, Option] = {}
    for name, parameter in inspect.signature(builder, eval_str=True).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = read_options(builder.__base__) | options  # type: ignore[attr-defined]
        elif name not in ("classes", *getattr(builder, "keywords", ())):
            hint = parameter.annotation
            if typing.get_origin(hint) is typing.Literal:
                options[name] = Option(parameter.default, typing.get_args(hint))
            elif hint is not str:  # not a choice of the user
                options[name] = Option(parameter.default, kind=hint)
    return options


def network_names() -> list[str]:
    """Return the names of all registered networks, sorted."""
    _register_all()
    return sorted(_REGISTRY)


def describe_network(name: str) -> NetworkInfo:
    """Return paper, licence and options of a network.

    Raises:
        NetworkError: the name is unknown; the message names the nearest.
    """
    return _find(name)[0]


@cache
def _register_all() -> None:
    for module in ("baselines", "ds_resnet", "from_timm", "mobilenetv3"):
        import_module(f"lentigo.networks.{module}")


def _find(name: str) -> tuple[NetworkInfo, Builder]:
    _register_all()
    for prefix, find in _FAMILIES.items():
        if name.startswith(prefix):
            return find(name)
    try:
        return _REGISTRY[name]
    except KeyError:
        raise NetworkError(f"unknown network {name!r}{did_you_mean(name, _REGISTRY)}") from None


def create_network(name: str, *, classes: int, pretrained: Pretrained | str = None, **options: Any) -> Network:
    """Build a network.

    Args:
        name: one of :func:`network_names`, or ``timm/NAME`` for any network of timm.
        classes: K, the number of outputs.
        pretrained: None (from scratch), ``"imagenet"`` (the library's weights, downloaded), a file with a state dict,
            or the ``model.onnx`` of a bundle of the same network, from which all but the last layer is loaded.
        **options: the network's options, as :func:`describe_network` lists them.

    Returns:
        The network, in training mode, on the CPU; ``load_report`` describes the loaded weights.

    Raises:
        NetworkError: unknown name or option, a value that the option does not accept, or weights of another network.
    """
    info, builder = _find(name)
    if classes < 1:
        raise NetworkError(f"{name} needs at least 1 class, not {classes}")
    check_options(name, options, info.options)
    network = builder(classes=classes, **options)
    network.name = name
    if pretrained == "imagenet":
        network.load_backbone("imagenet")
    elif pretrained is not None and Path(pretrained).suffix == ".onnx":
        load_graph(network, Path(pretrained))
    elif pretrained is not None:
        network.load_backbone(Path(pretrained))
    return network
