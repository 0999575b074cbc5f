"""Attention as it is exported answers like attention as it is trained, and lets the runtime keep its memory layout."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from lentigo.export.attention import deploy_layers
from lentigo.export.graph import DeployedNetwork, export_graph
from lentigo.inference.session import BATCH_AXIS
from lentigo.networks import create_network
from lentigo.networks.attention import CaCo, ChannelAttention, CoordinateAttention, SeCo, SqueezeExcite

LAYERS = [SqueezeExcite, ChannelAttention, CoordinateAttention, CaCo, SeCo]


def settled(layer: nn.Module) -> nn.Module:
    """Weights and statistics away from their neutral start, in evaluation."""
    generator = torch.Generator().manual_seed(1)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, 0.4, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.4, generator=generator)
    return layer.eval()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("shape", [(2, 24, 5, 7), (1, 144, 1, 4), (3, 576, 7, 7)])
def test_equals_the_trained_layer(kind: type[nn.Module], shape: tuple[int, int, int, int]) -> None:
    network = nn.Sequential(settled(kind(shape[1]))).double()  # in float32 rounding depends on the processor
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        expected = network(x)
        deploy_layers(network)
        found = network(x)
    assert type(network[0]) is not kind
    assert not torch.allclose(expected, x, atol=1e-2)  # the gate does something
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def test_pads_hidden_channels_to_what_the_runtime_blocks() -> None:
    hidden = {}
    for channels in (96, 240, 288, 576):
        network = nn.Sequential(CaCo(channels).eval())
        deploy_layers(network)
        hidden[channels] = [
            m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d) and m.out_channels != channels
        ]
    assert hidden == {96: [8, 8], 240: [16, 8], 288: [20, 12], 576: [36, 20]}  # instead of 6, 15, 18 and 9


def test_training_goes_on_with_the_layers_it_had() -> None:
    network = create_network("mobilenetv3_small_caco", classes=3)
    deployed = DeployedNetwork(network)  # what is exported
    assert not any(isinstance(module, CaCo) for module in deployed.modules())
    assert any(isinstance(module, CaCo) for module in network.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv3_small_caco", "mobilenetv3_small_se", "mobilenetv3_small_seco"])
def test_the_runtime_keeps_its_blocks(name: str, tmp_path: Path) -> None:
    """With the batch known, no map is unblocked to be multiplied, in blocks of 8 channels (AVX2) or 16 (AVX-512): at
    most pooled lines and vectors are, for their small convolutions."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.add_free_dimension_override_by_name(BATCH_AXIS, 2)
    options.log_severity_level = 4  # it warns that the optimised file fits this machine only
    ort.InferenceSession(
        export_graph(create_network(name, classes=3), 224), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(str(tmp_path / "optimised.onnx")).graph.node
    if not any(node.domain == "com.microsoft.nchwc" for node in nodes):
        pytest.skip("this machine's ONNX Runtime has no blocked layout")
    unblocked = {name for node in nodes if node.op_type == "ReorderOutput" for name in node.output}
    products = [
        node.name for node in nodes if node.op_type in {"Mul", "MaxPool"} and unblocked.intersection(node.input)
    ]
    assert len(products) <= 3, products  # those of the one layer with 120 channels, which fill no whole blocks of 16
    assert not [node.name for node in nodes if node.op_type in {"Resize", "Concat", "Split", "ReduceMax"}]
