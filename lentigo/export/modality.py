"""Modality detection: a small graph that separates dermoscopy, photographs of lesions and other pictures.

A classifier's features do not separate pictures of another kind well: a naevus photographed with a phone looks much
like one under a dermatoscope. The folder ``modality`` beside this file is the bundle of a network trained to classify
the kinds (recipe `modality`). Its graph takes the same input, resized to its side, and raises ``atypicality`` for
pictures of another kind than the model's. It is part of the model's graph, so every runtime abstains on the same
pictures, and its output ``modality`` names the kind.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lentigo.bundle import MODALITIES, MODALITY, MODEL, Bundle
from lentigo.errors import BundleError
from lentigo.export.graph import INPUT, check_graph
from lentigo.export.ood_score import OUTPUT

Kind = Literal["dermoscopy", "clinical"]

OTHER: dict[Kind, str] = {"dermoscopy": "not like dermoscopy", "clinical": "not like a photograph of a lesion"}
"""Description of a high score, for users."""

MARGIN = 0.75
"""Largest logit of the other kinds minus the logit of the model's kind, above which a picture counts as another
kind."""

_CODES = {"dermoscopy": "dermoscopy", "photograph": "clinical", "other": "other"}
_PREFIX = "modality."
_OWN = "atypicality.distance"


@lru_cache(maxsize=1)
def modality_bundle() -> Bundle:
    """Open the bundle of the modality network."""
    return Bundle.open(Path(str(files("lentigo").joinpath("export", "modality"))))


def append_modality(content: bytes, kind: Kind, threshold: float) -> bytes:
    """Raise the output ``atypicality`` of a graph for pictures of another kind.

    The new score is the maximum of the former one and ``threshold + m - MARGIN``, with m = largest logit of the
    other kinds - logit of the model's kind. It exceeds the threshold if m exceeds the margin. The logits become the
    output `lentigo.bundle.MODALITY`.

    Args:
        content: a serialised model with the output ``atypicality``.
        kind: kind of pictures that the model is for.
        threshold: threshold of the atypicality.

    Returns:
        The serialised model.

    Raises:
        BundleError: there is no such output.
    """
    model = onnx.load_from_string(content)
    if OUTPUT not in {output.name for output in model.graph.output}:
        raise BundleError(f"the graph has no output {OUTPUT} to raise")
    bundle = modality_bundle()
    other = onnx.compose.add_prefix(onnx.load_from_string(bundle.read(MODEL)), _PREFIX)
    if (kinds := tuple(_CODES[code] for code in bundle.spec.codes)) != MODALITIES:
        raise BundleError(f"{bundle.path}: the kinds {kinds} are not those of the format, {MODALITIES}")
    own = np.array([one == kind for one in kinds], np.float32)
    for one in model.graph.node:
        one.output[:] = [_OWN if name == OUTPUT else name for name in one.output]
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "own": own,
        "never": own * np.float32(1e4),  # excludes the model's kind from the maximum
        "threshold": np.array(threshold - MARGIN, np.float32),
        "column": np.array([1], np.int64),
        "extent": np.array([bundle.spec.input.size] * 2, np.int64),
    }
    nodes = _needed(other.graph, _PREFIX + "logits")
    for one in nodes:
        one.output[:] = [MODALITY if name == _PREFIX + "logits" else name for name in one.output]
    read = {name for node in nodes for name in node.input}
    model.graph.initializer.extend(tensor for tensor in other.graph.initializer if tensor.name in read)
    model.graph.initializer.extend(numpy_helper.from_array(value, _PREFIX + name) for name, value in arrays.items())

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        names = [name if name == MODALITY else _PREFIX + name for name in inputs.split()]
        return helper.make_node(operator, names, [_PREFIX + output], name=_PREFIX + output, **attributes)

    shrink: dict[str, Any] = {"mode": "linear", "antialias": 1, "axes": [2, 3]}
    model.graph.node.extend(
        [
            helper.make_node(
                "Resize", [INPUT, "", "", _PREFIX + "extent"], [_PREFIX + INPUT], name=_PREFIX + "shrink", **shrink
            ),
            *nodes,
            node("MatMul", f"{MODALITY} own", "kind"),  # (N,)
            node("Sub", f"{MODALITY} never", "others"),  # (N, 3)
            node("ReduceMax", "others column", "rival", keepdims=0),
            node("Sub", "rival kind", "margin"),
            node("Add", "margin threshold", "score"),
            helper.make_node("Max", [_OWN, _PREFIX + "score"], [OUTPUT], name=OUTPUT),
        ]
    )
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    model.graph.output.append(helper.make_tensor_value_info(MODALITY, TensorProto.FLOAT, [batch, len(MODALITIES)]))
    check_graph(model)
    result: bytes = model.SerializeToString()
    return result


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """Return the nodes that an output depends on, in order."""
    wanted, nodes = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]
