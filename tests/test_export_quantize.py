"""Smaller graphs: half the bytes with the same arithmetic, or int8 behind a gate that gives its figures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from lentigo.errors import BundleError
from lentigo.export.graph import export_graph
from lentigo.export.quantize import Variant, check_drop, measure_variant, quantise_int8, store_float16
from lentigo.export.session import Session
from lentigo.networks import create_network

SIZE = 64


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    return export_graph(create_network("mobilenetv3_small_caco", classes=3), SIZE)


def batches(count: int = 3, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((4, 3, SIZE, SIZE)).astype(np.float32) for _ in range(count)]


def test_float16_halves_the_file_and_keeps_the_arithmetic(content: bytes) -> None:
    small = store_float16(content)
    assert len(small) < 0.56 * len(content)
    model = onnx.load_from_string(small)
    assert {t.data_type for t in model.graph.initializer if len(t.dims) >= 2 and np.prod(t.dims) >= 256} == {onnx.TensorProto.FLOAT16}
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


def test_int8_quantises_convolutions_and_leaves_the_head_alone(content: bytes) -> None:
    small = quantise_int8(content, batches())
    assert len(small) < 0.55 * len(content)
    model = onnx.load_from_string(small)
    produced = {output: node for node in model.graph.node for output in node.output}
    tensors = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            assert all(produced[name].op_type != "DequantizeLinear" for name in node.input if name in produced)
    kernels = [produced[node.input[1]] for node in model.graph.node if node.op_type == "Conv" and node.input[1] in produced]
    quantised = [node for node in kernels if node.op_type == "DequantizeLinear"]
    assert len(quantised) > 20
    for node in quantised:
        kernel, scale = tensors[node.input[0]], tensors[node.input[1]]
        assert kernel.data_type == onnx.TensorProto.INT8
        assert scale.data_type == onnx.TensorProto.FLOAT
        assert list(scale.dims) == [kernel.dims[0]]  # one scale a channel
    # Attention works on pooled maps and computes in float.
    assert any(node.op_type == "Cast" for node in kernels)
    image = batches(1)[0]
    before, after = Session(content)(image), Session(small)(image)
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
    assert Session(small)(image[:1])["logits"].shape == (1, 3)


def test_int8_needs_images(content: bytes) -> None:
    with pytest.raises(BundleError, match="no training images to calibrate on"):
        quantise_int8(content, [])


def variant(weights: str, accuracy: float) -> Variant:
    return Variant(weights, b"", accuracy, 1.0, 200)  # type: ignore[arg-type]


@pytest.mark.parametrize(("accuracy", "passes"), [(0.80, True), (0.82, True), (0.795, True), (0.7949, False), (0.5, False)])
def test_the_gate_allows_half_a_point(accuracy: float, passes: bool) -> None:
    if passes:
        assert check_drop(variant("fp32", 0.80), variant("int8", accuracy)) == pytest.approx(0.80 - accuracy)
        return
    with pytest.raises(
        BundleError, match=r"int8 weights are refused: .*200 validation images falls from 80\.00% to .* points; at most 0\.50"
    ):
        check_drop(variant("fp32", 0.80), variant("int8", accuracy))


def test_a_variant_is_measured_on_every_validation_image(content: bytes) -> None:
    images = batches(3)
    answers = np.concatenate([Session(content)(b)["logits"].argmax(1) for b in images]).astype(np.int64)
    assert measure_variant("fp32", content, images, answers).balanced_accuracy == 1.0
    wrong = (answers + 1) % 3
    measured = measure_variant("fp32", content, images, wrong)
    assert measured.balanced_accuracy == 0.0
    assert measured.images == 12
    assert measured.latency_ms > 0
    with pytest.raises(BundleError, match="12 validation images for 11 labels"):
        measure_variant("fp32", content, images, answers[:11])
