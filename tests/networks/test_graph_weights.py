"""Features from a bundle's graph: the same answers, and a start for training that is not thrown off by folded
normalisation."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from lentigo.bundle import read_spec
from lentigo.errors import NetworkError
from lentigo.export import export_graph
from lentigo.networks import Network, create_network
from lentigo.networks.graph_weights import load_graph, refit_norms

BUNDLES = Path(__file__).resolve().parents[2] / "lentigo" / "bundles"


def packaged(name: str = "isic-3", *, output: bool = True, **options: object) -> tuple[Network, Path]:
    torch.manual_seed(0)
    path, spec = BUNDLES / name / "model.onnx", read_spec(BUNDLES / name)
    network = create_network(
        spec.network.name, classes=len(spec.classes), **spec.network.options | {"dropout": 0.0} | options
    )
    load_graph(network, path, output=output)
    return network, path


def trained(name: str) -> Network:
    """A network with statistics and biases of its own, as after training."""
    torch.manual_seed(1)
    network = create_network(name, classes=3)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point() and (key.endswith("bias") or "running_mean" in key):
                value.copy_(torch.randn_like(value) * 0.1)
            elif "running_var" in key:
                value.copy_(torch.rand_like(value) + 0.5)
    return network.eval()


def test_the_loaded_network_answers_as_the_packaged_bundle() -> None:
    network, path = packaged()
    size = read_spec(path.parent).input.size
    images = torch.randn(2, 3, size, size)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits, embedding = session.run(["logits", "embedding"], {"image": images.numpy()})
    with torch.no_grad():
        found, features = network.eval().forward_head(network.forward_features(images))
    np.testing.assert_allclose(found.numpy(), logits, atol=1e-4)
    np.testing.assert_allclose(features.numpy(), embedding, atol=1e-4)
    assert network.load_report is not None
    assert network.load_report.fraction == 1
    assert network.load_report.folded


@pytest.mark.parametrize("name", ["mobilenetv3_small_seco", "timm/tf_efficientnet_lite0"])
def test_other_networks_come_back_from_their_graphs(name: str, tmp_path: Path) -> None:
    network, images = trained(name), torch.randn(2, 3, 64, 64)
    export_graph(network, 64, tmp_path / "model.onnx")
    again = create_network(name, classes=3)
    load_graph(again, tmp_path / "model.onnx", output=True)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), network(images), rtol=1e-3, atol=1e-4)


def test_refitted_norms_change_no_answer_and_make_training_begin_there() -> None:
    network, _ = packaged()
    images = torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        before = network.eval()(images)
        thrown_off = (copy.deepcopy(network).train()(images) - before).abs().max()
        refit_norms(network, [images[:4], images[4:]])
        torch.testing.assert_close(network.eval()(images), before, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(network.train()(images), before, rtol=1e-3, atol=1e-3)
    assert thrown_off > 0.1


def test_the_last_layer_stays_new_even_where_it_would_fit() -> None:
    torch.manual_seed(0)
    spec = read_spec(BUNDLES / "isic-3")
    new = create_network(spec.network.name, classes=len(spec.classes), **spec.network.options | {"dropout": 0.0}).head
    network, path = packaged(output=False)
    assert new is not None
    assert network.head is not None
    assert torch.equal(network.head.output.weight, new.output.weight)
    built = create_network(spec.network.name, classes=9, pretrained=path)
    assert built.load_report is not None
    assert built.load_report.head


@pytest.mark.parametrize("name", ["mobilenetv3_small", "mobilenetv2"])
def test_a_graph_of_another_network_is_refused(name: str) -> None:
    network = create_network(name, classes=3)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(NetworkError, match=f"not of the network {name}"):
        load_graph(network, BUNDLES / "isic-3" / "model.onnx")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph at all")
    with pytest.raises(NetworkError, match="not a readable ONNX graph"):
        create_network("mobilenetv3_small_caco", classes=2, pretrained=tmp_path / "model.onnx")
    with pytest.raises(NetworkError, match="no such file"):
        create_network("mobilenetv3_small_caco", classes=2, pretrained=tmp_path / "none.onnx")
