"""Smaller graphs: half the bytes with the same arithmetic, or int8 behind a gate that gives its figures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from lentigo.errors import BundleError
from lentigo.export.graph import export_graph
from lentigo.export.quantize import Variant, check_drop, measure_variant, quantise_int8, store_float16
from lentigo.export.session import Session
from lentigo.networks import Network, PooledHead

SIZE = 64


class Small(Network):
    """A stem, a depthwise pair with attention on pooled maps, a wide convolution and a head of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid())
        self.wide = nn.Sequential(
            nn.Conv2d(16, 64, 1), nn.Hardswish(), nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.Hardswish()
        )
        self.head = PooledHead(64, 3, hidden=128, activation=nn.Hardswish())

    def forward_features(self, x: Tensor) -> Tensor:
        maps = self.depthwise(self.stem(x))
        return self.wide(maps * self.gate(maps))

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.head(maps)
        return logits, embedding


def small() -> Small:
    torch.manual_seed(0)
    network = Small()
    for parameter in network.parameters():  # so that answers differ from image to image
        if parameter.ndim > 1:
            parameter.data.mul_(2)
    return network


@pytest.fixture(scope="module")
def content() -> bytes:
    return export_graph(small(), SIZE)


def batches(count: int = 3, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    colours = [rng.standard_normal((8, 3, 1, 1)) for _ in range(count)]
    return [(colour + 0.1 * rng.standard_normal((8, 3, SIZE, SIZE))).astype(np.float32) for colour in colours]


def test_float16_halves_the_file_and_keeps_the_arithmetic(content: bytes) -> None:
    small = store_float16(content)
    assert len(small) < 0.56 * len(content)
    model = onnx.load_from_string(small)
    assert {t.data_type for t in model.graph.initializer if len(t.dims) >= 2 and np.prod(t.dims) >= 256} == {
        onnx.TensorProto.FLOAT16
    }
    image = batches(1)[0]
    before, after = Session(content)(image), Session(small)(image)
    assert before.keys() == after.keys()
    for name in before:
        assert after[name].dtype == np.float32
        np.testing.assert_allclose(after[name], before[name], atol=0.02 * np.abs(before[name]).max())
    # Rounding the weights is the only change: rounded once, they stay.
    rounded = onnx.load_from_string(content)
    for tensor in rounded.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim >= 2 and values.size >= 256:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16).astype(np.float32), tensor.name))
    np.testing.assert_allclose(Session(rounded.SerializeToString())(image)["logits"], after["logits"], atol=1e-6)


def test_weights_that_float16_cannot_hold_stay(content: bytes) -> None:
    model = onnx.load_from_string(content)
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 4)
    name = tensor.name
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = 1e6
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    stored = {t.name: t for t in onnx.load_from_string(store_float16(model.SerializeToString())).graph.initializer}
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored[name]), values)


def kernels(content: bytes) -> dict[str, tuple[onnx.NodeProto | None, dict[str, onnx.TensorProto]]]:
    """Convolution -> the node that makes its kernel, None where it is stored as it is."""
    model = onnx.load_from_string(content)
    produced = {output: node for node in model.graph.node for output in node.output}
    tensors = {t.name: t for t in model.graph.initializer}
    return {node.name: (produced.get(node.input[1]), tensors) for node in model.graph.node if node.op_type == "Conv"}


def test_int8_quantises_convolutions_over_maps_and_nothing_else(content: bytes) -> None:
    stored = quantise_int8(content, batches())
    assert len(stored) < 0.45 * len(content)
    found = kernels(stored)
    quantised = {
        name: entry for name, entry in found.items() if entry[0] is not None and entry[0].op_type == "DequantizeLinear"
    }
    assert len(found) == 5
    assert 2 <= len(quantised) <= 4  # never the one of the gate, which sees pooled maps
    for node, tensors in quantised.values():
        assert node is not None
        kernel, scale = tensors[node.input[0]], tensors[node.input[1]]
        assert kernel.data_type == onnx.TensorProto.INT8
        assert scale.data_type == onnx.TensorProto.FLOAT
        assert list(scale.dims) == [kernel.dims[0]]  # one scale a channel
        assert np.abs(onnx.numpy_helper.to_array(kernel).astype(int)).max() <= 64  # seven bits
    model = onnx.load_from_string(stored)
    produced = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            assert all(produced[name].op_type != "DequantizeLinear" for name in node.input if name in produced)
    image = batches(1, seed=5)[0]
    before, after = Session(content)(image), Session(stored)(image)
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
    assert np.mean((after["logits"] - before["logits"]) ** 2) < 0.02 * before["logits"].var(axis=0).mean()
    assert Session(stored)(image[:1])["logits"].shape == (1, 3)


def test_int8_leaves_a_convolution_that_it_would_spoil() -> None:
    """A filter of large weights that cancel on smooth images, as the stem of a pretrained MobileNetV3 has."""
    network = small()
    with torch.no_grad():
        kernel = 60 * torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(2))
        network.stem[0].weight[3] = kernel - kernel.mean((1, 2), keepdim=True)
    graph = export_graph(network, SIZE)
    first = next(iter(kernels(graph)))
    stored = quantise_int8(graph, batches())
    kept, _ = kernels(stored)[first]
    assert kept is None or kept.op_type == "Cast"
    assert any(node is not None and node.op_type == "DequantizeLinear" for node, _ in kernels(stored).values())
    image = batches(1, seed=5)[0]
    expected = Session(graph)(image)["logits"]
    assert np.mean((Session(stored)(image)["logits"] - expected) ** 2) < 0.02 * expected.var(axis=0).mean()


def test_int8_needs_images(content: bytes) -> None:
    with pytest.raises(BundleError, match="no training images to calibrate on"):
        quantise_int8(content, [])


def variant(weights: str, accuracy: float) -> Variant:
    return Variant(weights, b"", accuracy, 1.0, 200)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accuracy", "passes"), [(0.80, True), (0.82, True), (0.795, True), (0.7949, False), (0.5, False)]
)
def test_the_gate_allows_half_a_point(accuracy: float, passes: bool) -> None:
    if passes:
        assert check_drop(variant("fp32", 0.80), variant("int8", accuracy)) == pytest.approx(0.80 - accuracy)
        return
    with pytest.raises(
        BundleError,
        match=r"int8 weights are refused: .*200 validation images falls from 80\.00% to .* points; at most 0\.50",
    ):
        check_drop(variant("fp32", 0.80), variant("int8", accuracy))


def test_a_variant_is_measured_on_every_validation_image(content: bytes) -> None:
    images = batches(3)
    answers = np.concatenate([Session(content)(b)["logits"].argmax(1) for b in images]).astype(np.int64)
    assert measure_variant("fp32", content, images, answers).balanced_accuracy == 1.0
    wrong = (answers + 1) % 3
    measured = measure_variant("fp32", content, images, wrong)
    assert measured.balanced_accuracy == 0.0
    assert measured.images == 24
    assert measured.latency_ms > 0
    with pytest.raises(BundleError, match="24 validation images for 11 labels"):
        measure_variant("fp32", content, images, answers[:11])
