"""Pretrained weights from a bundle's ``model.onnx``: its constants, mapped to the network's parameters.

Export folds batch normalisation into the convolutions, so the graph has a convolution's weight and a bias instead of
weight, gamma, beta, mean and variance. :func:`load_graph` puts an identity normalisation after the folded convolution,
which gives the same outputs in evaluation. Training needs the statistics of each normalisation's input:
:func:`refit_norms` estimates them on images and splits the folded bias and scale again, without changing the outputs in
evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lentigo.errors import NetworkError
from lentigo.networks.attention import CoordinateAttention
from lentigo.networks.network import LoadReport, Network

_PREFIX = "network."
_OUTPUT = "head.output."
_PROBE = 96  # px: enough for every stride


def read_graph(path: Path) -> dict[str, Tensor]:
    """Read the constants of a graph of `lentigo.export.export_graph`, float32, by parameter name.

    Nothing is executed or unpickled: ONNX files contain plain tensors.

    Raises:
        NetworkError: the file is missing, damaged, or another graph.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise NetworkError(f"{path}: no such file of weights") from None
    except (OSError, DecodeError) as error:
        raise NetworkError(f"{path}: not a readable ONNX graph ({error})") from None
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    found = {
        _parameter(one.name): torch.from_numpy(numpy_helper.to_array(one).astype("float32"))
        for one in model.graph.initializer
        if one.name.startswith(_PREFIX) and one.data_type in floats
    }
    if not found:
        raise NetworkError(f"{path}: contains no weights of a lentigo network (float32 or float16)")
    return found


def load_graph(network: Network, path: Path, *, output: bool = False) -> LoadReport:
    """Load a graph's weights into a network of its architecture; folded normalisations become identities.

    Args:
        network: filled in place; unchanged if the weights are refused.
        path: ``model.onnx`` of a bundle with float32 or float16 weights.
        output: whether to load the last layer (the classifier) too.

    Returns:
        The report; ``folded`` is true: call :func:`refit_norms` before training.

    Raises:
        NetworkError: the file cannot be read, or is of another architecture.
    """
    weights = read_graph(path)
    state = network.state_dict()
    filled: dict[str, Tensor] = {}
    for name, source, norm in _norms(network):
        if f"{name}.running_mean" in weights:  # not folded
            continue
        bias = weights.get(f"{source}.weight_bias", weights.get(f"{source}.bias"))
        if bias is None:
            raise NetworkError(_refused(path, network, f"{source} has no bias that could replace {name}"))
        filled[f"{name}.weight"] = torch.full_like(state[f"{name}.weight"], (1 + norm.eps) ** 0.5)
        filled[f"{name}.bias"] = bias
        filled[f"{name}.running_mean"] = torch.zeros_like(state[f"{name}.running_mean"])
        filled[f"{name}.running_var"] = torch.ones_like(state[f"{name}.running_var"])
        if f"{source}.bias" in state:
            filled[f"{source}.bias"] = torch.zeros_like(state[f"{source}.bias"])
    loaded = 0
    for key, target in state.items():
        if key.endswith("num_batches_tracked") or (key.startswith(_OUTPUT) and not output):
            continue
        if key not in filled and key not in weights:
            raise NetworkError(_refused(path, network, f"{key} is missing"))
        filled[key] = _cut(filled.get(key, weights.get(key)), target, key, path, network)
        loaded += target.numel() if not key.endswith(("running_mean", "running_var")) else 0
    network.load_state_dict(filled, strict=False)
    network.load_report = LoadReport(str(path), loaded, loaded, 0, head=True, folded=True)
    return network.load_report


@torch.no_grad()
def refit_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of each batch normalisation to those of its input, without changing the outputs.

    With a = gamma / sqrt(variance + eps) and c = beta - a mean, a normalisation in evaluation is y = a x + c. Mean and
    variance become those of the images, gamma = a sqrt(variance + eps) and beta = c + a mean. Training normalises with
    the statistics of a batch, and so starts from the outputs of evaluation.

    Args:
        network: changed in place; its training mode is kept.
        batches: normalised images (N, 3, S, S), on the network's device.
    """
    norms = [
        module for module in network.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    sums: dict[nn.Module, list[Tensor]] = {}

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double().transpose(0, 1).flatten(1)  # (C, places)
        part = torch.stack([x.sum(1), x.square().sum(1), torch.full_like(x[:, 0], x.shape[1])])
        sums[module] = [sums[module][0] + part] if module in sums else [part]

    training = network.training
    network.eval()
    handles = [module.register_forward_pre_hook(measure) for module in norms]
    try:
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    for norm in norms:
        if norm not in sums:
            continue
        total, squares, count = sums[norm][0]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - slope * norm.running_mean.double()
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + slope * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _norms(network: Network) -> Iterator[tuple[str, str, _BatchNorm]]:
    """Yield each batch normalisation: its name, the name of the layer whose output it normalises, and the module."""
    names = {module: name for name, module in network.named_modules()}
    made: dict[int, tuple[str, Tensor]] = {}  # keeps the tensors alive, so that ids stay unique
    # Not called as modules.
    source = {names[m.norm]: names[m.conv] for m in network.modules() if isinstance(m, CoordinateAttention)}

    def keep(module: nn.Module, inputs: object, out: Tensor) -> None:
        made[id(out)] = (names[module], out)

    def find(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            source[names[module]] = made[id(inputs[0])][0]

    handles = [m.register_forward_hook(keep) for m in names if isinstance(m, nn.Conv2d | nn.Linear)]
    handles += [m.register_forward_pre_hook(find) for m in names if isinstance(m, _BatchNorm)]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, _PROBE, _PROBE))
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    for module, name in names.items():
        if isinstance(module, _BatchNorm) and name in source:
            yield name, source[name], module


def _parameter(name: str) -> str:
    """Translate the name of a constant to its parameter; squeeze-and-excitation has other names in the graph."""
    for deployed, own in ((".excitation.", "."), (".squeeze.", ".fc1."), (".excite.", ".fc2."), (_PREFIX, "")):
        name = name.replace(deployed, own, 1)
    return name.removesuffix(".fp16")


def _cut(value: Tensor | None, target: Tensor, key: str, path: Path, network: Network) -> Tensor:
    """Cut a constant to the shape of its parameter: export pads hidden channels of attention with zeros."""
    assert value is not None
    if value.dim() != target.dim() or any(have < want for have, want in zip(value.shape, target.shape, strict=True)):
        raise NetworkError(
            _refused(path, network, f"{key} is of shape {tuple(value.shape)}, not {tuple(target.shape)}")
        )
    kept = value[tuple(slice(0, n) for n in target.shape)]
    if int(value.count_nonzero()) != int(kept.count_nonzero()):
        raise NetworkError(
            _refused(path, network, f"{key} is of shape {tuple(value.shape)}, not {tuple(target.shape)}")
        )
    return kept


def _refused(path: Path, network: Network, why: str) -> str:
    return f"{path}: these weights are not of the network {network.name}: {why}"
