"""The graph that tells dermoscopy from photographs, inside other graphs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from lentigo.bundle import MODALITY
from lentigo.errors import BundleError
from lentigo.export.modality import MARGIN, Kind, append_modality, modality_bundle
from lentigo.export.session import Session

THRESHOLD = 1.5


def graph(size: int, output: str = "atypicality") -> bytes:
    """A model whose score is the mean of the image, behind a copy of it that stands for the logits."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])
    scores = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("logits", output)]
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["logits"], keepdims=0),
        helper.make_node("ReduceMean", ["image", "axes"], [output], keepdims=0),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], scores, [axes]), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """The triangle filter, widened by the scale, along both sides."""
    size = images.shape[-1]
    centre = (np.arange(side) + 0.5) * size / side
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centre[:, None]) * side / size)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ images @ weights.T).astype(np.float32)


def kinds_of(images: np.ndarray) -> np.ndarray:
    """The logits of the kinds by the network itself."""
    bundle = modality_bundle()
    logits: np.ndarray = Session(bundle.read("model.onnx"))(shrink(images, bundle.spec.input.size))["logits"]
    return logits


def margins(images: np.ndarray, own: str) -> np.ndarray:
    """Largest logit of the other kinds less that of this one."""
    logits, codes = kinds_of(images), list(modality_bundle().spec.codes)
    return np.delete(logits, codes.index(own), axis=1).max(axis=1) - logits[:, codes.index(own)]


@pytest.mark.parametrize("size", [128, 192, 224])
def test_the_score_is_raised_where_the_other_kind_is_likelier(size: int) -> None:
    images = np.random.default_rng(0).normal(0, 1, (4, 3, size, size)).astype(np.float32)
    images[1] += 1.2
    images[2] -= 1.2
    images[3, 0] += 2
    before = Session(graph(size))(images)
    kinds: list[tuple[Kind, str]] = [("dermoscopy", "dermoscopy"), ("clinical", "photograph")]
    for kind, own in kinds:
        after = Session(append_modality(graph(size), kind, THRESHOLD))(images)
        expected = np.maximum(before["atypicality"], THRESHOLD + margins(images, own) - MARGIN)
        # ONNX Runtime has its own rounding of the filter.
        np.testing.assert_allclose(after["atypicality"], expected, atol=0.06)
        np.testing.assert_array_equal(after["logits"], before["logits"])
        assert set(after) == {*before, MODALITY}
        np.testing.assert_allclose(after[MODALITY], kinds_of(images), atol=0.06)


def test_a_graph_without_a_score_is_refused() -> None:
    with pytest.raises(BundleError, match="no output atypicality"):
        append_modality(graph(64, "other"), "dermoscopy", THRESHOLD)
