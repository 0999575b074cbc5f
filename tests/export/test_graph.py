"""The exported graph computes what the network computes, and exact Grad-CAM beside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from lentigo.errors import BundleError
from lentigo.export.graph import export_graph, output_shapes
from lentigo.export.session import Session
from lentigo.networks import Network, PooledHead, create_network, network_names

SIZE = 64
CLASSES = 5


class Tiny(Network):
    """Two convolutions with batch normalisation, then any head."""

    def __init__(self, head: PooledHead | None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 12, 3,
            stride=4, padding=1),
        )  # fmt: skip
        self.head = head
        self.flat = nn.Linear(12 * (SIZE // 16) ** 2, CLASSES)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        if self.head is None:
            embedding = maps.flatten(1)
            return self.flat(embedding), embedding
        logits, embedding = self.head(maps)
        return logits, embedding


HEADS = {
    "one-linear": lambda: PooledHead(12, CLASSES),
    "hardswish": lambda: PooledHead(12, CLASSES, hidden=20, activation=nn.Hardswish(), dropout=0.5),
    "batch-norm": lambda: PooledHead(12, CLASSES, hidden=20, activation=nn.ReLU(), norm=nn.BatchNorm1d(20), bias=False),
    "leaky-relu": lambda: PooledHead(12, CLASSES, hidden=20, activation=nn.LeakyReLU(0.01)),
}


def images(count: int, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def settle(network: Network) -> Network:
    """Random statistics and weights, so that no layer is at its neutral start."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.3, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    return network


def grad_cam(network: Network, image: Tensor) -> Tensor:
    """Grad-CAM by its definition (Selvaraju et al., ICCV 2017): gradients of each logit with respect to the maps."""
    network = network.eval()
    maps = network.forward_features(image).detach().requires_grad_()
    logits, _ = network.forward_head(maps)
    rows = []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), maps, retain_graph=True)
        alpha = gradient.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        rows.append(torch.relu((alpha * maps).sum(1)))
    return torch.stack(rows, 1).detach()  # (N, K, h, w)


def assert_agrees(network: Network, content: bytes, image: Tensor, tolerance: float = 1e-5) -> dict[str, np.ndarray]:
    network.eval()
    found = Session(content)(image.numpy())
    with torch.no_grad():
        logits, embedding = network.forward_head(network.forward_features(image))
    expected = {"logits": logits, "embedding": embedding}
    if network.head is not None:
        expected["cam"] = grad_cam(network, image)
    assert set(found) == set(expected)
    for name, value in expected.items():
        scale = max(1.0, float(value.abs().max()))
        assert found[name].shape == tuple(value.shape)
        np.testing.assert_allclose(found[name], value.numpy(), atol=tolerance * scale, rtol=0, err_msg=name)
    return found


@pytest.mark.parametrize("head", HEADS)
def test_cam_is_grad_cam(head: str) -> None:
    torch.manual_seed(0)
    network = settle(Tiny(HEADS[head]())).train()
    content = export_graph(network, SIZE)
    assert network.training  # the caller's network is left as it was
    found = assert_agrees(network, content, images(3))
    assert found["cam"].max() > 0
    # Negative evidence is cut off: some position of some class is exactly zero.
    assert found["cam"].min() == 0
    assert_agrees(network, content, images(1, seed=7))


def test_a_head_that_is_not_pooled_exports_no_cam() -> None:
    network = settle(Tiny(None))
    content = export_graph(network, SIZE)
    assert set(assert_agrees(network, content, images(2))) == {"logits", "embedding"}


def test_the_file_is_plain_and_private(tmp_path: Path) -> None:
    network = settle(Tiny(HEADS["hardswish"]()))
    content = export_graph(network, SIZE, tmp_path / "deep" / "model.onnx")
    assert (tmp_path / "deep" / "model.onnx").read_bytes() == content
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["model.onnx"]
    model = onnx.load_from_string(content)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert {node.domain for node in model.graph.node} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert [i.name for i in model.graph.input] == ["image"]
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[1]).encode() not in content
    assert output_shapes(content) == {"logits": (CLASSES,), "embedding": (20,), "cam": (CLASSES, 4, 4)}
    assert export_graph(network, SIZE) == content  # the same network gives the same bytes


# One network of each kind of block; tracing takes seconds each, so the others are exported on demand.
KINDS = ("mobilenetv3_small_hypo", "mobilenetv4_conv_small", "resnet18")
EVERY = bool(os.environ.get("LENTIGO_TEST_EVERY_NETWORK"))


@pytest.mark.parametrize("name", network_names())
def test_every_network_exports(name: str) -> None:
    if name not in KINDS and not EVERY:
        pytest.skip("set LENTIGO_TEST_EVERY_NETWORK=1 to export every network")
    torch.manual_seed(0)
    network = settle(create_network(name, classes=CLASSES))
    size = 96 if name == "inceptionv3" else SIZE  # it shrinks maps to nothing below 75 px
    content = export_graph(network, size)
    nodes = onnx.load_from_string(content).graph.node
    convolved = {output for node in nodes if node.op_type == "Conv" for output in node.output}
    assert not [node.name for node in nodes if node.op_type == "BatchNormalization" and node.input[0] in convolved]
    assert_agrees(network, content, images(2, size), tolerance=1e-4)


def test_a_network_outside_the_standard_is_refused() -> None:
    class Branching(Tiny):
        def forward_features(self, x: Tensor) -> Tensor:
            maps = self.features(x)
            return maps if maps.mean() > 0 else -maps

    with pytest.raises(BundleError, match="Branching at 64 px cannot be exported"):
        export_graph(Branching(HEADS["one-linear"]()), SIZE)
