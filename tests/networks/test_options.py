"""The packaged list of networks and options is the registry's."""

from __future__ import annotations

import pytest

from lentigo.errors import NetworkError
from lentigo.networks import describe_network, network_names
from lentigo.networks.options import check_listed, listed_options


def test_the_list_is_the_registrys() -> None:
    assert listed_options() == {name: dict(describe_network(name).options) for name in network_names()}


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("mobilenetv3_small_cacoo", {}, "did you mean 'mobilenetv3_small_caco'"),
        ("mobilenetv3_small", {"strat": "se"}, "did you mean 'start'"),
        ("mobilenetv3_small", {"start": "sse"}, "did you mean 'se'"),
        ("mobilenetv3_small", {"dropout": "much"}, "dropout should be float"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(NetworkError, match=told):
        check_listed(name, options)


def test_families_are_left_to_the_registry() -> None:
    check_listed("timm/resnet18", {"dropout": 0.1})
