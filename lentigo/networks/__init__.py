"""Networks: the papers' own, and what they are compared with, all behind one contract."""

from lentigo.networks import baselines, ds_resnet, from_timm, mobilenetv3  # noqa: F401  (each registers its networks)
from lentigo.networks.network import LoadReport, Network, PooledHead
from lentigo.networks.profile import Profile, list_networks, profile_network
from lentigo.networks.registry import NetworkInfo, Option, create_network, describe_network, network_names, register_network

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
