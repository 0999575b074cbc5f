"""The registry of networks: every network by name, with its paper, licence and options."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lentigo.errors import NetworkError, did_you_mean
from lentigo.networks.network import Network
from lentigo.networks.pretrained import Pretrained

Builder = Callable[..., Network]
Finder = Callable[[str], "tuple[NetworkInfo, Builder]"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a network.

    Attributes:
        default: used where the option is not given.
        choices: the accepted values; empty where any value of ``kind`` is.
        kind: the type of the value.
    """

    default: object
    choices: tuple[object, ...] = ()
    kind: type = str


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """What is known about a network without building it.

    Attributes:
        name: the name it is created by.
        title: one line on what it is.
        paper: the paper that introduced it: authors, title, where, year.
        link: DOI or arXiv address of the paper; empty where there is none.
        licence: of the code and weights it is built from.
        input_size: side of the square input that it was designed for, in pixels.
        options: what ``create_network`` accepts besides classes and pretrained.
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
_RESERVED = ("classes", "pretrained")


def register_network(
    name: str, *, title: str, paper: str, licence: str, link: str = "", input_size: int = 224
) -> Callable[[Builder], Builder]:
    """Decorate a builder ``build(*, classes, pretrained, <options with defaults>)`` to make it known by name.

    The options, their types and choices are read from the builder's keyword arguments: annotate them with
    ``bool``, ``int``, ``float`` or ``Literal[...]``.

    Raises:
        ValueError: the name is taken.
    """

    def register(builder: Builder) -> Builder:
        if name in _REGISTRY:
            raise ValueError(f"a network named {name!r} is registered already")
        info = NetworkInfo(name, title, paper, link, licence, input_size, read_options(builder))
        _REGISTRY[name] = (info, builder)
        return builder

    return register


def register_family(prefix: str) -> Callable[[Finder], Finder]:
    """Decorate a function that finds any network whose name begins with ``prefix`` (such as ``timm/``)."""

    def register(find: Finder) -> Finder:
        _FAMILIES[prefix] = find
        return find

    return register


def read_options(builder: Builder) -> dict[str, Option]:
    """The options of a builder, from its keyword arguments and their annotations."""
    hints = typing.get_type_hints(builder)
    options = {}
    for parameter in inspect.signature(builder).parameters.values():
        if parameter.name in _RESERVED:
            continue
        hint = hints[parameter.name]
        if typing.get_origin(hint) is typing.Literal:
            options[parameter.name] = Option(parameter.default, typing.get_args(hint), str)
        else:
            options[parameter.name] = Option(parameter.default, (), hint)
    return options


def network_names() -> list[str]:
    """The names of all registered networks, sorted."""
    return sorted(_REGISTRY)


def describe_network(name: str) -> NetworkInfo:
    """Paper, licence and options of a network.

    Raises:
        NetworkError: the name is unknown; the message names the nearest.
    """
    return _find(name)[0]


def _find(name: str) -> tuple[NetworkInfo, Builder]:
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
        pretrained: None (from scratch), ``"imagenet"`` (the library's own weights, downloaded), or a file with a state dict.
        **options: the network's own options, as :func:`describe_network` lists them; others are refused.

    Returns:
        The network, in training mode, on the CPU; ``load_report`` says what the weights gave.

    Raises:
        NetworkError: unknown name or option, a value that the option does not take, or weights that do not belong.
    """
    info, builder = _find(name)
    if classes < 1:
        raise NetworkError(f"{name} needs at least 1 class, not {classes}")
    for key, value in options.items():
        if key not in info.options:
            raise NetworkError(f"{name} has no option {key!r}{did_you_mean(key, info.options)}")
        _check_value(name, key, value, info.options[key])
    if isinstance(pretrained, str) and pretrained != "imagenet":
        pretrained = Path(pretrained)
    network = builder(classes=classes, pretrained=pretrained, **options)
    network.name = name
    return network


def _check_value(name: str, key: str, value: object, option: Option) -> None:
    if option.choices:
        if value not in option.choices:
            raise NetworkError(f"{name} has no {key}={value!r}{did_you_mean(str(value), map(str, option.choices))}")
        return
    kinds: type | types.UnionType = int | float if option.kind is float else option.kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and option.kind is not bool):
        raise NetworkError(f"{name}: {key} should be {option.kind.__name__}, not {value!r}")
