"""Every attention layer against a slow version written from its paper in plain Python loops."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from lentigo.networks.attention import (
    ATTENTIONS,
    CBAM,
    CaCo,
    ChannelAttention,
    CoordinateAttention,
    EfficientChannelAttention,
    SeCo,
    SimAM,
    SpatialAttention,
    SqueezeExcite,
    eca_kernel_size,
    gate_layers,
    make_divisible,
    make_gate_constant,
)

N, C, H, W = 2, 16, 5, 3
MOBILENET_CHANNELS = (16, 96, 240, 240, 120, 144, 288, 576, 576)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(N, C, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trained(layer: nn.Module) -> nn.Module:
    """The layer in double precision, evaluation mode, with every parameter and statistic away from its start."""
    generator = torch.Generator().manual_seed(1)
    layer = layer.double().eval()
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.3)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.abs_().add_(0.1)
    return layer


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def matvec(weight: Tensor, vector: list[float], bias: Tensor | None = None) -> list[float]:
    rows = weight.flatten(1).tolist()
    offsets = [0.0] * len(rows) if bias is None else bias.tolist()
    return [sum(w * v for w, v in zip(row, vector, strict=True)) + b for row, b in zip(rows, offsets, strict=True)]


def means(image: Tensor) -> list[float]:
    return [sum(sum(row) for row in channel) / (H * W) for channel in image.tolist()]


def gated(x: Tensor, gate: list[list[float]]) -> Tensor:
    """Multiply each image's channels by (N, C) gates, one number at a time."""
    out = x.clone()
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    out[n, c, i, j] = x[n, c, i, j].item() * gate[n][c]
    return out


def slow_se(layer: SqueezeExcite, x: Tensor) -> Tensor:
    gates = []
    for image in x:
        hidden = [max(0.0, v) for v in matvec(layer.fc1.weight, means(image), layer.fc1.bias)]
        gates.append([min(1.0, max(0.0, v / 6 + 0.5)) for v in matvec(layer.fc2.weight, hidden, layer.fc2.bias)])
    return gated(x, gates)


def slow_eca(layer: EfficientChannelAttention, x: Tensor) -> Tensor:
    kernel = layer.conv.weight.flatten().tolist()
    reach = len(kernel) // 2
    gates = []
    for image in x:
        mean = [0.0] * reach + means(image) + [0.0] * reach
        gates.append([sigmoid(sum(k * mean[c + t] for t, k in enumerate(kernel))) for c in range(C)])
    return gated(x, gates)


def slow_channel(layer: ChannelAttention, x: Tensor) -> Tensor:
    gates = []
    for image in x:
        peaks = [max(max(row) for row in channel) for channel in image.tolist()]
        branches = [
            matvec(layer.fc2.weight, [max(0.0, v) for v in matvec(layer.fc1.weight, pooled)])
            for pooled in (means(image), peaks)
        ]
        gates.append([sigmoid(a + b) for a, b in zip(*branches, strict=True)])
    return gated(x, gates)


def slow_spatial(layer: SpatialAttention, x: Tensor) -> Tensor:
    kernel = layer.conv.weight[0]
    reach = kernel.shape[-1] // 2
    out = x.clone()
    for n, image in enumerate(x.tolist()):
        for i in range(H):
            for j in range(W):
                total = 0.0
                for u in range(-reach, reach + 1):
                    for v in range(-reach, reach + 1):
                        if 0 <= i + u < H and 0 <= j + v < W:
                            column = [channel[i + u][j + v] for channel in image]
                            total += kernel[0, u + reach, v + reach].item() * sum(column) / C
                            total += kernel[1, u + reach, v + reach].item() * max(column)
                out[n, :, i, j] = x[n, :, i, j] * sigmoid(total)
    return out


def slow_coordinate(layer: CoordinateAttention, x: Tensor) -> Tensor:
    norm = layer.norm

    def encode(strip: list[float]) -> list[float]:
        out = []
        for k, value in enumerate(matvec(layer.conv.weight, strip, layer.conv.bias)):
            value = (value - norm.running_mean[k].item()) / math.sqrt(norm.running_var[k].item() + norm.eps)
            value = value * norm.weight[k].item() + norm.bias[k].item()
            out.append(value * min(6.0, max(0.0, value + 3)) / 6)
        return out

    out = x.clone()
    for n, image in enumerate(x.tolist()):
        rows = [encode([sum(channel[i]) / W for channel in image]) for i in range(H)]
        columns = [encode([sum(row[j] for row in channel) / H for channel in image]) for j in range(W)]
        gate_h = [matvec(layer.conv_h.weight, row, layer.conv_h.bias) for row in rows]
        gate_w = [matvec(layer.conv_w.weight, column, layer.conv_w.bias) for column in columns]
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    out[n, c, i, j] = image[c][i][j] * sigmoid(gate_h[i][c]) * sigmoid(gate_w[j][c])
    return out


def slow_simam(layer: SimAM, x: Tensor) -> Tensor:
    out = x.clone()
    for n in range(N):
        for c in range(C):
            values = x[n, c].flatten().tolist()
            mean = sum(values) / len(values)
            variance = sum((t - mean) ** 2 for t in values) / (len(values) - 1)
            for i in range(H):
                for j in range(W):
                    t = x[n, c, i, j].item()
                    energy = 4 * (variance + layer.strength) / ((t - mean) ** 2 + 2 * variance + 2 * layer.strength)
                    out[n, c, i, j] = t * sigmoid(1 / energy)
    return out


SLOW = {
    "none": lambda layer, x: x,
    "se": slow_se,
    "eca": slow_eca,
    "cbam": lambda layer, x: slow_spatial(layer.spatial, slow_channel(layer.channel, x)),
    "coordinate": slow_coordinate,
    "caco": lambda layer, x: slow_coordinate(layer.coordinate, slow_channel(layer.channel, x)),
    "seco": lambda layer, x: slow_coordinate(layer.coordinate, slow_se(layer, x)),
    "simam": slow_simam,
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_equals_the_slow_version(name: str, x: Tensor) -> None:
    layer = trained(ATTENTIONS[name](C))
    torch.testing.assert_close(layer(x), SLOW[name](layer, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_gradients_are_right(name: str) -> None:
    layer = trained(ATTENTIONS[name](4))
    image = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (image,))


def channel_by_autograd(layer: ChannelAttention, x: Tensor) -> Tensor:
    hidden = layer.activation(layer.fc1(x.mean((2, 3), keepdim=True))) + layer.activation(
        layer.fc1(x.amax((2, 3), keepdim=True))
    )
    return x * torch.sigmoid(layer.fc2(hidden))


def coordinate_by_autograd(layer: CoordinateAttention, x: Tensor) -> Tensor:
    both = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], dim=2)
    rows, columns = layer.activation(layer.norm(layer.conv(both))).split([x.shape[2], x.shape[3]], dim=2)
    return x * torch.sigmoid(layer.conv_h(rows)) * torch.sigmoid(layer.conv_w(columns.transpose(2, 3)))


BY_AUTOGRAD = {
    "channel": (ChannelAttention, channel_by_autograd),
    "coordinate": (CoordinateAttention, coordinate_by_autograd),
    "caco": (CaCo, lambda layer, x: coordinate_by_autograd(layer.coordinate, channel_by_autograd(layer.channel, x))),
}


@pytest.mark.parametrize("name", BY_AUTOGRAD)
@pytest.mark.parametrize("shape", [(3, C, 4, 9), (2, C, 7, 1), (4, C, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_learns_as_autograd_would(name: str, shape: tuple[int, ...], layout: torch.memory_format) -> None:
    kind, by_autograd = BY_AUTOGRAD[name]
    layer = trained(kind(C)).train()
    plain = copy.deepcopy(layer)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    image = image.clamp(max=0.8).to(memory_format=layout).requires_grad_()  # several places share the maximum
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected, out = by_autograd(plain, image), layer(image)
    torch.testing.assert_close(out, expected)
    gradients = torch.autograd.grad((out * weights).sum(), [image, *layer.parameters()])
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), [image, *plain.parameters()]))
    torch.testing.assert_close(layer.state_dict(), plain.state_dict())  # the statistics of normalisation


def test_caco_learns_in_mixed_precision() -> None:
    layer = CaCo(C).train()
    image = torch.randn(4, C, 6, 6, generator=torch.Generator().manual_seed(5)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    found = torch.autograd.grad(out.sum(), [image, *layer.parameters()])
    expected = torch.autograd.grad(layer(image).sum(), [image, *layer.parameters()])
    assert [g.dtype for g in found] == [g.dtype for g in expected]
    torch.testing.assert_close(out.float(), layer(image), rtol=0.05, atol=0.02)
    torch.testing.assert_close(found[0], expected[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_channels_last_and_odd_sizes(name: str) -> None:
    layer = ATTENTIONS[name](C).eval()
    for shape in [(2, C, 1, 1), (1, C, 7, 1), (3, C, 4, 9)]:
        image = torch.randn(shape)
        out = layer(image.contiguous(memory_format=torch.channels_last))
        assert out.shape == shape
        torch.testing.assert_close(out, layer(image))


def test_eca_kernel_sizes_follow_from_the_formula() -> None:
    assert [eca_kernel_size(c) for c in MOBILENET_CHANNELS] == [3, 3, 5, 5, 3, 5, 5, 5, 5]
    assert EfficientChannelAttention(16, kernel_size=7).conv.weight.numel() == 7


def test_simam_has_no_parameters() -> None:
    assert not list(SimAM(C).parameters())
    assert not list(SimAM(C).buffers())


def test_simam_does_not_overflow_in_half_precision() -> None:
    image = torch.tensor([[[[3e4, -3e4], [0.0, 1.0]]]])
    torch.testing.assert_close(SimAM(1)(image.half()).float(), SimAM(1)(image), rtol=1e-3, atol=1e-3)


def test_hidden_widths() -> None:
    assert [CoordinateAttention(c).conv.out_channels for c in (16, 240, 288, 576)] == [8, 8, 9, 18]
    assert [ChannelAttention(c).fc1.out_channels for c in (8, 16, 240)] == [1, 1, 15]
    assert [SqueezeExcite(c).fc1.out_channels for c in MOBILENET_CHANNELS] == [8, 24, 64, 64, 32, 40, 72, 144, 144]
    assert make_divisible(10) == 16  # 8 would lose more than a tenth


@pytest.mark.parametrize(
    ("layer", "constant"), [(EfficientChannelAttention, 0.5), (CBAM, 0.25), (CoordinateAttention, 0.25), (CaCo, 0.125)]
)
def test_constant_gate(layer: type[nn.Module], constant: float, x: Tensor) -> None:
    attention = layer(C).double()
    for part in attention.modules():
        if isinstance(part, ChannelAttention):
            part.fc1.weight.data.abs_()  # the one hidden unit of 16 channels should not be dead
    x = x.abs()
    assert make_gate_constant(attention) == constant
    torch.testing.assert_close(attention(x), constant * x)
    attention(x).square().sum().backward()
    last = list(gate_layers(attention))
    assert last
    # It can leave the constant.
    assert all(gate.weight.grad is not None and gate.weight.grad.abs().max() > 0 for gate in last)


def test_constant_gate_of_seco_leaves_the_se_alone(x: Tensor) -> None:
    attention = SeCo(C).double()
    assert make_gate_constant(attention) == 0.25
    torch.testing.assert_close(attention(x), 0.25 * slow_se(attention, x))
