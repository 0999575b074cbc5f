"""Graphs without the onnx package: what is refused, and outputs taken out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_bundle import blob_image, tiny_bundle

from lentigo.bundle import Bundle, write_bundle
from lentigo.errors import BundleError
from lentigo.inference import Classifier, load, predict_paths
from lentigo.inference.classifier import packaged_bundles
from lentigo.inference.graph import MAX_NODES, OPERATORS, check_operators, keep_outputs


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
    assert [node.SerializeToString() for node in pruned.graph.node] == [
        node.SerializeToString() for node in expected.graph.node
    ]
    assert len(pruned.graph.node) < len(whole.graph.node)
    assert [output.name for output in pruned.graph.output] == names
    assert (pruned.ir_version, list(pruned.opset_import), pruned.producer_name) == (
        whole.ir_version,
        list(whole.opset_import),
        whole.producer_name,
    )
    assert len(pruned.graph.initializer) == len(whole.graph.initializer)  # weights are passed through


def with_graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """A tiny bundle whose graph was changed, and which has the checksum of the changed graph."""
    bundle = tiny_bundle(folder)
    model = onnx.load(bundle.model)
    change(model)
    files = {name: bundle.read(name) for name in ("MODEL_CARD.md", "golden.json")}
    return write_bundle(folder, bundle.spec, {**files, "model.onnx": model.SerializeToString()})


def endless(model: onnx.ModelProto) -> None:
    """A loop of 2^62 rounds before the answer."""
    rounds = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["again"]), helper.make_node("Abs", ["x"], ["y"])],
        "body",
        rounds,
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    first = model.graph.node[0]
    first.input[0] = "looped"
    model.graph.node.insert(0, helper.make_node("Loop", ["rounds", "yes", "image"], ["looped"], body=body))


def branching(model: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["c"])], "b", [], [helper.make_tensor_value_info("c", 1, None)]
    )
    model.graph.node.insert(0, helper.make_node("If", ["image"], ["unused"], then_branch=branch, else_branch=branch))


def disguised(model: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Loop", ["i"], ["o"])], "b", [], [])
    model.graph.node.insert(0, helper.make_node("Identity", ["image"], ["unused"], body=body))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Gelu", ["image"], ["unused"], domain="com.example\x1b[2J"))


def function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Loop", ["x"], ["y"])
    model.functions.append(
        helper.make_function("local", "Endless", ["x"], ["y"], [node], [helper.make_opsetid("", 18)])
    )


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def crowded(model: onnx.ModelProto) -> None:
    model.graph.node.extend(helper.make_node("Neg", ["image"], [f"n{i}"]) for i in range(MAX_NODES))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (endless, "control flow|operator 'Loop'"),
        (branching, "control flow|operator 'If'"),
        (disguised, "control flow"),
        (foreign, r"operator 'com\.example\\\\x1b\[2J\.Gelu'"),
        (function, "local function"),
        (elsewhere, "weights in another file"),
        (crowded, "more than 20,000 nodes"),
    ],
)
def test_graphs_that_could_run_without_end_or_read_other_files_are_refused(
    change: Callable[[onnx.ModelProto], None], says: str, tmp_path: Path
) -> None:
    bundle = with_graph(tmp_path / "b", change)
    with pytest.raises(BundleError, match=says):
        Classifier(bundle, threads=1)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_with_one_kind_of_error(content: bytes) -> None:
    with contextlib.suppress(BundleError):
        check_operators(content)


@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_a_graph_that_is_cut_off_is_refused(cut: int, tmp_path: Path) -> None:
    content = tiny_bundle(tmp_path / "tiny").read("model.onnx")
    with pytest.raises(BundleError, match="cut off"):
        check_operators(content[:-cut])


@pytest.mark.parametrize("name", packaged_bundles())
def test_the_operators_of_the_packaged_models_are_those_that_onnx_finds(name: str) -> None:
    check_operators(load(name, threads=1).bundle.read("model.onnx"))


def test_every_operator_of_the_list_is_one_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert known >= OPERATORS
    assert not OPERATORS & {"Loop", "Scan", "If", "SequenceMap"}


def test_a_classifier_without_maps_answers_the_same(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    whole, without = Classifier(bundle, threads=1), Classifier(bundle, threads=1, maps=False)
    image = blob_image(3)
    one, other = whole.predict(image), without.predict(image)
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.embedding, other.embedding)
    assert one.cam is not None
    assert other.cam is None
    names = [
        output.name
        for output in onnxruntime.InferenceSession(keep_outputs(bundle.model.read_bytes(), ["logits"])).get_outputs()
    ]
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
