"""Networks of the papers and baselines, behind one interface. Names load when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

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

__getattr__, __dir__ = attach(
    __name__,
    {
        "network": ("LoadReport", "Network", "PooledHead"),
        "options": ("Option",),
        "profile": ("Profile", "list_networks", "profile_network"),
        "registry": ("NetworkInfo", "create_network", "describe_network", "network_names", "register_network"),
    },
)
