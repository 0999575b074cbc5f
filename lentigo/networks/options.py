"""The options of every network, checked without importing torch.

``options.json`` lists names and options; a test checks that it equals the registry.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lentigo.errors import NetworkError, did_you_mean

_KINDS = {"bool": bool, "int": int, "float": float, "str": str}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a network.

    Attributes:
        default: the value if the option is not given.
        choices: the accepted values; empty if every value of ``kind`` is accepted.
        kind: the type of the value.
    """

    default: object
    choices: tuple[object, ...] = ()
    kind: type = str


@cache
def listed_options() -> dict[str, dict[str, Option]]:
    """Return the options of each network by name, from the packaged list."""
    listed = json.loads(files("lentigo").joinpath("networks", "options.json").read_text(encoding="utf-8"))
    return {
        network: {name: Option(o["default"], tuple(o["choices"]), _KINDS[o["kind"]]) for name, o in options.items()}
        for network, options in listed.items()
    }


def check_listed(network: str, options: Mapping[str, Any]) -> None:
    """Check a network's name and options as `create_network` does, except those of ``timm/NAME``.

    Raises:
        NetworkError: unknown name or option, or a value that the option does not accept.
    """
    if "/" in network:
        return
    if network not in listed_options():
        raise NetworkError(f"unknown network {network!r}{did_you_mean(network, listed_options())}")
    check_options(network, options, listed_options()[network])


def check_options(network: str, options: Mapping[str, Any], known: Mapping[str, Option]) -> None:
    """Check that a network has the given options and that their values are accepted.

    Raises:
        NetworkError: an option is unknown or its value not accepted.
    """
    for key, value in options.items():
        if key not in known:
            raise NetworkError(f"{network} has no option {key!r}{did_you_mean(key, known)}")
        _check_value(network, key, value, known[key])


def _check_value(network: str, key: str, value: object, option: Option) -> None:
    if option.choices:
        if value not in option.choices:
            raise NetworkError(f"{network} has no {key}={value!r}{did_you_mean(str(value), map(str, option.choices))}")
        return
    kinds: type | types.UnionType = int | float if option.kind is float else option.kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and option.kind is not bool):
        raise NetworkError(f"{network}: {key} should be {option.kind.__name__}, not {value!r}")
