"""Taking outputs out of a graph, without the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny_bundle import blob_image, tiny_bundle

from lentigo.bundle import Bundle
from lentigo.inference import Classifier, load, predict_paths
from lentigo.inference.classifier import packaged_bundles
from lentigo.inference.graph import keep_outputs


@pytest.mark.parametrize("name", packaged_bundles())
def test_what_is_left_is_what_onnx_itself_would_leave(name: str, tmp_path: Path) -> None:
    path = load(name, threads=1).bundle.model
    whole = onnx.load(path)
    names = [output.name for output in whole.graph.output if output.name != "cam"]
    content = keep_outputs(path.read_bytes(), names)
    pruned = onnx.load_from_string(content)
    onnx.checker.check_model(pruned, full_check=True)
    onnx.utils.extract_model(str(path), str(tmp_path / "expected.onnx"), ["image"], names)
    expected = onnx.load(tmp_path / "expected.onnx")
    assert [node.SerializeToString() for node in pruned.graph.node] == [node.SerializeToString() for node in expected.graph.node]
    assert len(pruned.graph.node) < len(whole.graph.node)
    assert [output.name for output in pruned.graph.output] == names
    assert (pruned.ir_version, list(pruned.opset_import), pruned.producer_name) == (
        whole.ir_version,
        list(whole.opset_import),
        whole.producer_name,
    )
    assert len(pruned.graph.initializer) == len(whole.graph.initializer)  # weights are passed through


def test_graphs_within_graphs_are_left_alone() -> None:
    branch = helper.make_graph([helper.make_node("Identity", ["a"], ["c"])], "branch", [], [helper.make_tensor_value_info("c", 1, [1])])
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch),  # reads a, which is not among its inputs
    ]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("yes", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("out", "a")]
    model = helper.make_model(helper.make_graph(nodes, "g", values, outputs), opset_imports=[helper.make_opsetid("", 18)])
    content = model.SerializeToString()
    assert keep_outputs(content, ["out"]) == content


def test_a_classifier_without_maps_answers_the_same(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    whole, without = Classifier(bundle, threads=1), Classifier(bundle, threads=1, maps=False)
    image = blob_image(3)
    one, other = whole.predict(image), without.predict(image)
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.embedding, other.embedding)
    assert one.cam is not None
    assert other.cam is None
    names = [output.name for output in onnxruntime.InferenceSession(keep_outputs(bundle.model.read_bytes(), ["logits"])).get_outputs()]
    assert names == ["logits"]


def test_streams_take_maps_only_where_they_are_wanted(tmp_path: Path) -> None:
    bundle: Bundle = tiny_bundle(tmp_path / "tiny")
    classifier = Classifier(bundle, threads=1, batch=4, maps=False)
    assert classifier.for_stream(4, maps=False) is classifier
    assert classifier.for_stream(4, maps=True).maps
    assert Classifier(bundle, threads=1, batch=4).for_stream(4, maps=False).maps  # what is there need not be taken out
    assert not Classifier(bundle).for_stream(4, maps=False).maps
    blob_image(5).save(tmp_path / "blob.png")
    predict_paths(classifier, tmp_path / "blob.png", heatmaps=tmp_path / "maps", progress=False)
    assert len(list((tmp_path / "maps").iterdir())) == 1
