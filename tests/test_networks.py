"""The registry and every network in it: counts, one contract, pretrained weights, and bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small

from lentigo.errors import NetworkError
from lentigo.networks import Network, create_network, describe_network, network_names
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


@pytest.mark.parametrize("name", network_names())
def test_contract(name: str) -> None:
    """One batch through every network: shapes, forward == head(features), every parameter learns, same seed same weights."""
    size = 96 if name in ("inceptionv3",) else 64
    torch.manual_seed(0)
    network = create_network(name, classes=3)
    assert isinstance(network, Network)
    assert network.name == name
    assert network.load_report is None
    assert network.loaded_share == 0
    assert network.training
    network.eval()
    x = images(size)
    maps = network.forward_features(x)
    logits, embedding = network.forward_head(maps)
    assert maps.ndim == 4
    assert logits.shape == (2, 3)
    assert embedding.ndim == 2
    torch.testing.assert_close(network(x), logits)
    if network.head is not None:
        torch.testing.assert_close(network.head.output(embedding), logits)
        first = network.head.output if network.head.hidden is None else network.head.hidden
        assert maps.shape[1] == first.in_features
    network.train()
    network(images(size, 3)).square().sum().backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None]
    assert not idle
    torch.manual_seed(0)
    again = create_network(name, classes=3).state_dict()
    torch.manual_seed(0)
    once = create_network(name, classes=3).state_dict()
    assert all(torch.equal(again[key], once[key]) for key in once)


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
    assert report.share == network.loaded_share == 1
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
    network = create_network(f"mobilenetv3_small_{attention}", classes=7, pretrained=torchvision_file, start="identity").eval()
    expected = plain.forward_features(images())
    torch.testing.assert_close(network.forward_features(images()), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_identity_start_of_seco_is_the_published_network(torchvision_file: Path) -> None:
    plain = create_network("mobilenetv3_small_se", classes=7, pretrained=torchvision_file).eval()
    network = create_network("mobilenetv3_small_seco", classes=7, pretrained=torchvision_file, start="identity").eval()
    torch.testing.assert_close(network.forward_features(images()), plain.forward_features(images()), rtol=1e-4, atol=1e-4)


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
    network = create_network(f"mobilenetv3_small_{attention}", classes=7, pretrained=torchvision_file, start="se").eval()
    expected = base.features(images())
    torch.testing.assert_close(network.forward_features(images()), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


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
    with pytest.raises(NetworkError, match=r"other\.pt.*another architecture than mobilenetv3_small_caco: 463,256 of 465,368.*99\.5%"):
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
    assert create_network("mobilenetv3_small_caco", classes=7, pretrained=path, start="identity").loaded_share == 1


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
    import pickle

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


@pytest.mark.parametrize(("eca", "leaky", "dilation"), [(e, v, d) for e in (False, True) for v in (False, True) for d in (False, True)])
def test_hypo_switches(eca: bool, leaky: bool, dilation: bool, torchvision_file: Path) -> None:
    options = {"eca": eca, "leaky": leaky, "dilation": dilation}
    network = create_network("mobilenetv3_small_hypo", classes=10, pretrained=torchvision_file, **options)
    kinds = [type(m) for m in network.modules()]
    assert (nn.LeakyReLU in kinds) == leaky
    assert (nn.ReLU in kinds or nn.Hardswish in kinds) != leaky
    dilated = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)]
    assert [int(name.split(".")[1]) for name in dilated] == ([5, 6, 7, 8, 10, 11] if dilation else [])
    assert network.loaded_share == 1
    assert parameters(network) == parameters(create_network(f"mobilenetv3_small_{'eca' if eca else 'se'}", classes=10))
    assert network.forward_features(images(96)).shape == (2, 576, 3, 3)
