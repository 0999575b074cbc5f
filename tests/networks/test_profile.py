"""What a network costs."""

from __future__ import annotations

import io
import json

import pytest
import torch

from lentigo.errors import NetworkError
from lentigo.networks import create_network, list_networks, profile_network


def test_profile_of_caco() -> None:
    network = create_network("mobilenetv3_small_caco", classes=7).train()
    threads = torch.get_num_threads()
    profile = profile_network(network, 64, repeats=2, warmup=1)
    assert network.training
    assert torch.get_num_threads() == threads
    assert profile.parameters == 1_271_958
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    assert profile.bytes == buffer.tell()
    assert profile.latency_ms_one_thread > 0
    assert profile.latency_ms_all_threads > 0
    assert "FlopCounterMode" in profile.macs_tool
    assert (profile.name, profile.size, profile.classes, profile.repeats) == ("mobilenetv3_small_caco", 64, 7, 2)
    assert json.loads(json.dumps(profile.to_dict()))["macs"] == profile.macs


def test_macs_of_the_published_network() -> None:
    profile = profile_network(create_network("mobilenetv3_small_se", classes=1000), 224, repeats=1, warmup=0)
    assert round(profile.macs / 1e6) == 57  # torchvision prints 0.06 billion


def test_macs_by_hand() -> None:
    """Convolutions scale with the places of the image, the head does not."""
    small, large = (
        profile_network(create_network("mobilenetv3_small_none", classes=2), s, repeats=1, warmup=0).macs
        for s in (32, 64)
    )
    head = 576 * 1024 + 1024 * 2
    assert (large - head) == 4 * (small - head)


def test_size_that_a_network_does_not_take() -> None:
    with pytest.raises(NetworkError, match="inceptionv3 does not take images of 32 pixels"):
        profile_network(create_network("inceptionv3", classes=2), 32, repeats=1, warmup=0)


def test_list(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["googlenet", "inceptionv3", "mobilenetv3_small_caco"]
    monkeypatch.setattr("lentigo.networks.profile.network_names", lambda: names)
    rows = {row["network"]: row for row in list_networks(classes=7, size=64)}
    assert list(rows) == names
    assert rows["inceptionv3"]["macs"] is None
    assert rows["mobilenetv3_small_caco"]["parameters"] == 1_271_958
    network = create_network("mobilenetv3_small_caco", classes=7)
    assert rows["mobilenetv3_small_caco"]["macs"] == profile_network(network, 64, repeats=1, warmup=0).macs
    assert "Shi" in str(rows["mobilenetv3_small_caco"]["paper"])
    json.dumps(rows)
