"""Export a trained network to the ONNX graph that every runtime loads.

The graph computes logits, embedding and, for a pooled linear head, class-activation maps in closed form (exact Grad-CAM
without autograd).
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from lentigo import NOTICE, __version__
from lentigo.bundle import Spec
from lentigo.errors import BundleError, first_line
from lentigo.export.attention import deploy_layers
from lentigo.files import write_bytes
from lentigo.inference.session import BATCH_AXIS
from lentigo.networks import Network
from lentigo.networks.cam import closed_form_cam

OPSET = 18
"""The oldest opset that the exporter writes without a lossy down-conversion; ONNX Runtime and onnxruntime-web (WASM)
support it."""

INPUT = "image"
OUTPUTS = ("logits", "embedding", "cam")

# Types that onnxruntime-web runs slowly or not at all; images and weights must be float32.
_REFUSED_TYPES = {onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.BFLOAT16: "bfloat16"}


class DeployedNetwork(nn.Module):
    """A network with its class-activation maps, as the graph computes them: on the CPU, in float32, in evaluation mode.

    Args:
        network: the trained network, on any device, in any mode; it is copied.
        attention: whether to replace layers by those of `lentigo.export.attention`.
    """

    def __init__(self, network: Network, *, attention: bool = True) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.to("cpu", torch.float32).eval()
        if attention:
            deploy_layers(self.network)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return OUTPUTS if self.network.head is not None else OUTPUTS[:2]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Classify normalised images.

        Args:
            image: (N, 3, S, S), normalised as the bundle's input specification says.

        Returns:
            Logits (N, K), embedding (N, D) and, with a pooled head, maps (N, K, h, w) >= 0.
        """
        maps = self.network.forward_features(image)  # (N, C, h, w)
        logits, embedding = self.network.forward_head(maps)  # (N, K), (N, D)
        if self.network.head is None:
            return logits, embedding
        return logits, embedding, closed_form_cam(self.network.head, maps)  # (N, K, h, w)


def export_graph(network: Network, size: int, path: str | Path | None = None) -> bytes:
    """Export a network, its embedding and its closed-form class-activation maps to ONNX.

    Batch normalisation is folded into the preceding convolutions, names of source files are removed, and weights stay
    in the same file. The input is ``image``, float32 (N, 3, size, size) with any N >= 1. The outputs are ``logits``
    (N, K), ``embedding`` (N, D) and, if ``network.head`` is not None, ``cam`` (N, K, h, w).

    Args:
        network: the trained network, on any device, in any mode; it is not changed.
        size: side of the square input, in pixels.
        path: file to write; None to write none.

    Returns:
        The serialised model.

    Raises:
        BundleError: the exporter cannot express the network in standard operators.
        OutputError: ``path`` cannot be written.
    """
    deployed = DeployedNetwork(network)
    # Two images, so that the exporter does not treat the batch axis as a constant 1.
    example = torch.zeros(2, 3, size, size)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                deployed,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(deployed.outputs),
                dynamic_shapes=({0: torch.export.Dim(BATCH_AXIS, min=1)},),
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        raise BundleError(
            f"{type(network).__name__} at {size} px cannot be exported to ONNX opset {OPSET}: {reason}"
        ) from error
    if program is None:
        raise BundleError(f"{type(network).__name__} at {size} px: the ONNX exporter returned nothing")
    model = clean_graph(program.model_proto)
    check_graph(model)
    content: bytes = model.SerializeToString()
    if path is not None:
        write_bytes(path, content)
    return content


def describe_graph(content: bytes, spec: Spec) -> bytes:
    """Add a description of inputs and outputs to a graph, for runtimes without the bundle.

    Args:
        content: an ONNX model.
        spec: the specification of its bundle.

    Returns:
        The model with ``metadata_props``: name, version, classes, size, mean, std and temperature as JSON values, and
        the notice.
    """
    model = onnx.load_from_string(content)
    facts = {
        "name": spec.name,
        "version": spec.version,
        "classes": list(spec.codes),
        "size": spec.input.size,
        "mean": list(spec.input.mean),
        "std": list(spec.input.std),
        "temperature": spec.temperature,
    }
    notice = {"notice": NOTICE}
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()} | notice
    )
    described: bytes = model.SerializeToString()
    return described


def check_graph(model: onnx.ModelProto) -> None:
    """Check that ONNX Runtime and onnxruntime-web can run a graph.

    Raises:
        BundleError: the model is invalid, or has a non-standard operator, a type that browsers do not run, or weights
            outside the file.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"the exported graph is not valid ONNX: {error}") from error
    custom = Counter(
        f"{node.domain}::{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")
    )
    if custom:
        raise BundleError(f"the exported graph needs operators outside the ONNX standard: {', '.join(sorted(custom))}")
    for tensor in model.graph.initializer:
        if tensor.data_type in _REFUSED_TYPES:
            raise BundleError(
                f"the exported graph holds {tensor.name} as {_REFUSED_TYPES[tensor.data_type]}; browsers run float32"
                " only"
            )
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise BundleError(f"the exported graph keeps {tensor.name} in another file; a bundle's model is one file")


def output_shapes(content: bytes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a graph's outputs, without the batch axis, by name."""
    graph = onnx.load_from_string(content).graph
    return {
        output.name: tuple(axis.dim_value for axis in output.type.tensor_type.shape.dim[1:]) for output in graph.output
    }


def clean_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's debugging data: source paths of the exporting machine, about a tenth of the file."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        if isinstance(value, onnx.ValueInfoProto):
            del value.metadata_props[:]
        value.doc_string = ""
    model.graph.name = "lentigo"
    model.producer_name, model.producer_version = "lentigo", __version__
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress messages; errors are still raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
