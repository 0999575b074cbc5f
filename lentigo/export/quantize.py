"""Smaller bundles: weights stored as float16, or convolutions in static int8, behind a gate on validation accuracy.

Both keep the graph's inputs and outputs. ``fp16`` halves the file and changes no arithmetic: each large weight is
stored as float16 and cast back once, when the session loads. ``int8`` quantises convolutions and their activations per
channel (Jacob et al., CVPR 2018; scales calibrated on training images), as many as an error budget allows. In a small
network one or two early layers with wide ranges cause most of the error, so they stay in float32. So do the head, the
class-activation maps and the attention on pooled features. All other weights are stored as float16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from sklearn.metrics import recall_score

from lentigo.errors import BundleError
from lentigo.export.graph import INPUT, clean_graph
from lentigo.export.session import FloatArray, Session
from lentigo.networks.profile import median_ms

Weights = Literal["fp32", "fp16", "int8"]

MAX_DROP = 0.005
"""Maximum loss of balanced accuracy (a fraction) of a smaller variant on validation: half a point."""

# Maximum total mean squared change of the logits by the quantised convolutions, as a fraction of the variance over
# images.
_ERROR_BUDGET = 0.002
# Lower bound of that variance (1e-4 squared), for logits that hardly vary.
_SMALLEST_VARIANCE = 1e-8
# Number of batches on which the error of each convolution is measured.
_PROBES = 2

# Smaller tensors stay in float32: storing them as float16 would only add nodes. Vectors (biases, scales) need their
# precision.
_SMALLEST = 256


def store_float16(content: bytes) -> bytes:
    """Store the large weights of a graph as float16, each followed by a cast to float32.

    Runtimes fold the casts when they load the graph, so that it computes in float32 as before. A tensor with an
    absolute value above 65504, the range of float16, is not changed.

    Args:
        content: a serialised float32 model.

    Returns:
        The serialised model, about half as large.
    """
    model = onnx.load_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2 or int(np.prod(tensor.dims)) < _SMALLEST:
            continue
        values = numpy_helper.to_array(tensor)
        if not np.all(np.abs(values) <= np.finfo(np.float16).max):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.fp16"], [name], name=f"{name}.cast", to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    stored: bytes = model.SerializeToString()
    return stored


def quantise_int8(content: bytes, batches: Sequence[FloatArray]) -> bytes:
    """Quantise the convolutions of a graph to int8, per output channel, with static activation scales.

    Each convolution is first quantised alone, and the change of the logits is measured. Errors of different layers are
    nearly additive, so convolutions are taken in order of their error until the sum reaches the budget (0.2 % of the
    logits' variance over images). Weights use seven of the eight bits: 8-bit sums saturate on x86 processors without
    VNNI, and a bundle must give the same answers on every processor.

    Args:
        content: a serialised float32 model.
        batches: normalised training images, (N, 3, S, S) float32 each, in random order; never validation or test
            images.

    Returns:
        The serialised model; all other weights are stored as float16.

    Raises:
        BundleError: there are no images, or no convolution can be quantised within the budget.
    """
    if not batches:
        raise BundleError("int8: no training images to calibrate on")
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    probes = batches[:_PROBES]
    expected = _logits(content, probes)
    errors = {
        name: _error(_logits(_quantise(model, [name], probes), probes), expected) for name in _large_convolutions(model)
    }
    chosen: list[str] = []
    spent = 0.0
    for name in sorted(errors, key=errors.__getitem__):
        spent += errors[name]
        if spent > _ERROR_BUDGET:
            break
        chosen.append(name)
    if not chosen:
        raise BundleError(
            "int8: no convolution of this graph can be quantised without changing its answers; export fp16 instead"
        )
    return store_float16(_quantise(model, chosen, batches))


def _quantise(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[FloatArray]) -> bytes:
    """Return the serialised model with these convolutions in int8, calibrated on these images."""
    # Slow to import, and needed only here.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    subject = onnx.ModelProto()
    subject.CopyFrom(model)
    add_pre_process_metadata(subject)  # shapes are inferred and batch normalisation is folded already
    with tempfile.TemporaryDirectory(prefix="lentigo-") as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            subject,
            path,
            _Calibration(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=list(names),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Average the extremes over the batches, because those of single images would enlarge the scales.
            extra_options={"CalibMovingAverage": True},
        )
        quantised = onnx.load(path)
    onnx.checker.check_model(quantised, full_check=True)
    stored: bytes = clean_graph(quantised).SerializeToString()
    return stored


def _logits(content: bytes, batches: Sequence[FloatArray]) -> FloatArray:
    session = Session(content, threads=1)
    return np.concatenate([session(batch)["logits"] for batch in batches])


def _error(found: FloatArray, expected: FloatArray) -> float:
    """Return the mean squared difference as a fraction of the variance over images; infinite for non-finite logits."""
    error = float(np.mean((found - expected) ** 2)) / max(float(expected.var(axis=0).mean()), _SMALLEST_VARIANCE)
    return error if np.isfinite(error) else float("inf")


@dataclass(frozen=True)
class Variant:
    """A graph with one kind of stored weights, and its measurements.

    Attributes:
        weights: kind of stored weights.
        content: the serialised model.
        balanced_accuracy: on the validation images, 0 to 1.
        latency_ms: median time of one image on one thread, in milliseconds.
        images: number of validation images.
    """

    weights: Weights
    content: bytes
    balanced_accuracy: float
    latency_ms: float
    images: int


def measure_variant(
    weights: Weights, content: bytes, batches: Iterable[FloatArray], targets: npt.NDArray[np.int64]
) -> Variant:
    """Classify the validation images with a graph, and measure its latency.

    Args:
        weights: kind of stored weights.
        content: the serialised model.
        batches: the normalised validation images, in the order of ``targets``.
        targets: (N,) class indices.

    Raises:
        BundleError: there are no validation images, or another number than targets.
    """
    session = Session(content, threads=1)
    predicted = []
    one: FloatArray | None = None
    for batch in batches:
        one = batch[:1] if one is None else one
        predicted.append(session(batch)["logits"].argmax(axis=1))
    found = sum(map(len, predicted))
    if one is None or found != len(targets):
        raise BundleError(f"{weights}: {found} validation images for {len(targets)} labels; the gate needs every one")
    accuracy = float(
        recall_score(targets, np.concatenate(predicted), labels=np.unique(targets), average="macro", zero_division=0)
    )
    latency, _ = median_ms(partial(session, one), repeats=15)
    return Variant(weights, content, accuracy, latency, len(targets))


def check_drop(reference: Variant, variant: Variant, *, max_drop: float = MAX_DROP) -> float:
    """Refuse a variant that loses too much balanced accuracy on validation.

    Args:
        reference: the float32 graph.
        variant: the smaller one, on the same images.
        max_drop: the maximum loss, a fraction (0.005 is half a point).

    Returns:
        The loss, a fraction; negative if the variant is better.

    Raises:
        BundleError: the loss is above ``max_drop``; the message gives the figures.
    """
    drop = reference.balanced_accuracy - variant.balanced_accuracy
    if drop > max_drop + 1e-12:
        raise BundleError(
            f"{variant.weights} weights are refused: balanced accuracy on {variant.images} validation images falls from"
            f" {reference.balanced_accuracy:.2%} to {variant.balanced_accuracy:.2%} ({100 * drop:.2f} points; at most"
            f" {100 * max_drop:.2f} are allowed); export {'fp16 or ' if variant.weights == 'int8' else ''}fp32 instead"
        )
    return drop


def _large_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of convolutions with constant weights over maps, not over pooled rows, columns or points."""
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in model.graph.value_info
    }
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and node.input[1] in constants
        and min(shapes.get(node.output[0], [0])[2:], default=0) > 1
    ]


class _Calibration:
    """Reader of the calibration images for the quantiser, one batch at a time."""

    def __init__(self, batches: Sequence[FloatArray]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, FloatArray] | None:
        """Return the next batch, or None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
