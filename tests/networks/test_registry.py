"""The registry and every network in it: counts, one contract, pretrained weights, and bad input."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision import models
from torchvision.models import mobilenet_v3_small
from torchvision.ops import StochasticDepth

from lentigo.errors import NetworkError
from lentigo.networks import Network, create_network, describe_network, network_names
from lentigo.networks.attention import SimAM
from lentigo.networks.ds_resnet import DualScaleBottleneck, DualScaleCascade
from lentigo.networks.mobilenetv3 import expected_se_gates

# PAPERS: torchvision's 1000-class head and a 7-class head.
COUNTS = {
    "none": (2_081_216, 1_063_391),
    "se": (2_542_856, 1_525_031),
    "eca": (2_081_255, 1_063_430),
    "cbam": (2_195_266, 1_177_441),
    "coordinate": (2_176_615, 1_158_790),
    "caco": (2_289_783, 1_271_958),
    "seco": (2_638_255, 1_620_430),
}
CONSTANT_STARTS = ("eca", "cbam", "coordinate", "caco")


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete torchvision state dict with lively batch statistics, as a file."""
    torch.manual_seed(0)
    base = mobilenet_v3_small(weights=None).train()
    with torch.no_grad():
        for norm in (m for m in base.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 0.5
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        for _ in range(3):
            base(torch.randn(4, 3, 64, 64))
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pt"
    torch.save(base.state_dict(), path)
    return path


def images(size: int = 64, n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("attention", COUNTS)
def test_parameter_counts_of_the_paper(attention: str) -> None:
    for classes, expected in zip((1000, 7), COUNTS[attention], strict=True):
        assert parameters(create_network(f"mobilenetv3_small_{attention}", classes=classes)) == expected


# Each network's parameters with 7 classes.
PARAMETERS = {f"mobilenetv3_small_{name}": seven for name, (_, seven) in COUNTS.items()} | {
    "mobilenetv3_small": 1_525_031,
    "mobilenetv3_small_hypo": 1_063_430,
    "ds_resnet50": 12_280_647,
    "resnet18": 11_180_103,  # the CaCo paper prints 11.18 M
    "resnet50": 23_522_375,
    "shufflenetv2_x2": 5_359_339,  # 5.36 M
    "ghostnetv2": 4_884_875,
    "efficientnet_b0": 4_016_515,
    "efficientnetv2_b0": 5_867_671,
    "mobilenetv2": 2_232_839,
    "mobilenetv3_small_stem": 138_752 + 41 * 7,
    "mobilenetv4_conv_small": 2_501_991,
    "googlenet": 5_607_079,
    "inceptionv3": 21_799_911,
    "vgg16": 134_289_223,
}


def test_the_stem_has_as_many_blocks_as_asked() -> None:
    network = create_network("mobilenetv3_small_stem", classes=3, layers=10)
    assert parameters(network) == 282_368 + 97 * 3  # the head reads 96 channels
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(NetworkError, match="has no layers=8"):
        create_network("mobilenetv3_small_stem", classes=3, layers=8)


@pytest.mark.parametrize("name", network_names())
def test_contract(name: str) -> None:
    """One batch through every network: shapes, forward == head(features), every parameter learns, same seed same
    weights."""
    size = 96 if name == "inceptionv3" else 64
    torch.manual_seed(0)
    network = create_network(name, classes=7)
    start = sums(network)
    assert isinstance(network, Network)
    assert network.name == name
    assert network.load_report is None
    assert network.training
    assert parameters(network) == PARAMETERS[name]
    network.eval()
    x = images(size)
    with torch.no_grad():
        maps = network.forward_features(x)
        logits, embedding = network.forward_head(maps)
        assert maps.ndim == 4
        assert logits.shape == (2, 7)
        assert embedding.ndim == 2
        torch.testing.assert_close(network(x), logits)
        torch.testing.assert_close(
            network(x.contiguous(memory_format=torch.channels_last)), logits, rtol=1e-3, atol=1e-4
        )
        if network.head is None:
            assert name == "vgg16"
        else:
            torch.testing.assert_close(network.head.output(embedding), logits)
            assert (
                maps.shape[1]
                == (network.head.output if network.head.hidden is None else network.head.hidden).in_features
            )
    network.train()
    network(images(size, 3)).square().sum().backward()
    assert not [key for key, p in network.named_parameters() if p.grad is None]
    del network
    torch.manual_seed(0)
    assert sums(create_network(name, classes=7)) == start


def sums(network: nn.Module) -> dict[str, float]:
    return {key: value.sum().item() for key, value in network.state_dict().items()}


def test_heads_of_the_papers_counts() -> None:
    """The CaCo paper counts some networks with ImageNet's 1000 classes."""
    assert parameters(create_network("ghostnetv2", classes=1000)) == 6_156_908  # printed: 6.16 M
    assert parameters(create_network("efficientnet_b0", classes=1000)) == 5_288_548  # 5.29 M


@pytest.mark.parametrize("name", network_names())
def test_described(name: str) -> None:
    info = describe_network(name)
    assert info.name == name
    assert info.title
    assert info.paper
    assert info.licence
    assert info.input_size >= 32
    for option in info.options.values():
        assert not option.choices or option.default in option.choices


@pytest.mark.parametrize("attention", COUNTS)
@pytest.mark.parametrize("start", ["random", "identity", "se"])
def test_pretrained_features_load(attention: str, start: str, torchvision_file: Path) -> None:
    network = create_network(f"mobilenetv3_small_{attention}", classes=7, pretrained=torchvision_file, start=start)
    report = network.load_report
    assert report is not None
    assert report.fraction == 1
    assert report.head
    assert report.loaded + report.new == parameters(network.features)
    assert report.loaded == (927_008 if attention in ("se", "seco") else 465_368)
    assert "(100.0%)" in str(report)
    state = torch.load(torchvision_file, weights_only=True)
    assert torch.equal(network.head.hidden.weight, state["classifier.0.weight"])
    assert torch.equal(network.features[0][0].weight, state["features.0.0.weight"])
    assert torch.equal(network.features[12][1].running_var, state["features.12.1.running_var"])


def test_se_is_torchvision(torchvision_file: Path) -> None:
    base = mobilenet_v3_small(weights=None).eval()
    base.load_state_dict(torch.load(torchvision_file, weights_only=True))
    network = create_network("mobilenetv3_small_se", classes=1000, pretrained=torchvision_file).eval()
    x = images()
    torch.testing.assert_close(network(x), base(x))


@pytest.mark.parametrize("attention", CONSTANT_STARTS)
def test_identity_start_passes_the_features(attention: str, torchvision_file: Path) -> None:
    plain = create_network("mobilenetv3_small_none", classes=7, pretrained=torchvision_file).eval()
    network = create_network(
        f"mobilenetv3_small_{attention}", classes=7, pretrained=torchvision_file, start="identity"
    ).eval()
    expected = plain.forward_features(images())
    torch.testing.assert_close(
        network.forward_features(images()), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
    )


def test_identity_start_of_seco_is_the_published_network(torchvision_file: Path) -> None:
    plain = create_network("mobilenetv3_small_se", classes=7, pretrained=torchvision_file).eval()
    network = create_network("mobilenetv3_small_seco", classes=7, pretrained=torchvision_file, start="identity").eval()
    torch.testing.assert_close(
        network.forward_features(images()), plain.forward_features(images()), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("attention", ["none", *CONSTANT_STARTS])
def test_se_start_equals_the_network_with_constant_se_gates(attention: str, torchvision_file: Path) -> None:
    state = torch.load(torchvision_file, weights_only=True)
    gates = expected_se_gates(state)
    base = mobilenet_v3_small(weights=None).eval()
    base.load_state_dict(state)
    for name, gate in gates.items():  # an SE whose second layer ignores its input: hardsigmoid(6 g - 3) = g
        se = next(m for m in base.get_submodule(name) if hasattr(m, "fc1"))
        nn.init.zeros_(se.fc2.weight)
        se.fc2.bias.data = 6 * gate - 3
    network = create_network(
        f"mobilenetv3_small_{attention}", classes=7, pretrained=torchvision_file, start="se"
    ).eval()
    expected = base.features(images())
    torch.testing.assert_close(
        network.forward_features(images()), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
    )


def test_expected_gates_predict_the_real_ones(shared_weights: Path) -> None:
    """Without any image, from the weights alone; checked on noise that looks like nothing the weights have seen."""
    path = shared_weights / "mobilenet_v3_small_imagenet_features.pt"
    network = create_network("mobilenetv3_small_se", classes=7, pretrained=path).eval()
    gates = expected_se_gates(torch.load(path, weights_only=True))
    seen: dict[str, torch.Tensor] = {}
    for name in gates:
        block = network.get_submodule(name)
        se = block[len(block) - 2]
        se.register_forward_hook(lambda m, i, o, name=name: seen.update({name: m._scale(i[0]).mean((0, 2, 3))}))
    with torch.no_grad():
        network.forward_features(images(96, 4))
    for name, gate in gates.items():
        assert torch.corrcoef(torch.stack([gate, seen[name]]))[0, 1] > 0.5, name


def test_se_start_keeps_the_scale_of_the_pretrained_features(shared_weights: Path) -> None:
    path = shared_weights / "mobilenet_v3_small_imagenet_features.pt"

    def energy(attention: str, start: str) -> float:
        network = create_network(f"mobilenetv3_small_{attention}", classes=7, pretrained=path, start=start).eval()
        with torch.no_grad():
            return float(network.forward_features(images(96)).norm())

    published = energy("se", "random")
    assert 0.2 < energy("caco", "se") / published < 5
    assert energy("caco", "identity") / published > 100  # why "se" exists


def test_own_weights_load_whole_and_unchanged(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = create_network("mobilenetv3_small_caco", classes=7, start="se")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias)
    path = tmp_path / "own.pt"
    torch.save({"state_dict": network.state_dict()}, path)
    again = create_network("mobilenetv3_small_caco", classes=7, pretrained=path, start="se")
    assert again.load_report is not None
    assert again.load_report.new == 0
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_weights_of_another_architecture_are_refused(tmp_path: Path, torchvision_file: Path) -> None:
    state = torch.load(torchvision_file, weights_only=True)
    state["features.3.block.0.0.weight"] = torch.zeros(1, 1, 1, 1)
    path = tmp_path / "other.pt"
    torch.save(state, path)
    with pytest.raises(
        NetworkError, match=r"other\.pt.*another architecture than mobilenetv3_small_caco: 463,256 of 465,368.*99\.5%"
    ):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=path)
    torch.save({key: value for key, value in state.items() if "running_mean" not in key}, path)
    with pytest.raises(NetworkError, match="running_mean"):
        create_network("mobilenetv3_small_se", classes=7, pretrained=path)


def test_start_from_se_needs_se(tmp_path: Path, torchvision_file: Path) -> None:
    state = {key: value for key, value in torch.load(torchvision_file, weights_only=True).items() if ".fc" not in key}
    path = tmp_path / "no_se.pt"
    torch.save(state, path)
    with pytest.raises(NetworkError, match=r"no_se\.pt: start='se' needs weights with squeeze-and-excitation"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=path, start="se")
    network = create_network("mobilenetv3_small_caco", classes=7, pretrained=path, start="identity")
    assert network.load_report.fraction == 1


def test_stochastic_depth_passes_blocks_over_in_training_only(torchvision_file: Path) -> None:
    torch.manual_seed(0)
    plain = create_network("mobilenetv3_small_caco", classes=4, pretrained=torchvision_file, start="se")
    torch.manual_seed(0)
    network = create_network(
        "mobilenetv3_small_caco", classes=4, pretrained=torchvision_file, start="se", stochastic_depth=0.5
    )
    assert list(network.state_dict()) == list(plain.state_dict())
    network.load_state_dict(plain.state_dict())  # what is not from the file is drawn
    x = torch.randn(6, 3, 64, 64)
    assert torch.equal(network.eval()(x), plain.eval()(x))
    rates = [layer.p for layer in network.modules() if isinstance(layer, StochasticDepth)]
    assert rates == pytest.approx([0.5 * place / 11 for place in (3, 5, 6, 8, 10, 11)])
    block = network.train().features[11]
    maps = torch.randn(400, 96, 2, 2)
    kept = (block(maps) != maps).flatten(1).any(1)
    assert 150 < int(kept.sum()) < 250


def test_norm_momentum() -> None:
    def momenta(**options: float) -> set[float]:
        network = create_network("mobilenetv3_small_caco", classes=2, **options)
        return {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}

    assert momenta() == {0.1}
    assert momenta(norm_momentum=0.01) == {0.01}


def test_unreadable_weights(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no such weight file"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=tmp_path / "absent.pt")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a state dict")
    with pytest.raises(NetworkError, match=r"broken\.pt: not a readable PyTorch state dict"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=broken)
    torch.save([1, 2], broken)
    with pytest.raises(NetworkError, match="holds no state dict"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=str(broken))


def test_no_code_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"features.0.0.weight": Evil()}))
    with pytest.raises(NetworkError, match="not a readable"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained=path)
    assert not (tmp_path / "ran").exists()


def test_offline_says_to_pass_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(NetworkError, match=r"cannot be downloaded.*pass a file"):
        create_network("mobilenetv3_small_caco", classes=7, pretrained="imagenet")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenetv3_small_cacao", {}, "did you mean 'mobilenetv3_small_caco'"),
        ("mobilenetv3_small_caco", {"strat": "se"}, "no option 'strat'; did you mean 'start'"),
        ("mobilenetv3_small_caco", {"start": "identify"}, "did you mean 'identity'"),
        ("mobilenetv3_small_caco", {"dropout": "high"}, "dropout should be float"),
        ("mobilenetv3_small_hypo", {"leaky": 1}, "leaky should be bool"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        create_network(name, classes=7, **options)


def test_no_classes() -> None:
    with pytest.raises(NetworkError, match="at least 1 class"):
        create_network("mobilenetv3_small_caco", classes=0)


@pytest.mark.parametrize(
    ("eca", "leaky", "dilation"), [(e, v, d) for e in (False, True) for v in (False, True) for d in (False, True)]
)
def test_hypo_switches(eca: bool, leaky: bool, dilation: bool, torchvision_file: Path) -> None:
    options = {"eca": eca, "leaky": leaky, "dilation": dilation}
    network = create_network("mobilenetv3_small_hypo", classes=10, pretrained=torchvision_file, **options)
    kinds = [type(m) for m in network.modules()]
    assert (nn.LeakyReLU in kinds) == leaky
    assert (nn.ReLU in kinds or nn.Hardswish in kinds) != leaky
    dilated = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)]
    assert [int(name.split(".")[1]) for name in dilated] == ([5, 6, 7, 8, 10, 11] if dilation else [])
    assert network.load_report.fraction == 1
    assert parameters(network) == parameters(create_network(f"mobilenetv3_small_{'eca' if eca else 'se'}", classes=10))
    assert network.forward_features(images(96)).shape == (2, 576, 3, 3)


BASELINES: dict[str, Callable[..., nn.Module]] = {
    "resnet18": models.resnet18,
    "shufflenetv2_x2": models.shufflenet_v2_x2_0,
    "mobilenetv2": models.mobilenet_v2,
    "efficientnet_b0": models.efficientnet_b0,
    "googlenet": partial(models.googlenet, init_weights=True, transform_input=True),  # with its auxiliary classifiers
    "inceptionv3": partial(models.inception_v3, init_weights=True, transform_input=True),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_is_torchvision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every torchvision weight finds its place, and the logits are the same."""
    torch.manual_seed(1)
    base = BASELINES[name](weights=None).eval()
    monkeypatch.setattr("lentigo.networks.pretrained.torchvision_state_dict", lambda weights: base.state_dict())
    network = create_network(name, classes=1000, pretrained="imagenet").eval()
    assert network.load_report is not None
    assert network.load_report.fraction == 1
    assert network.load_report.new == 0
    x = images(96)
    with torch.no_grad():
        expected = base(x)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    smaller = create_network(name, classes=3, pretrained="imagenet")
    assert smaller.load_report == network.load_report
    assert torch.equal(next(iter(smaller.features.parameters())), next(iter(base.parameters())))


def test_weights_of_another_baseline_are_refused(tmp_path: Path, torchvision_file: Path) -> None:
    for name in ("resnet18", "mobilenetv2", "ds_resnet50", "mobilenetv4_conv_small"):
        with pytest.raises(NetworkError, match=f"another architecture than {name}: .*%"):
            create_network(name, classes=3, pretrained=torchvision_file)


TIMM = {
    "ghostnetv2": "ghostnetv2_100",
    "mobilenetv4_conv_small": "mobilenetv4_conv_small",
    "efficientnetv2_b0": "tf_efficientnetv2_b0",
    "timm/resnet10t": "resnet10t",
    "timm/convnext_atto": "convnext_atto",  # normalises after pooling: no pooled head
    "timm/vit_tiny_patch16_224": "vit_tiny_patch16_224",  # tokens, not maps
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_network_is_timm(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    base = timm.create_model(TIMM[name]).eval()
    path = tmp_path / "weights.pt"
    torch.save(base.state_dict(), path)
    network = create_network(name, classes=1000, pretrained=path).eval()
    x = images(224 if "vit" in name else 64, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(x), base(x))
    assert (network.head is None) == (name in ("timm/convnext_atto", "timm/vit_tiny_patch16_224"))
    smaller = create_network(name, classes=3, pretrained=path, dropout=0.3).eval()
    assert smaller.load_report.fraction == 1
    assert smaller(x).shape == (1, 3)
    torch.save(smaller.state_dict(), path)
    again = create_network(name, classes=3, pretrained=path).eval()
    assert torch.equal(again(x), smaller(x))
    assert describe_network(name).input_size >= 176


def test_timm_names() -> None:
    with pytest.raises(NetworkError, match="timm has no network 'resnt18'; did you mean 'timm/resnet18'"):
        create_network("timm/resnt18", classes=3)
    with pytest.raises(NetworkError, match="several output layers"):
        create_network("timm/levit_128s", classes=3)
    with pytest.raises(NetworkError, match="no option 'drop'; did you mean 'dropout'"):
        create_network("timm/resnet10t", classes=3, drop=0.1)


def test_timm_offline_says_to_pass_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model

    def refuse(*args: object, pretrained: bool = False, **kwargs: object) -> nn.Module:
        if pretrained:
            raise ConnectionError("no route to the hub")
        return build(*args, **kwargs)

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(NetworkError, match=r"resnet10t cannot be downloaded \(no route to the hub\); pass a file"):
        create_network("timm/resnet10t", classes=3, pretrained="imagenet")


@pytest.mark.parametrize("fusion", ["add", "concat"])
@pytest.mark.parametrize("depthwise", [True, False])
def test_ds_resnet(depthwise: bool, fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer counts, loaded share, and that only the layers that still exist are taken."""
    torch.manual_seed(1)
    base = models.resnet50(weights=None)
    monkeypatch.setattr("lentigo.networks.pretrained.torchvision_state_dict", lambda weights: base.state_dict())
    network = create_network("ds_resnet50", classes=3, pretrained="imagenet", depthwise=depthwise, fusion=fusion)
    blocks = [m for m in network.modules() if isinstance(m, DualScaleBottleneck)]
    assert [block.conv1.out_channels for block in blocks] == [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    assert sum(isinstance(m, SimAM) for m in network.modules()) == 32
    widths = [block.conv1.out_channels for block in blocks]
    dense = sum(9 * w * w + 2 * w for w in widths)  # the 3x3 convolutions and their normalisation
    expand = sum(4 * w * w + 8 * w for w in widths)
    kept = parameters(base) - parameters(base.fc) - (dense if depthwise else 0) - (expand if fusion == "concat" else 0)
    cascade = sum(2 * (9 * w * (1 if depthwise else w) + 2 * w) for w in widths)
    new = cascade - (0 if depthwise else dense) + (sum(8 * w * w + 8 * w for w in widths) if fusion == "concat" else 0)
    report = network.load_report
    assert report is not None
    assert (report.loaded, report.expected, report.new) == (kept, kept, new)
    assert torch.equal(blocks[3].conv1.weight, base.layer2[0].conv1.weight)
    assert torch.equal(blocks[0].downsample[0].weight, base.layer1[0].downsample[0].weight)
    assert torch.equal(blocks[0].cascade.near[1].running_var, base.layer1[0].bn2.running_var)
    if not depthwise:
        assert torch.equal(blocks[15].cascade.near[0].weight, base.layer4[2].conv2.weight)
    assert network.eval().forward_features(images()).shape == (2, 2048, 2, 2)


@pytest.mark.parametrize("fusion", ["add", "concat"])
@pytest.mark.parametrize("stride", [1, 2])
def test_cascade_against_loops(stride: int, fusion: str) -> None:
    """Depthwise dilation 1, then dilation 3 on its result, written as sums over the kernel; with an effective reach of
    1 + 3."""
    torch.manual_seed(2)
    cascade = DualScaleCascade(2, stride=stride, fusion=fusion).eval()
    x = torch.randn(1, 2, 9, 9)

    def convolve(layer: nn.Sequential, image: torch.Tensor, step: int, dilation: int) -> torch.Tensor:
        kernel, norm = layer[0].weight, layer[1]
        side = image.shape[-1]
        out = torch.zeros(1, 2, -(-side // step), -(-side // step))
        for c in range(2):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    for u in range(3):
                        for v in range(3):
                            row, column = i * step + (u - 1) * dilation, j * step + (v - 1) * dilation
                            if 0 <= row < side and 0 <= column < side:
                                out[0, c, i, j] += kernel[c, 0, u, v].item() * image[0, c, row, column].item()
        return (out / (1 + norm.eps) ** 0.5).clamp_min(0)  # batch statistics at their start: mean 0, variance 1

    near = convolve(cascade.near, x, stride, 1)
    far = convolve(cascade.far, near, 1, 3)
    torch.testing.assert_close(
        cascade(x), near + far if fusion == "add" else torch.cat([near, far], 1), rtol=1e-4, atol=1e-5
    )


def test_bottleneck_order() -> None:
    """1x1, SimAM, cascade, SimAM, 1x1, shortcut."""
    torch.manual_seed(3)
    base = models.resnet50(weights=None).layer2[0]
    block = DualScaleBottleneck(base).eval()
    x = torch.randn(1, 256, 6, 6)
    hidden = SimAM(128)(torch.relu(base.bn1(base.conv1(x))))
    near = block.cascade.near(hidden)
    fused = SimAM(128)(near + block.cascade.far(near))
    expected = torch.relu(base.bn3(base.conv3(fused)) + base.downsample(x))
    assert expected.shape == (1, 512, 3, 3)
    torch.testing.assert_close(block(x), expected)
