"""The OOD score as nodes of the graph, so that runtimes need no implementation of their own.

The nodes compute `lentigo.evaluation.ood.Gaussians` on the embedding. The large array is stored as float16 and cast
once when a runtime loads the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lentigo.errors import BundleError
from lentigo.evaluation.ood import Gaussians
from lentigo.export.graph import check_graph

OUTPUT = "atypicality"
_PREFIX = "atypicality."


def append_atypicality(content: bytes, fitted: Gaussians) -> bytes:
    """Add the output ``atypicality``, float32 (N,), to a graph that has an ``embedding``.

    Raises:
        BundleError: the graph has no embedding of the fitted width, or has an output ``atypicality`` already.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    outputs = {o.name: [d.dim_value or d.dim_param for d in o.type.tensor_type.shape.dim] for o in graph.output}
    width = len(fitted.centre)
    if outputs.get("embedding", [0, 0])[1] != width or OUTPUT in outputs:
        raise BundleError(f"the graph's outputs {outputs} cannot take an atypicality of embeddings of width {width}")
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "centre": fitted.centre.astype(np.float32),
        "basis": fitted.basis.astype(np.float16),
        "means": fitted.means.astype(np.float32)[None],  # (1, C, R)
        "scale": fitted.scale.astype(np.float32),
        "rest_scale": np.array(fitted.rest_scale, np.float32),
        "tiny": np.array(1e-12, np.float32),
        "axis": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, _PREFIX + name) for name, value in arrays.items())

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> None:
        names = [name if name in outputs else _PREFIX + name for name in inputs.split()]
        target = output if output == OUTPUT else _PREFIX + output
        graph.node.append(helper.make_node(operator, names, [target], name=_PREFIX + output, **attributes))

    node("Cast", "basis", "basis32", to=TensorProto.FLOAT)
    point = "embedding"
    if fitted.normalised:
        node("ReduceL2", "embedding axis", "length", keepdims=1)  # (N, 1)
        node("Max", "length tiny", "divisor")
        node("Div", "embedding divisor", "unit")
        point = "unit"
    node("Sub", f"{point} centre", "shifted")  # (N, D)
    node("MatMul", "shifted basis32", "z")  # (N, R)
    node("Gemm", "z basis32", "back", transB=1)  # (N, D)
    node("Sub", "shifted back", "outside")
    node("ReduceSumSquare", "outside axis", "rest", keepdims=0)  # (N,)
    node("Unsqueeze", "z axis", "z3")  # (N, 1, R)
    node("Sub", "z3 means", "apart")  # (N, C, R)
    node("Mul", "apart apart", "squares")
    node("Mul", "squares scale", "scaled")
    node("ReduceSum", "scaled last", "distances", keepdims=0)  # (N, C)
    node("ReduceMin", "distances axis", "nearest", keepdims=0)  # (N,)
    node("Mul", "rest rest_scale", "weighted")
    node("Add", "nearest weighted", "sum")
    node("Sqrt", "sum", OUTPUT)
    batch = next(o for o in graph.output if o.name == "embedding").type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch]))
    check_graph(model)
    result: bytes = model.SerializeToString()
    return result
