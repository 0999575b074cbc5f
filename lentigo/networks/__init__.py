"""Networks: the papers' own, and what they are compared with, all behind one contract. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.networks.network import LoadReport, Network, PooledHead
    from lentigo.networks.options import Option
    from lentigo.networks.profile import Profile, list_networks, profile_network
    from lentigo.networks.registry import NetworkInfo, create_network, describe_network, network_names, register_network

__all__ = [
    "LoadReport",
    "Network",
    "NetworkInfo",
    "Option",
    "PooledHead",
    "Profile",
    "create_network",
    "describe_network",
    "list_networks",
    "network_names",
    "profile_network",
    "register_network",
]

_HOME = {
    **dict.fromkeys(("LoadReport", "Network", "PooledHead"), "network"),
    "Option": "options",
    **dict.fromkeys(("Profile", "list_networks", "profile_network"), "profile"),
    **dict.fromkeys(
        ("NetworkInfo", "create_network", "describe_network", "network_names", "register_network"), "registry"
    ),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"lentigo.networks.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
